//! Tests of `fit`: every flag, conflicting flags, and agreement with `predict`.

use crate::{command, common};

use command::{devices, folder, json, number, numbers, refused, run};
use common::{Random, assert_within};
use serde_json::Value;
use std::fmt::Write;
use tempfile::TempDir;

/// The directory of the package, in which Cargo runs tests.
const HERE: &str = ".";

/// A file of features `a` and `b` with different scales, and columns that depend on them.
fn data() -> TempDir {
    let mut random = Random(5);
    let mut text = "a,b,y,z,label,count,days,weight\n".to_string();
    for i in 0..80 {
        let [a, b, noise] = [(); 3].map(|()| random.unit());
        let y = 2.0 * a - b + 0.5 + 0.1 * noise;
        let label = if y > 0.25 { 3.5 } else { -1.0 };
        let days = 1 + i % 4;
        let count = (f64::from(a).exp() * f64::from(days)).round();
        let (a, b, z) = (10.0 * a, 0.1 * b + 3.0, y * y);
        writeln!(text, "{a},{b},{y},{z},{label},{count},{days},{}", 1 + i % 3).unwrap();
    }
    folder(&[("data.csv", &text)])
}

/// A column of that file.
fn column(folder: &TempDir, name: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(folder.path().join("data.csv")).unwrap();
    cells(&text, name)
}

fn cells(text: &str, name: &str) -> Vec<f64> {
    let at = text.lines().next().unwrap().split(',').position(|cell| cell == name);
    let at = at.unwrap_or_else(|| panic!("no column {name}: {text}"));
    text.lines().skip(1).map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect()
}

/// The scores of the rows of `a` and `b` for one output, by the printed weights.
fn scores(report: &Value, weights: &[f64], intercept: f64, x: [&[f64]; 2]) -> Vec<f64> {
    let scaling = &report["data"]["scaling"];
    let (mean, scale) = match scaling.is_null() {
        true => (vec![0.0; 2], vec![1.0; 2]),
        false => (numbers(&scaling["mean"]), numbers(&scaling["scale"])),
    };
    let scaled = |j: usize, i: usize| (x[j][i] - mean[j]) / scale[j];
    (0..x[0].len()).map(|i| weights[0] * scaled(0, i) + weights[1] * scaled(1, i) + intercept).collect()
}

