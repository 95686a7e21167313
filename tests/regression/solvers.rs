//! Training against exact solvers: every case of `golden/regressions.json`, on every kind of device.

use crate::{regressions, training};

use regressions::{Regression, regressions};
use std::fmt::Write;
use tempfile::TempDir;
use training::{annealed, everywhere, gpu, in_epochs, in_f32, on_gpu, plan};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::data::{FileOptions, Offset, Targets};
use wgpu_optim::regression::metrics;
use wgpu_optim::regression::train::{Batches, Recipe, Report, Shuffle, TrainPlan, score};
use wgpu_optim::{Adam, Loss, Model, Penalty, Rule, Sgd};

/// A case as a file problem with scaled features, and its model.
fn problem(case: &Regression) -> (Problem, Model) {
    let model = case.model();
    let (x, y) = case.rows();
    let columns = |prefix: char, count: usize| (0..count).map(move |i| format!("{prefix}{i}"));
    let targets: Vec<String> = columns('y', model.targets()).collect();
    let weight = model.weighted.then(|| "weight".to_string());
    let offset = model.offset.then(|| "offset".to_string());
    let names = columns('x', model.features).chain(targets.clone());
    let names: Vec<String> = names.chain(weight.clone()).chain(offset.clone()).collect();
    let mut text = names.join(",");
    for (i, (x, y)) in x.chunks(model.features).zip(y.chunks(model.targets())).enumerate() {
        let aux = [&case.weights, &case.offset].into_iter().flatten().map(|values| &values[i]);
        for (j, value) in x.iter().chain(y).chain(aux).enumerate() {
            write!(text, "{}{value}", if j == 0 { '\n' } else { ',' }).unwrap();
        }
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, text).unwrap();
    let (targets, offset) = (Targets::Named(targets), offset.map(Offset::Column));
    let options = FileOptions { targets, weight, offset, ..FileOptions::default() };
    let mut problem = Problem::file(&path, &options).unwrap();
    assert_eq!(problem.model(case.loss, true).unwrap(), model);
    (problem, model)
}

fn penalty(case: &Regression) -> Penalty {
    let regressions::Penalty { l1, l2 } = case.penalty;
    let alpha = l1 + l2;
    Penalty { alpha, l1_ratio: if alpha > 0.0 { l1 / alpha } else { 0.0 } }
}

/// A plan that converges to a case's minimum.
#[derive(Clone, Copy)]
struct Way {
    rule: Rule,
    size: u64,
    updates: u64,
    /// Whether the learning rate decays to zero.
    annealed: bool,
}

/// For a loss whose derivative does not vanish at the minimum.
fn kinked() -> Rule {
    Adam { lr: 1.0, betas: (0.99, 0.999), ..Adam::default() }.into()
}

impl Way {
    /// Full batches; for a smooth loss the learning rate need not decay.
    fn full(case: &Regression, rows: u64) -> Self {
        let (lr, momentum, updates) = match case.loss {
            Loss::Quantile { .. } => {
                return Way { rule: kinked(), size: rows, updates: 3000, annealed: true };
            }
            Loss::Logistic => (0.3, 0.98, 1500),
            Loss::SquaredHinge => (0.03, 0.99, 3000),
            Loss::Softmax { .. } => (0.5, 0.97, 600),
            Loss::Poisson => (0.02, 0.95, 1000),
            _ => (0.2, 0.95, 500),
        };
        let rule = Sgd { lr, momentum, nesterov: true, ..Sgd::default() }.into();
        Way { rule, size: rows, updates, annealed: false }
    }

    /// Batches of 64 rows, reshuffled every epoch.
    fn shuffled(case: &Regression) -> Self {
        let (lr, updates) = match case.loss {
            Loss::Quantile { .. } => {
                return Way { rule: kinked(), size: 64, updates: 6000, annealed: true };
            }
            Loss::Logistic => (0.3, 6000),
            Loss::SquaredHinge => (0.04, 8000),
            Loss::Softmax { .. } => (0.2, 12_000),
            Loss::Poisson => (0.01, 3000),
            _ => (0.05, 4000),
        };
        let rule = Sgd { lr, momentum: 0.9, nesterov: true, ..Sgd::default() }.into();
        Way { rule, size: 64, updates, annealed: true }
    }

    fn plan(&self, case: &Regression, problem: &Problem, model: Model) -> TrainPlan {
        let recipe = Recipe { penalty: penalty(case), ..Recipe::new(model, self.rule) };
        let mut plan = plan(problem, recipe, self.size, self.updates);
        if self.annealed {
            plan.learning_rate = annealed(&self.rule, self.updates);
        }
        if self.size < problem.rows {
            let shuffle = Some(Shuffle { seed: 1, window: problem.rows });
            let Way { size, updates, .. } = *self;
            plan.batches = Batches::Epochs { rows: problem.rows, size, updates, shuffle };
        }
        plan
    }
}

