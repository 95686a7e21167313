//! Tests of `predict`.

use crate::command;

use command::{Outcome, names, refused_whole as refused, run};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use wgpu_optim::regression::Scaling;
use wgpu_optim::regression::model_file::{Precision, SavedModel};
use wgpu_optim::{Loss, Model};

/// The lines of standard output of a run that must succeed with an empty standard error.
#[track_caller]
fn lines(folder: &TempDir, arguments: &str) -> Vec<String> {
    let Outcome { code, stdout, stderr } = run(folder, arguments);
    assert_eq!((code, stderr.as_str()), (0, ""), "{arguments}");
    stdout.lines().map(String::from).collect()
}

fn model(loss: Loss, coef: &[f64], intercept: &[f64]) -> SavedModel {
    let outputs = intercept.len();
    let features = coef.len() / outputs;
    let model = Model { outputs, ..Model::new(features, loss) };
    let name = |prefix: char| move |i: usize| format!("{prefix}{i}");
    SavedModel {
        model,
        coef: coef.to_vec(),
        intercept: intercept.to_vec(),
        precision: Precision::Double,
        names: (1..=features).map(name('x')).collect(),
        target_names: (1..=model.targets()).map(name('y')).collect(),
        classes: None,
        class_names: None,
        columns: None,
        scaling: None,
        training: Default::default(),
    }
}