/// The output of `predict` for a file with the model `m`, without the header.
#[track_caller]
fn predicted(folder: &TempDir, flags: &str) -> String {
    let outcome = run(folder, &format!("predict m data.csv {flags}"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{flags}");
    outcome.stdout
}

#[track_caller]
fn assert_near(what: &str, actual: &[f64], expected: &[f64]) {
    let bounds: Vec<f64> = expected.iter().map(|x| 1e-9 * (1.0 + x.abs())).collect();
    assert_within(what, actual, expected, &bounds);
}

/// The weights of the only run.
fn weights(report: &Value) -> Vec<f64> {
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
    numbers(&report["runs"][0]["weights"])
}

#[test]
fn a_logistic_model_predicts_the_labels_of_its_file() {
    for device in devices() {
        let folder = data();
        let fit = "fit data.csv --loss logistic --target label --standardize --optimizer adam --lr 0.1";
        let flags = "--epochs 60 --out m --json";
        // Only the features on which the target depends.
        let text = std::fs::read_to_string(folder.path().join("data.csv")).unwrap();
        let columns = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            format!("{},{},{}\n", cells[0], cells[1], cells[4])
        };
        let text: String = text.lines().map(columns).collect();
        std::fs::write(folder.path().join("data.csv"), text).unwrap();
        let report = json(&folder, &format!("{fit} {flags} --device {device}"));
        assert_eq!(numbers(&report["data"]["classes"]), [-1.0, 3.5]);
        let (a, b, labels) = (column(&folder, "a"), column(&folder, "b"), column(&folder, "label"));
        let intercept = number(&report["runs"][0]["intercept"]);
        let scores = scores(&report, &weights(&report), intercept, [&a, &b]);
        let predictions = predicted(&folder, "--probabilities");
        let expected: Vec<f64> = scores.iter().map(|&z| if z > 0.0 { 3.5 } else { -1.0 }).collect();
        assert_eq!(cells(&predictions, "prediction"), expected, "{device}");
        let chances: Vec<f64> = scores.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
        assert_near(device, &cells(&predictions, "probability_3.5"), &chances);
        let metrics = &report["runs"][0]["metrics"];
        let right = expected.iter().zip(&labels).filter(|(e, l)| e == l).count() as f64;
        assert_eq!(number(&metrics["accuracy"]), right / 80.0, "{device}");
        assert!(right > 72.0 && number(&metrics["auc"]) > 0.9, "{device}: {metrics}");
        assert!(number(&metrics["log_loss"]) < 0.5 && metrics["deviance"].is_number(), "{metrics}");
    }
}

#[test]
fn a_poisson_model_predicts_counts_of_an_exposure() {
    for device in devices() {
        let folder = data();
        let text = std::fs::read_to_string(folder.path().join("data.csv")).unwrap();
        let columns = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            format!("{},{},{},{}\n", cells[0], cells[1], cells[5], cells[6])
        };
        let text: String = text.lines().map(columns).collect();
        std::fs::write(folder.path().join("data.csv"), text).unwrap();
        let fit = "fit data.csv --loss poisson --target count --exposure days --standardize";
        let flags = "--optimizer adam --lr 0.05 --epochs 40 --out m --json";
        let report = json(&folder, &format!("{fit} {flags} --device {device}"));
        let (a, b, days) = (column(&folder, "a"), column(&folder, "b"), column(&folder, "days"));
        let intercept = number(&report["runs"][0]["intercept"]);
        let scores = scores(&report, &weights(&report), intercept, [&a, &b]);
        let expected: Vec<f64> = scores.iter().zip(&days).map(|(z, days)| z.exp() * days).collect();
        assert_near(device, &cells(&predicted(&folder, "--exposure days"), "prediction"), &expected);
        let metrics = &report["runs"][0]["metrics"];
        assert!(number(&metrics["d2"]) > 0.5, "{device}: {metrics}");
        refused(&folder, "predict m data.csv", &["was trained with offsets"]);
    }
}

#[test]
fn a_softmax_reads_digits() {
    for device in devices() {
        let folder = TempDir::new().unwrap();
        let digits =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/digits.csv"))
                .unwrap();
        std::fs::write(folder.path().join("data.csv"), &digits).unwrap();
        let fit = "fit data.csv --loss softmax --standardize --shuffle --optimizer adam --lr 0.01";
        let report = json(&folder, &format!("{fit} --epochs 4 --out m --json --device {device}"));
        let run = &report["runs"][0];
        let weights = run["weights"].as_array().unwrap();
        assert_eq!((weights.len(), numbers(&weights[9]).len()), (10, 64));
        assert_eq!(numbers(&run["intercept"]).len(), 10);
        assert_eq!(report["model"]["loss"]["classes"], 10);
        let header = digits.lines().next().unwrap();
        let labels = cells(&digits, header.rsplit(',').next().unwrap());
        let predictions = cells(&predicted(&folder, ""), "prediction");
        let right = labels.iter().zip(&predictions).filter(|(l, p)| l == p).count();
        assert_eq!(number(&run["metrics"]["accuracy"]), right as f64 / labels.len() as f64);
        assert!(right as f64 > 0.95 * labels.len() as f64, "{device}: {right}");
    }
}

