//! Selection of an adapter by environment variables.

use super::*;

/// Runs the command with these variables; those without a value are removed.
fn run_with(variables: &[(&str, Option<&str>)], arguments: &str) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-optim"));
    command
        .args(arguments.split_whitespace())
        .env_remove("WGPU_BACKEND")
        .env_remove("WGPU_ADAPTER_NAME");
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.timeout(HANG).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[track_caller]
fn refused_with(variables: &[(&str, Option<&str>)], arguments: &str, parts: &[&str]) {
    let outcome = run_with(variables, arguments);
    let what = format!("{variables:?} {arguments}: {}", outcome.stderr);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{what}");
    for part in parts {
        assert!(outcome.stderr.contains(part), "no `{part}` in {what}");
    }
}

/// A backend that does not exist on this system.
const ABSENT: &str = if cfg!(target_vendor = "apple") { "dx12" } else { "metal" };

const ON_GPU: [&str; 5] = [
    "fit synthetic --samples 1000 --epochs 1 --device gpu",
    "sweep blog --device gpu --lr 1e-3:30:2 --epochs 1",
    "verify --quick --group updates",
    "bench step --sizes 256 --device gpu",
    "reproduce --device gpu",
];

#[test]
fn a_backend_that_is_not_there_is_named_with_its_variable() {
    let variables = [("WGPU_BACKEND", Some(ABSENT))];
    let said = format!(
        "error: WGPU_BACKEND is `{ABSENT}`: this machine has no adapter of that backend; this program supports "
    );
    for arguments in ON_GPU {
        refused_with(&variables, arguments, &[&said]);
    }
    let devices = run_with(&variables, "devices --json");
    let listing: Value = serde_json::from_str(&devices.stdout).unwrap();
    assert_eq!((devices.code, listing["adapters"].as_array().unwrap().len()), (0, 0));
    assert!(devices.stderr.starts_with(&said["error: ".len()..]), "{}", devices.stderr);
    // The processor needs no adapter, and `auto` reports why it uses it.
    let fit = "fit blog --epochs 1 --json";
    let auto = run_with(&variables, fit);
    assert_eq!(auto.code, 0, "{}", auto.stderr);
    assert!(auto.stderr.contains(&said["error: ".len()..]), "{}", auto.stderr);
    assert!(auto.stderr.contains("Using the processor."), "{}", auto.stderr);
    let processor = run_with(&variables, &format!("{fit} --device cpu"));
    assert_eq!((processor.code, processor.stderr.as_str()), (0, ""));
}

#[test]
fn a_word_that_is_no_backend_is_named_with_its_variable() {
    for (value, word) in [("vulcan", "vulcan"), ("vulkan,foo", "foo")] {
        let variables = [("WGPU_BACKEND", Some(value))];
        let said = format!("error: WGPU_BACKEND is `{value}`: `{word}` is not a backend");
        for arguments in ON_GPU.iter().chain(&["devices", "verify --adapter all"]) {
            refused_with(&variables, arguments, &[&said, "vulkan, metal, dx12 and gl"]);
        }
    }
}

#[test]
fn the_environment_names_an_adapter_unless_an_argument_does() {
    let listing = run_with(&[], "devices --json");
    let listing: Value = serde_json::from_str(&listing.stdout).unwrap();
    let adapters = listing["adapters"].as_array().unwrap();
    let runs = |adapter: &&Value| adapter["refused"].is_null();
    let Some(adapter) = adapters.iter().find(runs) else {
        assert_eq!(devices(), ["cpu"]);
        return;
    };
    let name = adapter["name"].as_str().unwrap();
    let part = name.split_whitespace().next().unwrap().to_uppercase();
    let variables = [("WGPU_ADAPTER_NAME", Some(part.as_str()))];
    // Of any kind, because it was requested by name.
    for device in ["auto", "gpu"] {
        let fit = run_with(&variables, &format!("fit blog --epochs 1 --json --device {device}"));
        assert_eq!(fit.code, 0, "{}", fit.stderr);
        let report: Value = serde_json::from_str(&fit.stdout).unwrap();
        assert_eq!(
            (&report["device"]["kind"], &report["device"]["name"]),
            (&"gpu".into(), &name.into())
        );
    }
    let variables = [("WGPU_ADAPTER_NAME", Some("no such card"))];
    for arguments in ON_GPU {
        let said = "error: WGPU_ADAPTER_NAME is `no such card`: no GPU adapter has a name that contains it; there are: ";
        refused_with(&variables, arguments, &[said, name]);
    }
    let auto = run_with(&variables, "fit blog --epochs 1 --json");
    assert_eq!(auto.code, 0, "{}", auto.stderr);
    assert!(auto.stderr.contains("WGPU_ADAPTER_NAME is `no such card`"), "{}", auto.stderr);
    let argument = run_with(&variables, &format!("fit blog --epochs 1 --json --adapter {part}"));
    assert_eq!(argument.code, 0, "{}", argument.stderr);
    refused_with(&variables, "fit blog --adapter nonexistent", &["`nonexistent`", name]);
    let all = run_with(&variables, "devices --json");
    assert_eq!(serde_json::from_str::<Value>(&all.stdout).unwrap(), listing);
}

/// An error about a missing adapter mentions the restriction by WGPU_BACKEND.
#[test]
fn a_backend_of_the_environment_is_said_beside_the_adapters_it_leaves() {
    let listing = run_with(&[], "devices --json");
    let listing: Value = serde_json::from_str(&listing.stdout).unwrap();
    for adapter in listing["adapters"].as_array().unwrap() {
        let backend = adapter["backend"].as_str().unwrap();
        let variables = [("WGPU_BACKEND", Some(backend))];
        let said = format!("there are, while WGPU_BACKEND is `{backend}`: ");
        let parts = ["`nonexistent`", &said, adapter["name"].as_str().unwrap()];
        refused_with(&variables, "fit blog --adapter nonexistent", &parts);
    }
}

#[test]
fn a_server_without_a_desktop_is_nothing_to_complain_about() {
    for variables in [[("XDG_RUNTIME_DIR", None)], [("XDG_RUNTIME_DIR", Some("relative"))]] {
        for arguments in ["devices --json", "devices", "fit blog --epochs 1 --device gpu"] {
            if devices() == ["cpu"] && !arguments.starts_with("devices") {
                continue;
            }
            let outcome = run_with(&variables, arguments);
            assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{variables:?} {arguments}");
            assert!(!outcome.stdout.is_empty());
        }
    }
}