/// A directory with files and the model `m`.
fn folder(model: &SavedModel, files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    model.save(&folder.path().join("m")).unwrap();
    files.iter().for_each(|(name, text)| write(folder.path(), name, text.as_bytes()));
    folder
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

const LINEAR: [f64; 2] = [1.0, 10.0];

#[test]
fn features_go_by_their_names() {
    let scaling = Some(Scaling { mean: vec![1.0, 0.0], scale: vec![2.0, 1.0] });
    let linear = SavedModel { scaling, ..model(Loss::Mse, &LINEAR, &[0.5]) };
    let data = "x2,text,x1,y1\n3,a,1,9\n-4,b,3,\n";
    let folder = folder(
        &linear,
        &[("d.csv", data), ("other.csv", "x2,z\n1,2\n"), ("twice.csv", "x1,x2,x1\n1,2,3\n")],
    );
    assert_eq!(lines(&folder, "predict m d.csv"), ["prediction", "30.5", "-38.5"]);
    refused(&folder, "predict m other.csv", &["other.csv: there is no column `x1`"]);
    refused(&folder, "predict m twice.csv", &["2 columns are named `x1`"]);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = folder(&model(Loss::Mse, &LINEAR, &[0.5]), &[("d.csv", "x1,x2\n1,2\n3,four\n5,6\n")]);
    refused(
        &folder,
        "predict m d.csv --out o.csv",
        &["d.csv: line 3, row 2, column `x2`: `four` is not"],
    );
    refused(&folder, "predict m d.csv --out d.csv", &["--out d.csv", "overwrite"]);
    refused(&folder, "predict m d.csv --out m", &["--out m", "overwrite"]);
    refused(&folder, "predict m d.csv --out no/o.csv", &["its directory does not exist"]);
    refused(&folder, "predict m d.csv --json", &["--out"]);

    let outcome = run(&folder, "predict m d.csv --on-bad-row skip --out o.csv --json");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 rows were skipped:\n  line 3, row 2"), "{}", outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&report["rows"], &report["skipped"]["count"]), (&2.into(), &1.into()));
    assert_eq!(report["skipped"]["first"][0]["line"], 3);
    let text = std::fs::read_to_string(folder.path().join("o.csv")).unwrap();
    assert_eq!(text, "prediction\n21.5\n65.5\n");
    assert_eq!(names(&folder), ["d.csv", "m", "o.csv"]);
}

#[test]
fn classes_have_labels_and_probabilities() {
    let softmax = model(Loss::Softmax { classes: 3 }, &[1.0, 0.0, -1.0], &[0.0; 3]);
    let softmax = SavedModel { classes: Some(vec![2.0, 3.5, 7.0]), ..softmax };
    let folder = folder(&softmax, &[("d.csv", "x1\n1000\n0\n-1000\n")]);
    assert_eq!(lines(&folder, "predict m d.csv"), ["prediction", "2", "2", "7"]);
    let third = 1.0 / 3.0;
    assert_eq!(
        lines(&folder, "predict m d.csv --probabilities"),
        [
            "prediction,probability_2,probability_3.5,probability_7",
            "2,1.0,0.0,0.0",
            &format!("2,{third},{third},{third}"),
            "7,0.0,0.0,1.0",
        ]
    );
    model(Loss::Logistic, &[1.0], &[0.0]).save(&folder.path().join("m")).unwrap();
    assert_eq!(
        lines(&folder, "predict m d.csv --probabilities"),
        ["prediction,probability_0,probability_1", "1,0.0,1.0", "0,0.5,0.5", "0,1.0,0.0"]
    );
    write(folder.path(), "far.csv", b"x1\n40\n");
    let small = (-40f64).exp();
    assert_eq!(
        lines(&folder, "predict m far.csv --probabilities")[1],
        format!("1,{:?},{:?}", small / (1.0 + small), 1.0 / (1.0 + small))
    );
    for loss in [Loss::Poisson, Loss::SquaredHinge] {
        model(loss, &[1.0], &[0.0]).save(&folder.path().join("m")).unwrap();
        let expected = &["m: --probabilities requires a classifier with probabilities", loss.name()];
        refused(&folder, "predict m d.csv --probabilities", expected);
    }
}

#[test]
fn a_margin_predicts_classes() {
    let names = Some(vec!["no".into(), "yes".into()]);
    let hinge = model(Loss::SquaredHinge, &[1.0], &[-0.5]);
    let hinge = SavedModel { classes: Some(vec![0.0, 1.0]), class_names: names, ..hinge };
    let folder = folder(&hinge, &[("d.csv", "x1\n0.25\n0.5\n0.75\n")]);
    assert_eq!(lines(&folder, "predict m d.csv"), ["prediction", "no", "no", "yes"]);
}

#[test]
fn an_offset_is_added_to_the_scores() {
    let mut poisson = model(Loss::Poisson, &[1.0], &[0.0]);
    poisson.model.offset = true;
    let folder = folder(&poisson, &[("d.csv", "x1,days,ln\n0,1,2\n0,0.5,0\n")]);
    assert_eq!(lines(&folder, "predict m d.csv --exposure days"), ["prediction", "1.0", "0.5"]);
    let e2 = 2f64.exp().to_string();
    assert_eq!(lines(&folder, "predict m d.csv --offset ln"), ["prediction", e2.as_str(), "1.0"]);
    refused(&folder, "predict m d.csv", &["m: was trained with offsets"]);
    refused(&folder, "predict m d.csv --exposure x1", &["`x1` is named for two roles"]);
    refused(&folder, "predict m d.csv --exposure none", &["0 columns are named `none`"]);
    model(Loss::Poisson, &[1.0], &[0.0]).save(&folder.path().join("m")).unwrap();
    refused(&folder, "predict m d.csv --exposure days", &["m: was trained without offsets"]);
}

#[test]
fn files_without_names_go_by_the_order_of_columns() {
    let several = model(Loss::Mse, &[1.0, 0.0, 0.0, 1.0], &[0.0, 0.5]);
    let folder = folder(&several, &[("d.svm", "9 2:3\n9 1:1\n"), ("wide.svm", "9 3:1\n")]);
    let expected = ["prediction_y1,prediction_y2", "0.0,3.5", "1.0,0.5"];
    assert_eq!(lines(&folder, "predict m d.svm"), expected);
    refused(&folder, "predict m wide.svm", &["line 1:3", "the index 3 is outside 1 … 2"]);
    for (name, width) in [("d.npy", 2), ("with_target.npy", 3)] {
        let header = format!("{{'descr': '|i1', 'fortran_order': False, 'shape': (2, {width}), }}\n");
        let rows = if width == 2 { [0, 3, 1, 0].to_vec() } else { [0, 3, 9, 1, 0, 9].to_vec() };
        let length = (header.len() as u16).to_le_bytes();
        write(
            folder.path(),
            name,
            &[b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &rows].concat(),
        );
        assert_eq!(lines(&folder, &format!("predict m {name}")), expected);
    }
}

#[test]
fn rows_are_predicted_in_parts() {
    let rows = 300_000;
    let text: String = (0..rows).map(|i| format!("{i}\n")).collect();
    let data = format!("x1\n{text}");
    let folder = folder(&model(Loss::SquaredError, &[2.0], &[0.0]), &[("d.csv", &data)]);
    let lines = lines(&folder, "predict m d.csv");
    assert_eq!(lines.len(), rows + 1);
    assert!((0..rows).zip(&lines[1..]).all(|(i, line)| *line == format!("{:?}", 2.0 * i as f64)));
}

#[test]
fn a_reader_may_have_seen_enough() {
    let data = format!("x1\n{}", "1\n".repeat(300_000));
    let folder = folder(&model(Loss::Mse, &[2.0], &[0.0]), &[("d.csv", &data)]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wgpu-optim"));
    command.current_dir(&folder).args(["predict", "m", "d.csv"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn what_is_no_model_is_refused() {
    let folder =
        folder(&model(Loss::Mse, &LINEAR, &[0.5]), &[("d.csv", "x1,x2\n1,2\n"), ("text", "no model")]);
    refused(&folder, "predict text d.csv", &["text: is not a safetensors file"]);
    refused(&folder, "predict none d.csv", &["none: "]);
    refused(&folder, "predict m none.csv", &["none.csv: "]);
    let mut bytes = std::fs::read(folder.path().join("m")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    write(folder.path(), "damaged", &bytes);
    refused(&folder, "predict damaged d.csv", &["damaged: is damaged: its checksum is crc32"]);
}
