//! Tests of `shaders`: every file is a valid kernel, and the manifest describes its bindings.

use assert_cmd::Command;
use rayon::prelude::*;
use serde_json::Value;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command as Program, Output};
use wgpu_optim::gpu::shader::{self, Composed};
use wgpu_optim::regression::kernels::shader as over_rows;

fn shaders(folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-optim"));
    command.current_dir(folder).args(["shaders", "--out", "deep/kernels"]).output().unwrap()
}

/// The kernels of the library.
fn all() -> Vec<Composed> {
    shader::all().into_iter().chain(over_rows::all()).collect()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a Vec<Value> {
    value[field].as_array().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Asserts that `field` has a text.
#[track_caller]
fn assert_said(value: &Value, field: &str) {
    assert!(value[field].as_str().is_some_and(|text| !text.is_empty()), "no {field} in {value}");
}

#[test]
fn the_manifest_names_all_that_is_bound_and_set() {
    let folder = tempfile::tempdir().unwrap();
    let output = shaders(folder.path());
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let folder = folder.path().join("deep/kernels");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let kernels = list(&manifest, "kernels");
    assert_eq!(folder.read_dir().unwrap().count(), kernels.len() + 1);
    let written: Vec<_> = kernels.iter().map(|kernel| kernel["file"].as_str().unwrap()).collect();
    let own = "descend_rmsprop_as_published".to_string();
    let names = all().into_iter().map(|composed| composed.name).chain([own]);
    assert_eq!(written, names.map(|name| name + ".wgsl").collect::<Vec<_>>());

    for kernel in kernels {
        let file = kernel["file"].as_str().unwrap();
        let source = std::fs::read_to_string(folder.join(file)).unwrap();
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|e| panic!("{file}: {}", e.emit_to_string(&source)));
        naga::valid::Validator::new(Default::default(), Default::default())
            .validate(&module)
            .unwrap_or_else(|e| panic!("{file}: {}", e.emit_to_string(&source)));

        let bindings = list(kernel, "bindings");
        let bound = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| Some((variable.name.clone()?, variable.binding.as_ref()?)));
        let bound: Vec<_> = bound.collect();
        assert_eq!(bound.len(), bindings.len(), "{file}");
        for (name, at) in bound {
            let of_name = |binding: &&Value| binding["name"] == name;
            let binding = bindings.iter().find(of_name).unwrap_or_else(|| panic!("{file}: {name}"));
            assert_eq!((&binding["group"], &binding["binding"]), (&at.group.into(), &at.binding.into()));
            ["meaning", "type", "buffer"].iter().for_each(|field| assert_said(binding, field));
            // The kernels over rows share their bindings, and some do not use all.
            let shares = ["gradient_", "descend_", "epochs_"].iter().any(|of| file.starts_with(of));
            let shares = shares && !file.starts_with("gradient_norm");
            assert!(shares || !list(binding, "used_by").is_empty(), "{file}: {binding}");
        }

        let overrides = list(kernel, "overrides");
        assert_eq!(overrides.len(), module.overrides.len(), "{file}");
        for over_ride in overrides {
            ["name", "type", "meaning"].iter().for_each(|field| assert_said(over_ride, field));
            assert!(!over_ride["default"].is_null(), "{file}: {over_ride}");
        }
        let entry_points = list(kernel, "entry_points");
        assert_eq!(entry_points.len(), module.entry_points.len(), "{file}");
        for entry in entry_points {
            ["name", "does", "workgroups"].iter().for_each(|field| assert_said(entry, field));
            let named = |size: &Value| overrides.iter().any(|over_ride| over_ride["name"] == *size);
            assert!(
                list(entry, "workgroup_size").iter().all(|size| size.is_u64() || named(size)),
                "{entry}"
            );
        }
    }
}

#[test]
fn the_manifest_lays_out_what_lies_in_buffers() {
    let folder = tempfile::tempdir().unwrap();
    assert!(shaders(folder.path()).status.success());
    let manifest = std::fs::read(folder.path().join("deep/kernels/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let kernels = list(&manifest, "kernels");
    let of = |file: &str| kernels.iter().find(|kernel| kernel["file"] == file).unwrap();
    let structs = &of("step_state.wgsl")["structs"];
    let size = |name: &str| structs[name]["size"].as_u64().unwrap() as usize;
    assert_eq!(size("Step"), 256);
    assert_eq!(size("State"), size_of::<wgpu_optim::cpu::StepState>());
    assert_eq!(size("Rule"), size_of::<wgpu_optim::cpu::RuleConstants>());
    assert_eq!(size("Control"), size_of::<wgpu_optim::gpu::Control>());
    let hyper = list(&structs["Step"], "fields").iter().find(|field| field["name"] == "hyper").unwrap();
    assert_eq!(hyper["offset"], 48);
    let hyper = list(&of("adam.wgsl")["structs"]["Hyper"], "fields");
    let names: Vec<_> = hyper.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["beta1", "one_minus_beta1", "beta2", "one_minus_beta2", "eps_inside"]);
    assert_eq!(
        of("adam_tail.wgsl")["moments"],
        serde_json::json!(["exp_avg", "exp_avg_sq", "max_exp_avg_sq"])
    );
}

/// The compiler of browsers is stricter than naga, mainly about barriers, which all threads must reach.
#[test]
fn every_kernel_passes_tint_where_there_is_one() {
    match Program::new("tint").arg("--help").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: there is no `tint` on the PATH");
            return;
        }
        ran => drop(ran.expect("tint runs")),
    }
    let folder = tempfile::tempdir().unwrap();
    let complaints = |Composed { name, module, .. }: &Composed| {
        let file = folder.path().join(format!("{name}.wgsl"));
        std::fs::write(&file, module.source()).unwrap();
        // Every build can output WGSL; the source is resolved and analysed first.
        let arguments = ["--format", "wgsl", "--validate", "true"];
        let output = Program::new("tint").args(arguments).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let complains = [" error: ", " warning: "].iter().any(|word| said.contains(word));
        let fine = output.status.success() && !complains;
        (!fine).then(|| format!("{name}: {}\n{said}", output.status))
    };
    let complaints: Vec<String> = all().par_iter().filter_map(complaints).collect();
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn what_is_no_folder_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    std::fs::write(folder.path().join("deep/kernels"), "mine").unwrap();
    let output = shaders(folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("deep/kernels"));
    assert_eq!(std::fs::read(folder.path().join("deep/kernels")).unwrap(), b"mine");
}