#[test]
fn several_targets_have_weights_each() {
    for device in devices() {
        let folder = data();
        let flags =
            "--target y --target z --sample-weight weight --epochs 3 --optimizer adam --standardize";
        let report = json(&folder, &format!("fit data.csv {flags} --out m --json --device {device}"));
        let run = &report["runs"][0];
        assert_eq!(
            run["weights"].as_array().unwrap().iter().map(numbers_len).collect::<Vec<_>>(),
            [5, 5]
        );
        assert_eq!(numbers(&run["intercept"]).len(), 2);
        assert_eq!(
            (&report["model"]["outputs"], &report["model"]["weighted"]),
            (&2.into(), &true.into())
        );
        let header = predicted(&folder, "").lines().next().unwrap().to_string();
        assert_eq!(header, "prediction_y,prediction_z");
    }
}

fn numbers_len(value: &Value) -> usize {
    numbers(value).len()
}

#[test]
fn every_loss_fits_its_synthetic_data() {
    let squared = ["mae", "mse", "r2"];
    for (flags, name, metrics) in [
        ("mse --outputs 3", "mse", &squared[..]),
        ("squared_error --noise 0.5 --outliers 0.1", "squared_error", &squared),
        ("huber --epsilon 0.5 --condition 10", "huber", &squared),
        ("quantile --quantile 0.9 --sparsity 0.5", "quantile", &squared),
        ("logistic --balance 0.3", "logistic", &["accuracy", "auc", "deviance", "log_loss"]),
        ("log_loss --fit-intercept=false", "logistic", &["accuracy", "auc", "deviance", "log_loss"]),
        ("poisson --seed 3", "poisson", &["d2", "deviance", "mae", "mse"]),
        ("softmax --outputs 4", "softmax", &["accuracy", "deviance", "log_loss"]),
    ] {
        for device in devices() {
            let size =
                "--samples 2000 --features 5 --batch-size 100 --epochs 5 --optimizer adam --lr 0.05";
            let report = json(HERE, &format!("fit {size} --loss {flags} --json --device {device}"));
            let (model, run) = (&report["model"], &report["runs"][0]);
            assert_eq!(model["loss"]["name"], name, "{flags}");
            assert_eq!(run["intercept"].is_null(), flags.contains("=false"), "{flags}");
            let measured: Vec<&String> = run["metrics"].as_object().unwrap().keys().collect();
            assert_eq!(measured, metrics, "{flags}");
            assert!(number(&run["loss"]) < number(&run["initial_loss"]), "{flags}: {run}");
            assert_eq!(run["verification"]["pass"], true, "{flags}: {run}");
            // Synthetic data have intercepts.
            assert_eq!(run["distance"].is_null(), run["intercept"].is_null(), "{flags}");
        }
    }
}

/// More numbers than a device trains on in one dispatch, too.
const SYNTHETIC: &str =
    "fit --samples 12000 --features 6 --batch-size 256 --epochs 3 --optimizer adam --json";

#[test]
fn rows_that_are_never_stored_lead_to_the_same_weights() {
    for device in devices() {
        for flags in ["", "--loss logistic --shuffle", "--loss softmax --outputs 3"] {
            let fit = format!("{SYNTHETIC} --device {device} {flags}");
            for fit in [fit.replace("--samples 12000", "--samples 500"), fit] {
                assert_eq!(
                    json(HERE, &format!("{fit} --on-the-fly"))["runs"][0]["weights"],
                    json(HERE, &fit)["runs"][0]["weights"],
                    "{fit}"
                );
            }
        }
    }
}

/// More numbers than a device trains on in one dispatch.
fn large_data() -> TempDir {
    let mut random = Random(7);
    let names: Vec<String> = (0..70).map(|i| format!("x{i}")).collect();
    let mut text = format!("{},y\n", names.join(","));
    for _ in 0..4000 {
        names.iter().for_each(|_| write!(text, "{},", random.unit()).unwrap());
        writeln!(text, "{}", random.unit()).unwrap();
    }
    folder(&[("data.csv", &text)])
}

