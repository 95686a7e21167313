//! Tests of `sweep`.

use crate::command::HANG;
use crate::common;

use assert_cmd::Command;
use common::gpu::Gpu;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

const DIABETES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/diabetes.csv");
const BREAST_CANCER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/breast_cancer.csv");

/// Runs `sweep` with arguments separated by blanks: the exit code and both streams.
fn run(arguments: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-optim"));
    command.arg("sweep").args(arguments.split_whitespace());
    let output = command.timeout(HANG).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stderr.contains("panicked"), "{arguments}: {stderr}");
    (output.status.code().unwrap(), stdout, stderr)
}

#[track_caller]
fn json(arguments: &str) -> Value {
    let (code, stdout, stderr) = run(&format!("{arguments} --json"));
    assert_eq!(code, 0, "{arguments}: {stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// Runs `sweep`, which must fail, print nothing to standard output, and report each of `parts`.
#[track_caller]
fn fails(arguments: &str, code: i32, parts: &[&str]) {
    let (actual, stdout, stderr) = run(arguments);
    assert_eq!((actual, stdout.as_str()), (code, ""), "{arguments}: {stderr}");
    parts.iter().for_each(|part| assert!(stderr.contains(part), "{arguments}: no `{part}` in {stderr}"));
}

/// The cells of a row of a CSV file by column name.
fn read(path: &Path) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

fn number(row: &HashMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name}: {:?}", row[name]))
}

/// The definition of one fit in f64: the blog's problem, batches of 10 in order, ten epochs of Adam.
fn adam_on_blog(lr: f64, beta2: f64) -> f64 {
    use wgpu_optim::cpu::{exact_step, update};
    use wgpu_optim::regression::reference::gradient::{Rows, gradient};
    use wgpu_optim::{Adam, Loss, Model, Rule};
    let (x, y) = wgpu_optim::regression::Problem::blog().materialize::<f64>().unwrap();
    let model = Model::new(1, Loss::Mse);
    let rule: Rule = Adam { lr, betas: (0.9, beta2), ..Adam::default() }.into();
    let (mut params, mut grads) = ([0.0; 2], [0.0; 2]);
    let mut moments = [[0.0; 2]; 2];
    for t in 0..100 {
        let at = t as usize * 10 % 100;
        let rows = Rows { x: &x[at..at + 10], aux: &y[at..at + 10] };
        gradient(&model, rows, &params, &mut grads);
        let mut moments: Vec<&mut [f64]> = moments.iter_mut().map(|m| &mut m[..]).collect();
        update(&rule, &exact_step(&rule, t + 1, lr), &mut params, &grads, &mut moments);
    }
    gradient(&model, Rows { x: &x, aux: &y }, &params, &mut grads)
}

#[test]
fn every_fit_of_the_file_is_that_of_its_definition() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fits.csv");
    let mut devices = vec!["cpu"];
    devices.extend(Gpu::get().map(|_| "gpu"));
    for device in devices {
        let arguments =
            format!("--device {device} --lr 1e-3:0.1:7 --beta2 0.5,0.9,0.999 --seeds 2 --csv");
        let report = json(&format!("{arguments} {}", path.display()));
        let rows = read(&path);
        assert_eq!(rows.len(), 7 * 3 * 2);
        assert_eq!((&report["settings"], &report["seeds"]), (&Value::from(21), &Value::from(2)));
        let (mut seen, mut best) = (Vec::new(), Vec::new());
        for row in &rows {
            assert_eq!((row["optimizer"].as_str(), row["diverged"].as_str()), ("adam", "false"));
            assert_eq!((row["alpha"].as_str(), row["momentum"].as_str()), ("", ""));
            let (lr, beta2, loss) = (number(row, "lr"), number(row, "beta2"), number(row, "loss"));
            seen.push((row["lr"].clone(), row["beta2"].clone(), row["seed"].clone()));
            best.push(loss);
            let exact = adam_on_blog(lr, beta2);
            if row["seed"] == "0" {
                // f32 follows f64 until the fit is close to the minimum.
                assert!((loss - exact).abs() < 2e-4 * exact + 1e-7, "{row:?} for {exact}");
            } else {
                assert_ne!(loss, exact);
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 42, "each combination once");
        assert_eq!((number(&rows[0], "lr"), number(&rows[41], "lr")), (1e-3, 0.1));
        // The lowest median of two is the lowest mean of two.
        let medians = best.chunks(2).map(|pair| (pair[0] + pair[1]) / 2.0);
        let lowest = medians.fold(f64::INFINITY, f64::min);
        let found = report["optimizers"][0]["best"]["loss"].as_f64().unwrap();
        assert!((found - lowest).abs() <= 1e-12 * lowest);
    }
}

#[test]
fn gpu_and_cpu_agree() {
    if Gpu::get().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        "--optimizer sgd --optimizer momentum --optimizer rmsprop --lr 1e-3:0.1:4 --momentum 0,0.9",
        "--optimizer nadam --optimizer adamax --optimizer adagrad --eps 1e-8,1e-4 --lr 0.01 --seeds 3",
        &format!("{DIABETES} --standardize --lr 0.1,1 --batch-size 40 --epochs 3 --loss squared_error"),
        &format!("{BREAST_CANCER} --standardize --loss logistic --lr 1e-3,1e-2 --epochs 2 --seeds 2"),
    ];
    for case in cases {
        let [gpu, cpu] = ["gpu", "cpu"].map(|device| {
            let path = folder.path().join(device).with_extension("csv");
            let report = json(&format!("{case} --device {device} --csv {}", path.display()));
            let checks = &report["verification"];
            assert_eq!(checks["pass"], true, "{case}");
            assert!(checks["checks"].as_u64().unwrap() >= 4 && checks["share"].as_f64().unwrap() <= 1.0);
            assert!(checks["worst_ratio"].as_f64().unwrap() > 0.0);
            read(&path)
        });
        assert_eq!(gpu.len(), cpu.len());
        for (gpu, cpu) in gpu.iter().zip(&cpu) {
            for name in ["optimizer", "lr", "momentum", "eps", "seed", "diverged"] {
                assert_eq!(gpu[name], cpu[name]);
            }
            let (a, b) = (number(gpu, "loss"), number(cpu, "loss"));
            assert!((a - b).abs() <= 1e-4 * b.abs() + 1e-6, "{case}: {gpu:?} and {cpu:?}");
        }
    }
}

