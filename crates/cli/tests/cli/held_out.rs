//! Held-out rows: their selection, and early stopping if their score is undefined.

use crate::command;

use command::{devices, folder, json, number, numbers, run};
use serde_json::Value;

const CLAIMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/claims.csv");
const WEIGHTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/weighted.csv");
const SORTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/sorted.csv");

/// Runs a fit that must succeed: its first run, and standard error.
#[track_caller]
fn fitted(arguments: &str) -> (Value, String) {
    let outcome = run(folder(&[]), arguments);
    assert_eq!(outcome.code, 0, "{arguments}: {}", outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    (report["runs"][0].clone(), outcome.stderr)
}

#[test]
fn training_goes_on_by_the_loss_where_held_out_counts_are_all_zero() {
    for device in devices() {
        for seed in [0, 2, 3] {
            let (run, said) = fitted(&format!(
                "fit {CLAIMS} --loss poisson --optimizer adam --lr 0.05 --epochs 500 --early-stopping \
                 --shuffle-seed {seed} --device {device} --json"
            ));
            assert_eq!(run["early_stopping"]["criterion"], "held_out_loss", "{device} {seed}: {run}");
            assert_eq!(run["early_stopping"]["undefined"], "constant_target", "{device} {seed}: {run}");
            assert_eq!(said.matches("d2 is undefined").count(), 1, "{said}");
            // The optimum over all rows is 0.197; five epochs reach 0.52.
            assert!(number(&run["updates"]) > 60.0, "{device} {seed}: {run}");
            assert!(number(&run["loss"]) < 0.3, "{device} {seed}: {run}");
            let validation = &run["validation"];
            assert!(validation["d2"].is_null() && validation["deviance"].is_number(), "{validation}");
            assert_eq!(validation["undefined"]["d2"], "the target is the same in all rows");
        }
    }
}

#[test]
fn two_optimizers_say_once_what_they_go_by() {
    let fit =
        format!("fit {CLAIMS} --loss poisson --early-stopping --shuffle-seed 0 --device cpu --json");
    let (_, said) = fitted(&fit);
    assert_eq!(said.matches("d2 is undefined").count(), 1, "{said}");
}

#[test]
fn training_goes_on_where_rows_held_out_weigh_nothing() {
    for device in devices() {
        // With the first seed all held-out rows have weight 0, with the second one row has a weight.
        for (seed, criterion, undefined) in
            [(1, "training_loss", "no_weight"), (0, "held_out_loss", "constant_target")]
        {
            let (run, said) = fitted(&format!(
                "fit {WEIGHTED} --sample-weight w --optimizer adam --lr 0.1 --epochs 500 --early-stopping \
                 --shuffle-seed {seed} --device {device} --json"
            ));
            assert_eq!(run["early_stopping"]["criterion"], criterion, "{device} {seed}: {run}");
            assert_eq!(run["early_stopping"]["undefined"], undefined, "{device} {seed}: {run}");
            assert!(said.contains("r2 is undefined"), "{said}");
            assert!(number(&run["loss"]) < 0.01, "{device} {seed}: {run}");
            let weights = numbers(&run["weights"]);
            assert!((weights[0] - 3.0).abs() < 0.2 && (weights[1] + 1.0).abs() < 0.2, "{weights:?}");
            let validation = &run["validation"];
            assert_eq!(validation["mse"].is_null(), seed == 1, "{validation}");
            assert_eq!(validation["undefined"]["mse"].is_string(), seed == 1, "{validation}");
        }
    }
}

#[test]
fn one_row_or_one_value_held_out_has_a_loss() {
    let text: String = (0..20).map(|i| format!("{i},{}\n", if i < 19 { 5 } else { 6 })).collect();
    let folder = folder(&[("d.csv", &format!("a,y\n{text}"))]);
    for device in devices() {
        for fraction in ["0.05", "0.3"] {
            let fit = format!(
                "fit d.csv --optimizer adam --lr 0.1 --standardize --epochs 400 --early-stopping \
                 --validation-fraction {fraction} --shuffle-seed 2 --device {device} --json"
            );
            let run = &json(&folder, &fit)["runs"][0];
            assert_eq!(run["early_stopping"]["criterion"], "held_out_loss", "{device}: {run}");
            assert!(number(&run["loss"]) < 0.1 * number(&run["initial_loss"]), "{device}: {run}");
        }
    }
}

#[test]
fn a_class_alone_has_an_accuracy() {
    // 20 of 200 rows are of class 1; a single held-out row has one class.
    for device in devices() {
        let (run, said) = fitted(&format!(
            "fit {SORTED} --loss logistic --optimizer adam --lr 0.1 --epochs 50 --early-stopping \
             --validation-fraction 0.005 --device {device} --json"
        ));
        assert_eq!(run["early_stopping"]["criterion"], "score", "{run}");
        assert!(!said.contains("undefined"), "{said}");
    }
}

/// In memory, streamed, and started in one way and resumed in the other.
#[test]
fn held_out_rows_are_those_of_the_seed_wherever_rows_are() {
    for device in devices() {
        let mut seen = Vec::new();
        for seed in [1, 2, 3] {
            let folder = folder(&[]);
            let of = |flags: &str| {
                let fit = format!(
                    "fit {SORTED} --loss logistic --optimizer adam --lr 0.1 --early-stopping --json \
                     --shuffle-seed {seed} --device {device} {flags}"
                );
                let run = json(&folder, &fit)["runs"][0].clone();
                ["updates", "loss", "weights", "intercept", "metrics", "validation"]
                    .map(|field| run[field].clone())
            };
            let held = of("--epochs 200");
            assert_eq!(of("--epochs 200 --stream"), held, "{device} {seed}");
            assert_eq!(
                of("--epochs 200 --stream --shuffle"),
                of("--epochs 200 --shuffle"),
                "{device} {seed}"
            );
            of("--steps 18 --checkpoint c");
            assert_eq!(of("--epochs 200 --stream --checkpoint c --resume"), held, "{device} {seed}");
            if seed == 1 {
                assert_eq!(held[0], 48);
                assert_eq!(held[5]["accuracy"], 1.0, "{held:?}");
            }
            assert!(!seen.contains(&held), "{device} {seed}");
            seen.push(held);
        }
    }
}
