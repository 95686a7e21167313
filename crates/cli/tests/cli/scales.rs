//! Numbers far from one: large counts, timestamps, weights in any unit; and advice for runs that diverge.

use crate::command;

use command::{devices, folder, json, number, numbers, refused, run};

const TICKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/ticks.csv");

#[track_caller]
fn assert_near(what: &str, actual: f64, expected: f64, relative: f64) {
    assert!((actual / expected - 1.0).abs() < relative, "{what}: {actual} for {expected}");
}

#[test]
fn counts_beyond_1e13_are_fitted() {
    let rows = "0,100000000000000\n1,200000000000000\n".repeat(4);
    let folder = folder(&[("bytes.csv", &format!("busy,bytes\n{rows}"))]);
    for device in devices() {
        let fit = format!(
            "fit bytes.csv --loss poisson --optimizer adam --lr 0.05 --epochs 4000 --device {device} --json \
             --out {device}.safetensors"
        );
        let run = &json(&folder, &fit)["runs"][0];
        assert_near(device, numbers(&run["weights"])[0], 2f64.ln(), 1e-4);
        assert_near(device, number(&run["intercept"]), 1e14f64.ln(), 1e-6);
        let (d2, deviance) = (number(&run["metrics"]["d2"]), number(&run["metrics"]["deviance"]));
        assert!((1.0 - 1e-4..=1.0).contains(&d2) && deviance >= 0.0, "{device}: {run}");
        assert_eq!(run["verification"]["pass"], true, "{device}");
        let predicted = command::run(&folder, &format!("predict {device}.safetensors bytes.csv")).stdout;
        let predicted: Vec<f64> = predicted.lines().skip(1).map(|line| line.parse().unwrap()).collect();
        assert_eq!(predicted.len(), 8);
        for (at, value) in predicted.iter().enumerate() {
            assert_near(device, *value, [1e14, 2e14][at % 2], 1e-4);
        }
    }
}

#[test]
fn counts_beyond_the_limit_are_refused() {
    let folder = folder(&[("d.csv", "a,y\n0,1\n1,4e16\n"), ("near.csv", "a,y\n0,3.18e16\n1,1e16\n")]);
    let parts = ["d.csv: a target is 4e16", "poisson counts up to e^38 = 3.18559"];
    for device in devices() {
        refused(&folder, &format!("fit d.csv --loss poisson --device {device}"), &parts);
        let fit = format!(
            "fit near.csv --loss poisson --optimizer adam --lr 0.05 --epochs 4000 --device {device} --json"
        );
        let run = &json(&folder, &fit)["runs"][0];
        assert_near(device, number(&run["intercept"]), 3.18e16f64.ln(), 1e-5);
        assert!(number(&run["metrics"]["d2"]) > 0.999, "{device}: {run}");
    }
}

#[test]
fn a_timestamp_has_the_scale_of_its_own_deviation() {
    for device in devices() {
        for place in ["", "--stream"] {
            let fit = format!(
                "fit {TICKS} --standardize --optimizer adam --lr 0.05 --epochs 400 --device {device} {place} --json"
            );
            let report = json(folder(&[]), &fit);
            let run = &report["runs"][0];
            assert_near(device, numbers(&report["data"]["scaling"]["scale"])[0], 293_588.8, 1e-5);
            assert!(number(&run["metrics"]["mse"]) < 1e-6, "{device}: {run}");
            let weights = numbers(&run["weights"]);
            assert_near(device, weights[0], 2.936, 1e-3);
            assert_near(device, weights[1], 0.962, 1e-3);
        }
    }
}

#[test]
fn a_factor_that_all_weights_share_changes_nothing() {
    let text = |factor: f64| {
        let row = |i: i32| {
            let (a, weight) = (f64::from(i % 7) - 3.0, [1.0, 0.5, 0.0, 3.0][i as usize % 4]);
            format!("{a},{:e},{}\n", weight * factor, 2.0 * a + f64::from(i % 3))
        };
        format!("a,w,y\n{}", (0..40).map(row).collect::<String>())
    };
    for device in devices() {
        for place in ["", "--stream"] {
            let of = |factor: f64| {
                let folder = folder(&[("d.csv", &text(factor))]);
                let fit = format!(
                    "fit d.csv --sample-weight w --device {device} --optimizer adam --lr 0.1 --epochs 40 \
                     --batch-size 16 --early-stopping --shuffle-seed 1 {place} --json"
                );
                json(&folder, &fit)["runs"][0].clone()
            };
            let ones = of(1.0);
            for power in [-140, -3, 1, 20, 120] {
                let scaled = of(2f64.powi(power));
                for field in ["updates", "weights", "intercept", "loss", "metrics", "validation"] {
                    assert_eq!(scaled[field], ones[field], "{device} {place} 2^{power}");
                }
            }
            for factor in [1e36, 1e-40, 0.1, 3.0] {
                let scaled = of(factor);
                let what = format!("{device} {place} {factor}");
                assert_near(&what, number(&scaled["loss"]), number(&ones["loss"]), 1e-4);
                assert_near(&what, numbers(&scaled["weights"])[0], numbers(&ones["weights"])[0], 1e-4);
                assert_near(&what, number(&scaled["intercept"]), number(&ones["intercept"]), 1e-4);
            }
        }
    }
}

#[test]
fn weights_in_any_unit_give_one_loss() {
    for device in devices() {
        for unit in ["1", "1e36", "1e-40"] {
            let rows = (1..=10).map(|i| format!("{i},{unit},{}\n", 2 * i + 1)).collect::<String>();
            let folder = folder(&[("d.csv", &format!("a,w,y\n{rows}"))]);
            let fit = format!(
                "fit d.csv --sample-weight w --device {device} --optimizer adam --epochs 1 --json"
            );
            let run = &json(&folder, &fit)["runs"][0];
            // Σ (2i + 1)² / 10 is 177, and one step of Adam moves both parameters by 0.001.
            assert_near(unit, number(&run["initial_loss"]), 177.0, 1e-6);
            assert_near(unit, numbers(&run["weights"])[0], 0.001, 1e-4);
            assert_near(unit, number(&run["intercept"]), 0.001, 1e-4);
        }
    }
}

#[test]
fn a_run_that_diverges_names_its_cause() {
    let file = |x: f64, y: f64| {
        let row = |i: i32| format!("{:e},{:e}\n", x * f64::from(i % 7 - 3), y * f64::from(i % 5 - 2));
        format!("speed,y\n{}", (0..40).map(row).collect::<String>())
    };
    let folder = folder(&[
        ("plain.csv", &file(1.0, 1.0)),
        ("features.csv", &file(1e4, 1.0)),
        ("targets.csv", &file(1.0, 1e25)),
    ]);
    let scale = "features on one scale (--standardize)";
    for device in devices() {
        for (fit, says, never) in [
            ("plain.csv --lr 5", "a lower learning rate than 5 may help", scale),
            ("features.csv --lr 0.1", "feature `speed` reaches 3e4", "targets"),
            // The advice does not repeat an option that is set.
            ("features.csv --lr 5 --standardize", "a lower learning rate than 5 may help", scale),
            ("targets.csv --lr 0.1", "targets are too large for f32: they reach 2e25", scale),
        ] {
            let outcome =
                run(&folder, &format!("fit {fit} --optimizer sgd --epochs 200 --device {device}"));
            assert_ne!(outcome.code, 0, "{device} {fit}");
            assert!(outcome.stderr.contains(says), "{device} {fit}: {}", outcome.stderr);
            assert!(!outcome.stderr.contains(never), "{device} {fit}: {}", outcome.stderr);
        }
    }
}