/// Learning rates that are too large, and one that converges.
#[test]
fn diverged_fits_are_counted_and_never_best() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fits.csv");
    let report =
        json(&format!("--device cpu --optimizer sgd --lr 0.1,1e3,1e30 --csv {}", path.display()));
    let sgd = &report["optimizers"][0];
    assert_eq!((&sgd["settings"], &sgd["diverged"]), (&Value::from(3), &Value::from(2)));
    assert_eq!(sgd["best"]["hyper_parameters"][0][1], 0.1);
    let diverged: Vec<String> = read(&path).iter().map(|row| row["diverged"].clone()).collect();
    assert_eq!(diverged, ["false", "true", "true"]);

    let (code, stdout, stderr) = run("--device cpu --optimizer sgd --lr 1e3");
    assert_eq!(code, 1);
    assert!(stdout.contains("1 of 1") && stderr.contains("every fit diverged"), "{stdout} {stderr}");
}

#[test]
fn the_map_is_drawn_over_the_requested_axes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.svg");
    let svg = |arguments: &str| {
        let (code, _, stderr) = run(&format!("--device cpu {arguments} --plot {}", path.display()));
        assert_eq!(code, 0, "{stderr}");
        std::fs::read_to_string(&path).unwrap()
    };
    let map = svg("--lr 1e-3:1:5 --beta2 0.9:0.999:3");
    assert!(map.contains(", at lr ") && map.contains(" and 1 − beta2 "), "the dimension that varies");
    let map = svg("--optimizer sgd --optimizer adam --lr 0.01,1e3 --y optimizer --seeds 3");
    assert!(
        map.contains(" and optimizer sgd") && map.contains("adam") && map.contains("median of seeds")
    );
    assert!(map.contains("diverged: "));
    let map = svg("--lr 1e-3:1:5 --weight-decay 0,1e-3,0.01 --beta1 0.8,0.9 --x beta1 --y weight-decay");
    assert!(map.contains(", at 1 − beta1 ") && map.contains(" and weight_decay "));
    let png = folder.path().join("map.png");
    let (code, ..) = run(&format!("--device cpu --lr 0.1,0.2 --plot {}", png.display()));
    assert_eq!(code, 0);
    assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn invalid_arguments_are_named() {
    for (range, part) in [
        ("1:2", "a range must be MIN:MAX:COUNT"),
        ("1:2:1", "a range must have 2 to"),
        ("2:1:3", "no 3 values with logarithmic spacing exist from 2 to 1"),
        ("0:1:3", "with logarithmic spacing exist from 0 to 1"),
        ("x", "`x`: invalid float literal"),
        ("nan", "`nan` is not finite"),
    ] {
        fails(&format!("--lr {range}"), 2, &["--lr", part]);
    }
    fails("--lr -1,0.1", 2, &["adam: lr is -1.0"]);
    fails("--beta2 0.9,1.5", 2, &["adam: ", "1.5"]);
    fails("--optimizer sgd --beta2 0.9", 2, &["--beta2 is not a hyper-parameter of any"]);
    fails("--lr 1e-9:1:4000000 --beta1 0:0.9:1000", 2, &["the grid has 4000000000 settings"]);
    fails("--lr 1e-3:1:4000000 --seeds 1000", 2, &["4000000 settings times 1000 orders"]);
    fails("--batch-size 101", 2, &["--batch-size 101 is more than the 100 rows of blog"]);
    fails("--standardize", 2, &["--standardize requires a data file"]);
    fails("--loss logistic", 2, &["blog", "different values"]);
    fails("--plot a.pdf", 2, &[".svg"]);
    fails("--plot nowhere/a.svg", 2, &["--plot nowhere/a.svg: its directory does not exist"]);
    fails("--csv tests", 2, &["--csv tests", "not a regular file"]);
    fails(&format!("{DIABETES} --csv {DIABETES}"), 2, &["would overwrite the data"]);
    fails("--x lr", 2, &["--plot"]);
    fails("--plot a.svg --y depth", 2, &["must be one of lr, beta1"]);
    if Gpu::get().is_some() {
        let large = format!("{BREAST_CANCER} --batch-size 569 --device gpu");
        fails(&large, 2, &["a batch of 569 rows × 30 features is too large for a sweep on a GPU"]);
    }
}

#[test]
fn a_map_over_an_unused_hyper_parameter_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.svg");
    let (code, _, stderr) =
        run(&format!("--device cpu --lr 0.1,0.2 --y alpha --plot {}", path.display()));
    assert_eq!(code, 2);
    assert!(stderr.contains("no selected optimizer has alpha"), "{stderr}");
    assert!(!path.exists());
}