#[test]
fn rows_that_are_streamed_lead_to_the_same_weights() {
    let folder = large_data();
    for device in devices() {
        let fit = "fit data.csv --standardize --optimizer adam --batch-size 80 --epochs 2 --json";
        let fit = format!("{fit} --device {device}");
        let expected = json(&folder, &fit);
        assert!(expected["runs"][0]["streaming"].is_null());
        let needed = number(&expected["runs"][0]["memory"]["needed"]);
        let less = format!("--device-memory {}", needed - 100_000.0);
        for flags in ["--stream", &format!("--stream {less}"), &less] {
            let report = json(&folder, &format!("{fit} {flags}"));
            let run = &report["runs"][0];
            let placement = if device == "gpu" {
                "streamed"
            } else if flags.starts_with("--stream") {
                "on demand"
            } else {
                "resident"
            };
            assert_eq!(run["memory"]["placement"], placement, "{device} {flags}");
            assert_eq!(run["weights"], expected["runs"][0]["weights"], "{device} {flags}");
            assert_eq!(run["streaming"].is_object(), device == "gpu", "{device} {flags}");
            if device == "gpu" {
                let streaming = &run["streaming"];
                assert!(number(&streaming["gb"]) > 0.0, "{streaming}");
                assert!((0.0..=1.0).contains(&number(&streaming["overlap"])), "{streaming}");
            }
        }
    }
}

#[test]
fn a_device_needs_memory_for_concurrent_buffers_only() {
    if !devices().contains(&"gpu") {
        return;
    }
    let folder = large_data();
    let fit = "fit data.csv --device gpu --epochs 1 --json";
    let memory = &json(&folder, fit)["runs"][0]["memory"];
    assert_eq!(memory["placement"], "resident");
    // Rows of 71 floats, of which 70 are padded to 72.
    assert!(number(&memory["rows"]) >= 4000.0 * 73.0 * 4.0, "{memory}");
    let needed = number(&memory["needed"]);
    assert!(number(&memory["available"]) > needed, "{memory}");

    let enough = json(&folder, &format!("{fit} --device-memory {needed}"));
    assert_eq!(enough["runs"][0]["memory"]["placement"], "resident");
    let fit = format!("{fit} --device-memory");
    let less = json(&folder, &format!("{fit} {}", needed - 4.0));
    let memory = &less["runs"][0]["memory"];
    assert_eq!(memory["placement"], "streamed");
    assert!(number(&memory["needed"]) < needed && number(&memory["chunk_bytes"]) > 0.0, "{memory}");
    assert_eq!(less["runs"][0]["weights"], enough["runs"][0]["weights"]);

    let parts = ["4000 rows × 70 features need", "500 bytes are available", "32 rows are a batch"];
    refused(&folder, &format!("{fit} 500"), &parts);
    let parts = ["4000 rows are shuffled together", "on the device"];
    refused(&folder, &format!("{fit} 100000 --shuffle"), &parts);
}

#[test]
fn problems_larger_than_the_memory_are_refused_with_numbers() {
    let fit = "fit --device cpu --samples 10000000000 --steps 1";
    refused(HERE, fit, &["10000000000 rows × 64 features need", "GB are available", "--on-the-fly"]);
}

#[test]
fn a_report_tells_of_submissions() {
    if !devices().contains(&"gpu") {
        return;
    }
    let report =
        json(HERE, "fit --device gpu --on-the-fly --samples 300000 --steps 20 --optimizer sgd --json");
    let submissions = &report["runs"][0]["submissions"];
    let [count, longest, budget] =
        ["count", "longest_seconds", "budget_seconds"].map(|key| number(&submissions[key]));
    assert!(count >= 2.0 && longest > 0.0 && longest < budget && budget == 0.5, "{submissions}");
}

#[test]
fn a_malformed_row_is_skipped_and_reported() {
    let folder = folder(&[("data.csv", "a,b\n1,2\n2,x\n3,6\n4,8\n5,NaN\n")]);
    let fit = "fit data.csv --device cpu --optimizer sgd --epochs 1";
    refused(&folder, fit, &["data.csv: line 3, row 2, column `b`: `x`"]);
    let outcome = run(&folder, &format!("{fit} --on-bad-row skip --json"));
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    for part in ["2 rows were skipped:", "line 3, row 2, column `b`: `x`", "line 6, row 5, column `b`"] {
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&report["data"]["samples"], &report["data"]["skipped"]), (&3.into(), &2.into()));
}

