//! Tests of `verify`: its JSON, and its exit code.

use assert_cmd::Command;
use serde_json::Value;
use std::process::Output;

fn verify(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-optim"));
    command.arg("verify").args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = verify(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_check_says_what_it_found() {
    let report = json(&["--quick", "--group", "step state", "--json"]);
    assert_eq!(report["pass"], true);
    assert!(report.get("faults").is_none());
    let adapters = report["adapters"].as_array().unwrap();
    assert_eq!(adapters.len(), 1);
    for field in ["name", "backend", "driver"] {
        assert!(adapters[0][field].is_string(), "{field}");
    }
    assert_eq!(adapters[0]["pass"], true);
    let checks = adapters[0]["checks"].as_array().unwrap();
    for check in checks {
        assert!(check["kernel"].as_str().unwrap().starts_with("step state/"), "{check}");
        assert!(check["case"].is_string() && check["pass"] == true, "{check}");
        assert!(check["worst_ratio"].as_f64().unwrap() <= 1.0, "{check}");
        assert!(check["values"].as_u64().unwrap() > 0, "{check}");
    }
    for bound in ["derived", "exact"] {
        assert!(checks.iter().any(|check| check["bound"] == bound), "{bound}");
    }
}

#[test]
fn a_seed_draws_the_same_inputs_and_another_one_others() {
    let of = |seed| json(&["--quick", "--group", "evaluations", "--json", "--seed", seed]);
    let first = of("1");
    assert_eq!(first["adapters"], of("1")["adapters"]);
    assert_ne!(first["adapters"], of("2")["adapters"]);
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let output = verify(&["--quick", "--group", "step state", "--html", path.to_str().unwrap()]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("step state/adam") && text.contains("All is well"), "{text}");
    let html = std::fs::read_to_string(path).unwrap();
    assert!(html.contains("step state/adam") && html.contains("<svg"));
    for outside in ["src=", "href=", "@import", "url(", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn what_cannot_be_verified_is_refused() {
    for (arguments, says) in [
        (&["--adapter", "no such adapter"][..], "no such adapter"),
        (&["--group", "no such group"], "no such group"),
        (&["--device", "cpu"], "--device cpu"),
        (&["--html", "no/such/folder.html"], "no/such/folder.html"),
    ] {
        let output = verify(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{arguments:?}");
    }
}
