//! Roles of columns: in training, and in files for predictions.

use crate::command::{Outcome, folder, json, names, number, numbers, refused, run, wait_until};
use serde_json::json;
use std::path::Path;

const FIT: &str = "--device cpu --optimizer adam --lr 0.05 --epochs 500";

/// A column of a file, computed from y, a and b.
type Column<'a> = &'a dyn Fn(&[f64; 3]) -> f64;

/// y = 2 a − b + 1.
fn rows() -> Vec<[f64; 3]> {
    let row = |i: i32| {
        let (a, b) = (f64::from(i * 7 % 23) / 8.0 - 1.0, f64::from(i * 5 % 17) / 8.0 - 1.0);
        [2.0 * a - b + 1.0, a, b]
    };
    (0..40).map(row).collect()
}

/// Writes columns of numbers as an .npy file.
fn npy(path: &Path, columns: &[Column]) {
    let rows = rows();
    let (count, width) = (rows.len(), columns.len());
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({count}, {width}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    for row in &rows {
        bytes.extend(columns.iter().flat_map(|column| column(row).to_le_bytes()));
    }
    std::fs::write(path, bytes).unwrap();
}

#[track_caller]
fn predictions(folder: &Path, arguments: &str) -> Vec<f64> {
    let Outcome { code, stdout, stderr } = run(folder, &format!("predict {arguments}"));
    assert_eq!(code, 0, "{arguments}: {stderr}");
    stdout.lines().skip(1).map(|line| line.parse().unwrap()).collect()
}

#[track_caller]
fn close(found: &[f64], expected: impl Iterator<Item = f64>) {
    let expected: Vec<f64> = expected.collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} where {expected} is right");
    }
}

#[test]
fn predictions_of_a_file_without_names_know_the_places_of_training() {
    let folder = folder(&[]);
    let path = folder.path();
    let (y, a, b) = (|r: &[f64; 3]| r[0], |r: &[f64; 3]| r[1], |r: &[f64; 3]| r[2]);
    let (one, zero) = (|_: &[f64; 3]| 1.0, |_: &[f64; 3]| 0.0);
    let at = |name: &str| path.join(name);
    npy(&at("features.npy"), &[&a, &b]);
    // The training columns, the options, and files that lack some columns, with their options.
    let cases: &[(&[Column], &str)] = &[
        (&[&y, &a, &b], "--target x1"),
        (&[&a, &y, &b], "--target x2"),
        (&[&a, &b, &y], ""),
        (&[&one, &a, &b, &y], "--sample-weight x1"),
        (&[&y, &a, &one, &b], "--target x1 --sample-weight x3"),
        (&[&a, &zero, &b, &y], "--exclude x2"),
        (&[&a, &b, &y, &one], "--sample-weight x4"),
    ];
    for (columns, options) in cases {
        npy(&at("d.npy"), columns);
        json(path, &format!("fit d.npy {options} {FIT} --out m.safetensors --json"));
        close(&predictions(path, "m.safetensors d.npy"), rows().iter().map(y));
        close(&predictions(path, "m.safetensors features.npy"), rows().iter().map(y));
    }
    // It is ambiguous which column is missing.
    npy(&at("d.npy"), &[&y, &a, &b, &one]);
    json(path, &format!("fit d.npy --target x1 --sample-weight x4 {FIT} --out m.safetensors --json"));
    npy(&at("d.npy"), &[&a, &b, &one]);
    refused(
        path,
        "predict m.safetensors d.npy",
        &["has 3 columns", "4 columns (features x2, x3; target x1; weight x4)"],
    );
}

#[test]
fn an_offset_may_be_anywhere_in_a_file_without_names() {
    let folder = folder(&[]);
    let path = folder.path();
    let (a, b, offset) = (|r: &[f64; 3]| r[1], |r: &[f64; 3]| r[2], |r: &[f64; 3]| 3.0 * r[1]);
    let target = |r: &[f64; 3]| r[0] + 3.0 * r[1];
    npy(&path.join("d.npy"), &[&offset, &target, &a, &b]);
    json(path, &format!("fit d.npy --target x2 --offset x1 {FIT} --out m.safetensors --json"));
    close(&predictions(path, "m.safetensors d.npy --offset x1"), rows().iter().map(target));
    npy(&path.join("e.npy"), &[&offset, &a, &b]);
    close(&predictions(path, "m.safetensors e.npy --offset x1"), rows().iter().map(target));
    npy(&path.join("e.npy"), &[&a, &b, &offset]);
    close(&predictions(path, "m.safetensors e.npy --offset x3"), rows().iter().map(target));
    refused(path, "predict m.safetensors d.npy", &["was trained with offsets"]);
}

#[test]
fn a_model_with_names_does_not_guess_in_a_file_without() {
    let text: String = rows().iter().map(|[y, a, b]| format!("{y},{a},{b}\n")).collect();
    let folder = folder(&[("d.csv", &format!("y,a,b\n{text}"))]);
    let path = folder.path();
    json(path, &format!("fit d.csv --target y {FIT} --out m.safetensors --json"));
    let (y, a, b) = (|r: &[f64; 3]| r[0], |r: &[f64; 3]| r[1], |r: &[f64; 3]| r[2]);
    npy(&path.join("d.npy"), &[&y, &a, &b]);
    refused(path, "predict m.safetensors d.npy", &["has 3 columns", "2 features"]);
    npy(&path.join("d.npy"), &[&a, &b]);
    close(&predictions(path, "m.safetensors d.npy"), rows().iter().map(y));
}