#[test]
fn a_penalty_makes_weights_small_or_zero() {
    let fit = "fit --device cpu --samples 1000 --features 8 --sparsity 0.5 --seed 4 --batch-size 1000";
    let fit = format!("{fit} --steps 400 --optimizer sgd --lr 0.3 --json");
    let of = |flags: &str| {
        let report = json(HERE, &format!("{fit} {flags}"));
        let (loss, objective) = (&report["runs"][0]["loss"], &report["runs"][0]["objective"]);
        (weights(&report), number(loss), number(objective))
    };
    let (free, loss, objective) = of("");
    assert_eq!(loss, objective);
    for (flags, l1, l2) in [
        ("--penalty l2 --alpha 0.5", 0.0, 0.5),
        ("--penalty l1 --alpha 0.1", 0.1, 0.0),
        ("--penalty elasticnet --alpha 0.2 --l1-ratio 0.75", 0.15, 0.05),
        ("--penalty elasticnet", 0.15e-4, 0.85e-4),
    ] {
        let (weights, loss, objective) = of(flags);
        let cost: f64 = weights.iter().map(|w| l1 * w.abs() + 0.5 * l2 * w * w).sum();
        assert!((objective - loss - cost).abs() < 1e-9, "{flags}: {objective} for {}", loss + cost);
        let size = |weights: &[f64]| weights.iter().map(|w| w * w).sum::<f64>();
        assert!(size(&weights) < size(&free), "{flags}: {weights:?}");
        assert_eq!(weights.contains(&0.0), l1 > 0.01, "{flags}: {weights:?}");
    }
    // RMSprop has its own alpha.
    json(
        HERE,
        &format!("{SYNTHETIC} --device cpu --optimizer rmsprop --penalty l1 --rmsprop-alpha 0.9"),
    );
}

#[test]
fn schedules_average_and_order_change_the_parameters() {
    for device in devices() {
        let fit = format!("{SYNTHETIC} --lr 0.01 --device {device}");
        let mut seen: Vec<Value> = Vec::new();
        for flags in [
            "",
            "--learning-rate invscaling",
            "--learning-rate invscaling --power-t 0.5",
            "--learning-rate linear",
            "--learning-rate linear --final-factor 0.5",
            "--learning-rate cosine",
            "--learning-rate cosine --warmup 20",
            "--learning-rate step",
            "--learning-rate step --gamma 0.5 --step-size 30",
            "--learning-rate exponential",
            "--learning-rate exponential --gamma 0.5",
            "--warmup 10",
            "--average 0.9",
            "--shuffle",
            "--shuffle --shuffle-seed 1",
        ] {
            let weights = json(HERE, &format!("{fit} {flags}"))["runs"][0]["weights"].clone();
            assert!(!seen.contains(&weights), "{device}: {flags} changes nothing");
            seen.push(weights);
        }
        // A constant learning rate is the default, and the seed belongs to an order that was not requested.
        for flags in ["--learning-rate constant", "--shuffle-seed 1"] {
            assert_eq!(json(HERE, &format!("{fit} {flags}"))["runs"][0]["weights"], seen[0], "{flags}");
        }
    }
}