/// The metric with scikit-learn's name, from the evaluation's sums.
fn measure(metric: &str, case: &Regression, report: &Report) -> Option<f64> {
    let evaluation = &report.evaluation;
    let null_deviance = evaluation.null_poisson_deviance();
    Some(match metric {
        "r2" => evaluation.r2(),
        "mean_squared_error" => evaluation.mean_squared_error(),
        "mean_absolute_error" => evaluation.mean_absolute_error(),
        "mean_poisson_deviance" => evaluation.mean_deviance(),
        "d2_poisson" => score(&case.loss, evaluation, null_deviance),
        "log_loss" => evaluation.mean_loss(),
        "accuracy" => evaluation.accuracy(),
        // This metric needs the scores of all rows.
        "roc_auc" => return None,
        _ => panic!("an unknown metric: {metric}"),
    })
}

/// Asserts that training reached the solver's minimum within a relative tolerance.
#[track_caller]
fn assert_objective(case: &Regression, on: &str, report: &Report, within: f64) {
    let error = (report.objective - case.objective) / case.objective.abs();
    let Report { objective, .. } = report;
    assert!(
        error.abs() <= within,
        "{} on {on}: the objective is {objective:e}, {error:e} off",
        case.name
    );
}

/// Full batches reach the minimum up to rounding, with its metrics and classes, and with its zeros (from the penalty or
/// from a constant feature).
fn full_batches_reach_the_minimum(of: &str) {
    let cases: Vec<Regression> = regressions().into_iter().filter(|case| case.data == of).collect();
    assert!(!cases.is_empty());
    for case in &cases {
        let (problem, model) = problem(case);
        let way = Way::full(case, problem.rows);
        // The error of other metrics is the square root of the objective's error.
        let (within, metric_within) = match case.loss {
            Loss::Quantile { .. } => (1e-5, 5e-3),
            Loss::Softmax { .. } => (5e-4, 5e-3),
            _ => (1e-6, 1e-5),
        };
        for (on, report) in everywhere(&problem, &way.plan(case, &problem, model)) {
            assert_objective(case, on, &report, within);
            for (metric, &expected) in &case.metrics {
                let Some(actual) = measure(metric, case, &report) else { continue };
                // The error of 1 − share is that of the share.
                let scale = if ["r2", "d2_poisson"].contains(&&metric[..]) { 1.0 } else { expected };
                let error = (actual - expected) / scale;
                let name = &case.name;
                assert!(
                    error.abs() <= metric_within,
                    "{name} on {on}: {metric} {actual:e}, {error:e} off"
                );
            }
            let zeros = |weights: &[f64]| weights.iter().map(|&w| w == 0.0).collect::<Vec<_>>();
            let weights = &report.params[..model.weights()];
            assert_eq!(zeros(weights), zeros(&case.coef.concat()), "{} on {on}: {weights:?}", case.name);
            if let Some(classes) = &case.classes {
                let scores = case.scores_of(&case.rows().0, &report.params);
                let predicted = metrics::classes(&scores, model.outputs);
                assert_eq!(&predicted, classes, "{} on {on}", case.name);
            }
        }
    }
}

#[test]
fn diabetes_reaches_the_minimum() {
    full_batches_reach_the_minimum("diabetes");
}

#[test]
fn breast_cancer_reaches_the_minimum() {
    full_batches_reach_the_minimum("breast_cancer");
}

#[test]
fn digits_reaches_the_minimum() {
    full_batches_reach_the_minimum("digits");
}

#[test]
fn shuffled_mini_batches_reach_a_thousandth_of_the_minimum() {
    for case in &regressions() {
        let (problem, model) = problem(case);
        let plan = Way::shuffled(case).plan(case, &problem, model);
        assert_objective(case, "f32", &in_f32(&problem, &plan), 1e-3);
    }
}

#[test]
fn shuffled_mini_batches_reach_a_thousandth_of_the_minimum_on_the_device() {
    let Some(gpu) = gpu() else { return };
    let cases = regressions();
    // The digits take ten times as long.
    for case in cases.iter().filter(|case| case.data != "digits") {
        let (problem, model) = problem(case);
        let plan = Way::shuffled(case).plan(case, &problem, model);
        assert_objective(case, "gpu", &on_gpu(gpu, &problem, &plan), 1e-3);
        if let Some(report) = in_epochs(gpu, &problem, &plan) {
            assert_objective(case, "gpu in epochs", &report, 1e-3);
        }
    }
}
