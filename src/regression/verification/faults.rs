//! Tests that seed faults into a correct observed step: every fault must be detected.

use super::{ObservedStep, Verification, check};
use crate::regression::Batch;
use crate::regression::Problem;
use crate::regression::device::block_on;
use crate::regression::reference::gradient::Rows;
use crate::regression::reference::synthetic::Options;
use crate::regression::train::{CpuWorker, HostRows, Recipe, Worker};
use crate::{Adam, Loss, Model, RmsProp, Rule, Sgd};

const ROWS: u64 = 1000;
const BATCH: u64 = 100;

fn rules() -> [Rule; 5] {
    let momentum = Sgd { lr: 0.01, momentum: 0.9, dampening: 0.3, ..Sgd::default() };
    [
        Sgd { lr: 0.01, ..Sgd::default() }.into(),
        momentum.into(),
        Sgd { dampening: 0.0, nesterov: true, ..momentum }.into(),
        RmsProp::default().into(),
        Adam { lr: 0.01, ..Adam::default() }.into(),
    ]
}

fn problem() -> Problem {
    Problem::synthetic(ROWS, &Options { features: 7, noise: 0.1, seed: 3, ..Options::default() })
        .unwrap()
}

fn recipe(rule: &Rule) -> Recipe {
    Recipe::new(Model::new(7, Loss::Mse), *rule)
}

/// Step `t` of a run with `rule`, computed on the processor.
fn step(rule: &Rule, t: u64) -> ObservedStep {
    let problem = problem();
    let (x, y) = problem.materialize::<f32>().unwrap();
    let rows = HostRows::Resident { x: &x, aux: &y };
    let mut worker = CpuWorker::new(rows, &recipe(rule), &[0.0; 8]).unwrap();
    let batch = |t: u64| Batch::new((t - 1) * BATCH % ROWS, BATCH);
    for t in 1..t {
        block_on(worker.run(&[batch(t)], &[rule.lr()], None)).unwrap();
    }
    block_on(worker.run_observed(batch(t), rule.lr(), None)).unwrap()
}

fn verify(rule: &Rule, step: &ObservedStep) -> Verification {
    let mut report = Verification::new();
    check(&mut report, &recipe(rule), &problem(), step).unwrap();
    report
}

/// Fails unless the fault is detected for every rule, in the given quantity.
fn assert_caught(quantity: &str, mut fault: impl FnMut(&Rule, &mut ObservedStep)) {
    for rule in rules() {
        let mut step = step(&rule, 5);
        let right = step.clone();
        fault(&rule, &mut step);
        if step == right {
            continue;
        }
        let report = verify(&rule, &step);
        assert!(!report.pass, "{}: not caught: {report:?}", rule.name());
        let worst = report.worst.unwrap();
        assert_eq!(worst.quantity, quantity, "{}: {worst:?}", rule.name());
    }
}

/// Recomputes the step with `rule`, from the step's state and gradient.
fn redo(rule: &Rule, step: &mut ObservedStep, t: u64) {
    let (params, moments) =
        super::update(&recipe(rule), (t, rule.lr()), &step.before, &step.gradient.grads);
    step.after.params = params.iter().map(|p| p.value as f32).collect();
    step.after.moments = moments.iter().map(|m| m.iter().map(|v| v.value as f32).collect()).collect();
}

#[test]
fn a_right_step_passes_and_uses_its_bounds() {
    for rule in rules() {
        for t in [1, 2, 5, 300] {
            let report = verify(&rule, &step(&rule, t));
            assert!(report.pass, "{}, step {t}: {report:?}", rule.name());
            // A bound far above the errors would not detect faults.
            assert!(report.worst_ratio > 0.05, "{}, step {t}: {report:?}", rule.name());
        }
    }
}

#[test]
fn a_dropped_row_is_caught() {
    assert_caught("gradient", |rule, step| {
        let full = step.gradient.batch;
        let batch = Batch { rows: full.rows - 1, ..full };
        let (x, aux) = problem().rows_of::<f32>(&batch).unwrap();
        let rows = Rows { x: &x, aux: &aux };
        let depths = step.gradient.depths;
        let (grads, _) = super::gradient(&recipe(rule).model, rows, &step.before.params, depths);
        let share = (BATCH - 1) as f64 / BATCH as f64;
        step.gradient.grads = grads.iter().map(|g| (g.value * share) as f32).collect();
        redo(rule, step, 5);
    });
}

#[test]
fn a_mean_over_one_row_too_few_is_caught() {
    assert_caught("gradient", |rule, step| {
        let wrong = BATCH as f32 / (BATCH - 1) as f32;
        step.gradient.grads.iter_mut().for_each(|g| *g *= wrong);
        redo(rule, step, 5);
    });
}

#[test]
fn a_tail_that_is_not_written_is_caught() {
    assert_caught("params", |_, step| step.after.params[7] = step.before.params[7]);
}

#[test]
fn a_learning_rate_of_the_step_before_is_caught() {
    assert_caught("params", |rule, step| {
        let stale = rule.with_lr(rule.lr() * 0.999);
        redo(&stale, step, 5);
    });
}

#[test]
fn bias_correction_by_another_step_is_caught() {
    assert_caught("params", |rule, step| {
        if matches!(rule, Rule::Adam(_)) {
            redo(rule, step, 6);
        }
    });
}

#[test]
fn dampening_in_the_first_step_is_caught() {
    let rule = rules()[1];
    let mut step = step(&rule, 1);
    redo(&rule, &mut step, 2);
    assert!(!verify(&rule, &step).pass);
}

#[test]
fn moments_that_are_wrong_are_caught_by_name() {
    for rule in rules() {
        for (moment, &name) in rule.moments().iter().enumerate() {
            let mut neighbour = step(&rule, 5);
            neighbour.after.moments[moment].swap(2, 3);
            let report = verify(&rule, &neighbour);
            assert!(!report.pass, "{}", rule.name());
            assert_eq!(report.worst.unwrap().quantity, name);

            let mut lost = step(&rule, 5);
            lost.after.moments[moment][7] = lost.before.moments[moment][7];
            assert!(!verify(&rule, &lost).pass, "{}", rule.name());
        }
    }
}

#[test]
fn a_loss_that_is_wrong_is_caught() {
    assert_caught("loss", |_, step| step.gradient.loss *= 1.0001);
}