#[test]
fn training_stops_early_where_asked() {
    for device in devices() {
        let fit =
            "fit --samples 1000 --features 3 --batch-size 100 --epochs 300 --optimizer adam --lr 0.1";
        let of = |flags: &str| json(HERE, &format!("{fit} --json --device {device} {flags}"));
        let all = of("");
        let (run, rows) = (&all["runs"][0], 1000);
        assert_eq!((&run["updates"], &run["stopped_early"]), (&3000.into(), &false.into()));
        assert!(run["validation"].is_null());
        for flags in ["--tol 1e-3 --n-iter-no-change 2", "--early-stopping", "--learning-rate adaptive"]
        {
            let report = of(flags);
            let run = &report["runs"][0];
            assert_eq!(run["stopped_early"], true, "{device} {flags}: {run}");
            assert!(number(&run["updates"]) < 1500.0, "{device} {flags}: {run}");
            assert_eq!(run["validation"].is_object(), flags.contains("early"), "{flags}");
            assert_eq!(report["data"]["samples"], rows);
        }
        // An epoch has nine batches of the remaining rows, or five.
        for (flags, epoch) in [("", 9), ("--validation-fraction 0.5", 5)] {
            let report = of(&format!("--early-stopping {flags}"));
            assert_eq!(report["runs"][0]["updates"].as_u64().unwrap() % epoch, 0, "{flags}: {report}");
            assert!(number(&report["runs"][0]["validation"]["r2"]) > 0.9, "{flags}: {report}");
        }
    }
}

/// An .npy file of f64.
fn npy(shape: &str, values: &[f64]) -> Vec<u8> {
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
    let values = values.iter().flat_map(|value| value.to_le_bytes());
    let length = (header.len() as u16).to_le_bytes();
    let start = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
    start.into_iter().chain(values).collect()
}

