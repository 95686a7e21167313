//! `fit` on degenerate data: a sensible result, or a clear message.

use crate::command;

use command::{devices, folder, json, number, numbers, refused, run};
use std::fmt::Write;
use tempfile::TempDir;

/// A file whose rows are functions of their index, from 0.
fn data(rows: usize, header: &str, row: impl Fn(usize) -> String) -> TempDir {
    let mut text = format!("{header}\n");
    (0..rows).for_each(|i| writeln!(text, "{}", row(i)).unwrap());
    folder(&[("data.csv", &text)])
}

fn fit(device: &str, flags: &str) -> String {
    format!("fit data.csv --device {device} --optimizer adam --lr 0.1 --epochs 300 --json {flags}")
}

#[test]
fn a_column_of_zeros_has_no_weight() {
    let folder = data(40, "a,zero,y", |i| format!("{i},0,{}", 2 * i + 1));
    for device in devices() {
        for flags in
            ["--standardize", "--standardize --batch-size 7", "--standardize --loss huber --penalty l2"]
        {
            let report = json(&folder, &fit(device, flags));
            let run = &report["runs"][0];
            assert_eq!(numbers(&run["weights"])[1], 0.0, "{device} {flags}");
            assert!(
                number(&run["loss"]) < 0.2 * number(&run["initial_loss"]),
                "{device} {flags}: {run}"
            );
            assert_eq!(run["verification"]["pass"], true, "{device} {flags}");
        }
    }
}

#[test]
fn a_target_that_is_constant_is_the_intercept() {
    let folder = data(40, "a,b,y", |i| format!("{},{},3", i % 5, i % 7));
    for device in devices() {
        let report = json(&folder, &fit(device, "--standardize"));
        let run = &report["runs"][0];
        assert!((number(&run["intercept"]) - 3.0).abs() < 1e-2, "{device}: {run}");
        assert!(numbers(&run["weights"]).iter().all(|weight| weight.abs() < 1e-2), "{device}: {run}");
        // A constant target has no variance to explain.
        assert!(number(&run["metrics"]["r2"]).is_finite(), "{device}: {run}");
        for loss in ["logistic", "softmax"] {
            let one = ["data.csv: the target has 1 different values", loss];
            refused(&folder, &fit(device, &format!("--loss {loss}")), &one);
        }
    }
}

#[test]
fn one_feature_is_enough() {
    let folder = data(12, "a,y", |i| format!("{i},{}", (i * i) % 2));
    for device in devices() {
        for loss in ["mse", "huber", "quantile", "logistic", "poisson", "softmax"] {
            let report = json(&folder, &fit(device, &format!("--standardize --loss {loss}")));
            let run = &report["runs"][0];
            assert!(number(&run["loss"]) <= number(&run["initial_loss"]), "{device} {loss}: {run}");
            assert_eq!(run["verification"]["pass"], true, "{device} {loss}");
        }
    }
}

#[test]
fn rows_may_be_fewer_than_a_batch_unless_that_was_asked_for() {
    for rows in 1..=4 {
        let folder = data(rows, "a,b,y", |i| format!("{i},{},{}", i % 2, i % 3));
        for device in devices() {
            let report = json(&folder, &fit(device, ""));
            assert_eq!(report["data"]["samples"], rows);
            let run = &report["runs"][0];
            assert!(number(&run["loss"]) <= number(&run["initial_loss"]), "{device} {rows}: {run}");
            json(&folder, &fit(device, &format!("--shuffle --stream --batch-size {rows}")));
            let more = format!("--batch-size {} is more than the {rows} rows of data.csv", rows + 1);
            refused(&folder, &fit(device, &format!("--batch-size {}", rows + 1)), &[&more]);
        }
    }
    refused(
        data(1, "a,y", |_| "1,2".into()),
        &fit("cpu", "--early-stopping"),
        &["a single row cannot be split"],
    );
}

#[test]
fn numbers_that_are_too_large_to_be_squared_are_told_of() {
    for device in devices() {
        for row in [0, 20, 39] {
            let large = |i: usize| if i == row { 1e38 } else { i as f64 };
            // A NaN loss cannot be minimized.
            let folder = data(40, "a,b,y", |i| format!("{i},{},{}", i % 7, large(i)));
            let parts = ["the loss is inf before the first update", "targets are too large for f32"];
            refused(&folder, &fit(device, ""), &parts);
            let folder = data(40, "a,b,y", |i| format!("{},{},{}", large(i), i % 7, i % 2));
            let outcome = run(&folder, &fit(device, ""));
            assert_eq!(
                (outcome.code, outcome.stdout.as_str()),
                (1, ""),
                "{device} {row}: {}",
                outcome.stderr
            );
            assert!(
                outcome.stderr.contains("adam: diverged at update "),
                "{device} {row}: {}",
                outcome.stderr
            );
            // Standardized, the feature is harmless.
            let report = json(&folder, &fit(device, "--standardize --loss logistic"));
            assert_eq!(report["runs"][0]["verification"]["pass"], true, "{device} {row}");
        }
    }
}

#[test]
fn rows_without_a_number_are_named_or_counted_on_every_device() {
    for device in devices() {
        for (row, column) in [(0, "y"), (17, "a"), (39, "b")] {
            for bad in ["nan", "-inf", "1e39", ""] {
                let cell = |i: usize, name: &str, value: usize| match i == row && name == column {
                    true => bad.to_string(),
                    false => value.to_string(),
                };
                let line =
                    |i| format!("{},{},{}", cell(i, "a", i), cell(i, "b", i % 7), cell(i, "y", i % 2));
                let folder = data(40, "a,b,y", line);
                let place = format!("data.csv: line {}, row {}, column `{column}`", row + 2, row + 1);
                refused(&folder, &fit(device, ""), &[&place]);
                let report =
                    json(&folder, &fit(device, "--on-bad-row skip --loss logistic --standardize"));
                let counts = (&report["data"]["samples"], &report["data"]["skipped"]);
                assert_eq!(counts, (&39.into(), &1.into()), "{device} {place}");
            }
        }
    }
}