#[test]
fn svmlight_indices_have_the_same_meaning_in_predictions_and_training() {
    let line = |[y, a, b]: &[f64; 3]| format!("{y} 0:{a} 1:{b}\n");
    let without_the_first = "0 1:0.5\n0 1:0.25\n";
    let text: String = rows().iter().map(line).collect();
    let folder = folder(&[("d.svm", &text), ("few.svm", without_the_first)]);
    json(&folder, &format!("fit d.svm {FIT} --out m.safetensors --json"));
    close(&predictions(folder.path(), "m.safetensors few.svm"), [0.5, 0.75].into_iter());
}

#[test]
fn the_target_is_the_last_column_that_is_nothing_else() {
    let folder = folder(&[("d.csv", "x,y,w\n1,2,1\n2,4,3\n"), ("i.csv", ",x,y\n12,1,2\n40,2,4\n")]);
    let data = |arguments: &str| {
        json(&folder, &format!("fit {arguments} --device cpu --epochs 1 --json"))["data"].clone()
    };
    for (arguments, target, features) in [
        ("d.csv --sample-weight w", "y", json!(["x"])),
        ("d.csv --exposure w", "y", json!(["x"])),
        ("d.csv --offset w", "y", json!(["x"])),
        ("d.csv --exclude w", "y", json!(["x"])),
        ("d.csv", "w", json!(["x", "y"])),
        ("d.csv --features x,y", "w", json!(["x", "y"])),
        ("d.csv --features w --target x", "x", json!(["w"])),
        ("i.csv", "y", json!(["x"])),
    ] {
        let data = data(arguments);
        assert_eq!(
            (&data["target"], &data["feature_names"]),
            (&target.into(), &features),
            "{arguments}"
        );
    }
    let noted = data("i.csv");
    assert_eq!(noted["notes"][0]["kind"], "left_out");
    let fit = "fit d.csv --device cpu --epochs 1";
    let outcome = run(&folder, &format!("{fit} --sample-weight w"));
    assert!(outcome.stdout.contains("target y; features x; weight w"), "{}", outcome.stdout);
    refused(&folder, &format!("{fit} --exclude y --target y"), &["`y` is named for two roles"]);
    refused(&folder, &format!("{fit} --features z"), &["0 columns are named `z`"]);
    refused(&folder, &format!("{fit} --exclude x,y,w"), &["has no target"]);
}

#[test]
fn columns_of_one_name_are_refused_where_they_are_used() {
    let folder = folder(&[("d.csv", "a,a,b,y\n1,2,3,4\n2,3,4,5\n"), ("e.csv", "a,,,y\n1,2,3,4\n")]);
    let fit = "--device cpu --optimizer adam --epochs 1 --out m.safetensors";
    refused(&folder, &format!("fit d.csv {fit}"), &["2 columns are named `a`"]);
    refused(&folder, &format!("fit e.csv {fit}"), &["column 2 has no name"]);
    json(&folder, &format!("fit d.csv --features b {fit} --json"));
    assert_eq!(predictions(folder.path(), "m.safetensors d.csv").len(), 2);
}

const PETS: &str = "a,kind\n-1,dog\n2,cat\n-2,dog\n1,cat\n-0.5,dog\n0.75,cat\n";

#[test]
fn labels_that_are_words_are_sorted_kept_and_given_back() {
    let more = "a,kind\n-3,low\n-2,low\n0,\"in, between\"\n0.1,\"in, between\"\n3,high\n2,high\n";
    let truth = "a,b\n-1,False\n1,True\n-2,False\n2,True\n";
    let folder = folder(&[("pets.csv", PETS), ("more.csv", more), ("truth.csv", truth)]);
    let fit = "--optimizer adam --lr 0.1 --epochs 300 --device cpu --out m.safetensors --json";
    for (file, loss, classes) in [
        ("pets.csv", "logistic", json!(["cat", "dog"])),
        ("pets.csv", "softmax", json!(["cat", "dog"])),
        ("more.csv", "softmax", json!(["high", "in, between", "low"])),
        ("truth.csv", "logistic", json!(["False", "True"])),
    ] {
        let report = json(&folder, &format!("fit {file} --loss {loss} {fit}"));
        assert_eq!(report["data"]["classes"], classes);
        assert_eq!(number(&report["runs"][0]["metrics"]["accuracy"]), 1.0, "{file}");
        let outcome = run(&folder, &format!("predict m.safetensors {file} --probabilities"));
        let mut reader = csv::Reader::from_reader(outcome.stdout.as_bytes());
        let names: Vec<String> = reader.headers().unwrap().iter().map(String::from).collect();
        let expected =
            classes.as_array().unwrap().iter().map(|c| format!("probability_{}", c.as_str().unwrap()));
        assert_eq!(names, ["prediction".to_string()].into_iter().chain(expected).collect::<Vec<_>>());
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        let mut rows = csv::Reader::from_reader(text.as_bytes());
        let label = |row: csv::Result<csv::StringRecord>, at: usize| row.unwrap()[at].to_string();
        let found: Vec<String> = reader.records().map(|row| label(row, 0)).collect();
        assert_eq!(found, rows.records().map(|row| label(row, 1)).collect::<Vec<_>>());
    }
}