#[test]
fn npy_and_svmlight_are_the_numbers_of_a_csv() {
    let folder = folder(&[
        ("d.csv", "a,b,y\n1,0,3\n2,5,4\n0,1,-1\n3,3,8\n"),
        ("d.svm", "3 1:1\n4 1:2 2:5\n-1 2:1\n8 1:3 2:3\n"),
    ]);
    let x = [1.0, 0.0, 2.0, 5.0, 0.0, 1.0, 3.0, 3.0];
    let with_y = [1.0, 0.0, 3.0, 2.0, 5.0, 4.0, 0.0, 1.0, -1.0, 3.0, 3.0, 8.0];
    for (name, bytes) in [
        ("d.npy", npy("(4, 3)", &with_y)),
        ("x.npy", npy("(4, 2)", &x)),
        ("y.npy", npy("(4,)", &[3.0, 4.0, -1.0, 8.0])),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let fit = |data: &str| {
        let flags = "--optimizer sgd --lr 0.01 --batch-size 2 --device cpu --json";
        json(&folder, &format!("fit {data} {flags}"))["runs"][0].clone()
    };
    let expected = fit("d.csv");
    for data in ["d.svm", "d.npy", "x.npy --y y.npy"] {
        let run = fit(data);
        assert_eq!((&run["weights"], &run["intercept"]), (&expected["weights"], &expected["intercept"]));
    }
    refused(&folder, "fit d.csv --y y.npy --device cpu", &["d.csv", ".npy"]);
}

#[test]
fn conflicting_arguments_are_named() {
    let folder = data();
    for (flags, parts) in [
        ("--epsilon 1", &["--epsilon requires --loss huber"][..]),
        ("--loss huber --quantile 0.5", &["--quantile requires --loss quantile"]),
        ("--loss quantile --quantile 1", &["quantile is 1"]),
        ("--loss huber --epsilon 0", &["epsilon is 0"]),
        ("--l1-ratio 0.5", &["--l1-ratio requires a --penalty"]),
        ("--rmsprop-alpha 0.5", &["--rmsprop-alpha requires a --penalty"]),
        ("--penalty l1 --l1-ratio 0.5", &["--l1-ratio requires --penalty elasticnet"]),
        ("--penalty l1 --alpha -1", &["alpha is -1"]),
        ("--penalty elasticnet --l1-ratio 2", &["l1_ratio is 2"]),
        ("--power-t 1", &["--power-t requires --lr-schedule invscaling"]),
        (
            "--learning-rate step --final-factor 0.1",
            &["--final-factor requires --lr-schedule linear or cosine"],
        ),
        ("--learning-rate cosine --gamma 0.1", &["--gamma requires --lr-schedule step or exponential"]),
        ("--learning-rate exponential --step-size 5", &["--step-size requires --lr-schedule step"]),
        ("--learning-rate invscaling --power-t -1", &["--power-t is -1"]),
        ("--validation-fraction 0.1", &["--early-stopping"]),
        ("--early-stopping --validation-fraction 1", &["--validation-fraction is 1"]),
        ("--n-iter-no-change 3", &["--n-iter-no-change requires --tol or --early-stopping"]),
        ("--tol -1", &["--tol is -1"]),
        ("--average 1", &["decay is 1"]),
        ("--epochs 1 --steps 1", &["--epochs", "--steps"]),
        ("--on-the-fly", &["--on-the-fly requires synthetic data", "`data.csv`"]),
        ("--samples 5", &["--samples requires synthetic data"]),
        ("--offset a --exposure b", &["--offset", "--exposure"]),
        ("--offset y", &["`y`", "two roles"]),
        ("--exposure b --target y --sample-weight b", &["`b`", "two roles"]),
        ("--target y --loss softmax --target z", &["2 targets"]),
        ("--target y --loss poisson", &["a target is negative"]),
        ("--target count --loss logistic", &["different values", "logistic needs two classes"]),
        ("--exposure label", &["row", "column `label`", "is not above 0"]),
        ("--verify-every 2 --no-verify", &["--verify-every", "--no-verify"]),
    ] {
        let fit = format!("fit data.csv --device cpu --target y {flags}");
        let fit = if flags.contains("--target") { fit.replacen("--target y ", "", 1) } else { fit };
        refused(&folder, &fit, parts);
    }
    for (flags, parts) in [
        ("--standardize", &["--standardize requires a file", "`synthetic`"][..]),
        ("--stream", &["--stream requires a file"]),
        ("--loss poisson --outputs 2", &["outputs is 2"]),
        ("--loss logistic --noise 1", &["noise is 1"]),
        ("--sparsity 1", &["sparsity is 1"]),
        ("--condition 0.5", &["condition is 0.5"]),
        ("--balance 0.5", &["balance is 0.5"]),
    ] {
        refused(HERE, &format!("fit --samples 10 --device cpu {flags}"), parts);
    }
    refused(HERE, "fit --on-the-fly --device-memory 100", &["--on-the-fly", "--device-memory"]);
    refused(HERE, "fit blog --device cpu --seed 1", &["--seed requires", "`blog`"]);
}

#[test]
fn the_verdict_says_which_updates_and_terms_were_verified() {
    let folder = folder(&[("d.csv", "a,y\n1,2\n2,4\n3,6\n4,8\n")]);
    for device in devices() {
        let fit =
            format!("fit d.csv --device {device} --optimizer adamw --weight-decay 0.1 --batch-size 1");
        let report = json(&folder, &format!("{fit} --epochs 20 --json"));
        let verification = &report["runs"][0]["verification"];
        let updates = verification["updates"].as_array().unwrap();
        assert_eq!((updates.first(), updates.last()), (Some(&1.into()), Some(&80.into())), "{device}");
        let terms = ["lr", "beta1", "beta2", "bias_correction", "weight_decay"];
        assert!(
            verification["terms"].as_array().unwrap().iter().all(|term| terms.iter().any(|t| term == t))
        );
        assert_eq!(verification["terms"].as_array().unwrap().len(), terms.len(), "{verification}");
        assert!(verification.get("terms_not_seen").is_none(), "{verification}");

        let alone = run(&folder, &format!("{fit} --steps 1"));
        assert_eq!(alone.code, 0, "{}", alone.stderr);
        assert!(alone.stdout.contains("ok in part: 1 check, "), "{}", alone.stdout);
        assert!(alone.stdout.contains("verified update 1, with lr; NOT beta1, "), "{}", alone.stdout);
        let never = run(&folder, &format!("{fit} --steps 1 --no-verify"));
        assert!(never.stdout.contains("nothing was verified (--no-verify)"), "{}", never.stdout);
    }
}
