//! Whether a step was computed right: the f64 definition starts from the device's own bits, makes the
//! same step, and the difference is divided by a bound that was derived, not chosen.

mod bounds;
#[cfg(test)]
mod faults;
mod report;

pub use bounds::{Bounded, gradient, update};
pub use report::{Verification, Worst};

use crate::Rule;
use crate::gpu::Batch;
use crate::regression::Problem;

/// Parameters and moments at one moment of a run, as the device has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The parameters, the intercept last.
    pub params: Vec<f32>,
    /// One vector for each of [`Rule::moments`].
    pub moments: Vec<Vec<f32>>,
}

/// Everything that one update read and wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedStep {
    /// Which update of the run it was, from 1; the t of the rule.
    pub t: u64,
    /// The rows it was made from.
    pub batch: Batch,
    /// The longest chains of additions behind the gradient and behind a residual.
    pub depths: (u32, u32),
    /// The state ahead of it.
    pub before: Snapshot,
    /// The gradient that was computed.
    pub grads: Vec<f32>,
    /// The batch's loss that was computed.
    pub loss: f32,
    /// The state after it.
    pub after: Snapshot,
}

/// Compares one update with the f64 definition, in two parts, each from the device's own bits: the
/// gradient and loss from the parameters and the batch, then parameters and moments from the state and
/// the gradient. So neither part's bound has to allow for the other's error.
pub fn check(report: &mut Verification, rule: &Rule, problem: &Problem, step: &ObservedStep) {
    report.checks += 1;
    let (grads, loss) = gradient(problem, step.batch, &step.before.params, step.depths);
    report.compare(step.t, "gradient", &step.grads, &grads);
    report.compare(step.t, "loss", &[step.loss], &[loss]);
    let (params, moments) = update(rule, step.t, &step.before, &step.grads);
    report.compare(step.t, "params", &step.after.params, &params);
    for ((name, actual), expected) in rule.moments().iter().zip(&step.after.moments).zip(&moments) {
        report.compare(step.t, name, actual, expected);
    }
}