#[test]
fn a_label_of_another_kind_is_a_bad_row() {
    let numbered = "a,y\n1,0\n2,1\n3,cat\n";
    let missing = format!("{PETS}3,\n4,7\n");
    let folder = folder(&[("n.csv", numbered), ("m.csv", &missing)]);
    let fit = "--loss logistic --optimizer adam --epochs 1 --device cpu";
    refused(&folder, &format!("fit n.csv {fit}"), &["line 4, row 3, column `y`: `cat` is not a number"]);
    refused(
        &folder,
        &format!("fit m.csv {fit}"),
        &["line 8, row 7, column `kind`: the label is missing"],
    );
    let report = json(&folder, &format!("fit m.csv {fit} --on-bad-row skip --json"));
    assert_eq!((&report["data"]["skipped"], &report["data"]["samples"]), (&2.into(), &6.into()));
    // A regression has no labels.
    let mse = "fit m.csv --optimizer adam --epochs 1 --device cpu";
    refused(&folder, mse, &["`dog` is not a number"]);
}

#[test]
fn a_header_is_recognised_or_refused_by_rule() {
    let heart = "63,,145,1\n67,1,160,2\n41,0,130,0\n56,1,120,0\n57,0,140,0\n";
    let folder = folder(&[("h.csv", heart), ("years.csv", "2019,2020,y\n1,2,3\n4,5,6\n")]);
    let fit = "--device cpu --optimizer sgd --lr 1e-9 --epochs 1 --json";
    refused(
        &folder,
        &format!("fit h.csv {fit}"),
        &["the first line has numbers", "`63,,145,1`", "--no-header"],
    );
    refused(&folder, &format!("fit h.csv --on-bad-row skip {fit}"), &["the first line has numbers"]);
    refused(
        &folder,
        &format!("fit h.csv --no-header {fit}"),
        &["line 1, row 1, column `x2`: the cell is empty"],
    );
    let report =
        json(&folder, &format!("fit h.csv --no-header --on-bad-row skip {fit} --out m.safetensors"));
    assert_eq!((&report["data"]["samples"], &report["data"]["skipped"]), (&4.into(), &1.into()));
    assert_eq!(report["data"]["target"], "x4");
    let predicted = run(&folder, "predict m.safetensors h.csv --no-header --on-bad-row skip");
    assert_eq!((predicted.code, predicted.stdout.lines().count()), (0, 5), "{}", predicted.stderr);
    refused(&folder, &format!("fit years.csv {fit}"), &["the first line has numbers"]);
    let report = json(&folder, &format!("fit years.csv --header {fit}"));
    assert_eq!(report["data"]["feature_names"], json!(["2019", "2020"]));
    assert_eq!(numbers(&report["runs"][0]["weights"]).len(), 2);
}

/// Rows of an .npy file of two columns.
fn ramp(path: &Path, sign: f64) {
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2000, 2), }\n";
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    for i in 0..2000 {
        let x = f64::from(i % 50) / 50.0;
        bytes.extend([x, sign * x].iter().flat_map(|value| value.to_le_bytes()));
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_that_changes_while_it_is_streamed_ends_the_run_with_its_checkpoint() {
    let folder = folder(&[]);
    let path = folder.path();
    ramp(&path.join("rows.npy"), 1.0);
    let fit = |steps: u64| {
        format!(
            "fit rows.npy --stream --device cpu --optimizer adam --lr 0.01 --steps {steps} --batch-size 100 \
             --no-verify --json"
        )
    };
    let checkpoints = "--checkpoint c --checkpoint-every 20";
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_wgpu-optim"))
        .current_dir(path)
        .args(format!("{} {checkpoints}", fit(1 << 40)).split_whitespace())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let saved = || {
        let update =
            |name: &String| name.strip_prefix("1-adam-")?.strip_suffix(".safetensors")?.parse().ok();
        let folder = path.join("c");
        if folder.is_dir() { names(folder).iter().filter_map(update).max() } else { None::<u64> }
    };
    wait_until("a checkpoint", || saved().is_some());
    ramp(&path.join("rows.npy"), -1.0);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("rows.npy: was changed while it was read"), "{stderr}");
    // The last checkpoint belongs to the original rows: with these the run resumes to the same bits.
    ramp(&path.join("rows.npy"), 1.0);
    let steps = saved().unwrap() + 20;
    let resumed = json(path, &format!("{} {checkpoints} --resume", fit(steps)));
    let whole = json(path, &fit(steps));
    let result = |report: &serde_json::Value| report["runs"][0]["weights"].clone();
    assert_eq!(result(&resumed), result(&whole));
}
