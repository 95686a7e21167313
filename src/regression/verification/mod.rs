//! Whether a step was computed right: the f64 definition starts from the device's own bits, makes the
//! same step, and the difference is divided by a bound that was derived, not chosen.

mod bounds;
#[cfg(test)]
mod faults;
mod report;
mod terms;

pub use crate::cpu::Bounded;
pub use bounds::{average, exactly, gradient, sums, update};
pub use report::{Verification, Worst};

use crate::cpu::random::philox;
use crate::regression::Batch;
use crate::regression::reference::gradient::Rows;
use crate::regression::train::Recipe;
use crate::regression::{Problem, ProblemError};

/// Parameters and moments at one moment of a run, as the device has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The parameters, as [`Model::params`](crate::Model::params) counts them.
    pub params: Vec<f32>,
    /// One vector for each of [`Rule::moments`](crate::Rule::moments).
    pub moments: Vec<Vec<f32>>,
}

/// A gradient as the device computed it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedGradient {
    /// The rows it was made from.
    pub batch: Batch,
    /// The longest chains of additions behind an element and behind a score.
    pub depths: (u32, u32),
    /// The gradient, the intercept's last.
    pub grads: Vec<f32>,
    /// The batch's loss.
    pub loss: f32,
}

/// What one update read and wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedStep {
    /// Which update of the run it was, from 1; the t of the rule.
    pub t: u64,
    /// Its learning rate.
    pub lr: f64,
    /// The state ahead of it.
    pub before: Snapshot,
    /// The gradient that it applied.
    pub gradient: ObservedGradient,
    /// The gradient of some of the batch's rows, from the same parameters by the same kernel, where the
    /// whole batch is too large to be made again in f64.
    pub sample: Option<ObservedGradient>,
    /// The state after it.
    pub after: Snapshot,
}

/// Products of numbers in X and weights that are made again in f64 for one check, and rows of them.
const SAMPLE: u64 = 1 << 21;
const SAMPLE_ROWS: u64 = 1 << 17;

/// The rows of `batch` to check in its stead, if it is a large one: a run of them whose place is drawn for
/// update `t`.
pub fn sample(batch: Batch, features: usize, t: u64) -> Option<Batch> {
    let rows = (SAMPLE / features.max(1) as u64).clamp(1, SAMPLE_ROWS);
    if batch.rows <= rows {
        return None;
    }
    let [low, high, ..] = philox([t as u32, (t >> 32) as u32, 0, 0], [0; 2]);
    let place = (u64::from(high) << 32 | u64::from(low)) % (batch.rows - rows + 1);
    Some(Batch { first: batch.first + place, rows, ..batch })
}

/// Compares one update with the f64 definition, in two parts, each from the device's own bits: the
/// gradient and loss from the parameters and the batch (or a sample of its rows), then parameters and
/// moments from the state and the gradient. So neither part's bound has to allow for the other's error.
///
/// # Errors
/// [`ProblemError`] if the rows cannot be read again.
pub fn check(
    report: &mut Verification,
    recipe: &Recipe,
    problem: &Problem,
    step: &ObservedStep,
) -> Result<(), ProblemError> {
    report.checked(step.t, &terms::names(recipe), terms::seen(recipe, step));
    let seen = step.sample.as_ref().unwrap_or(&step.gradient);
    let (x, sides) = problem.rows_of::<f32>(&seen.batch)?;
    let rows = Rows { x: &x, sides: &sides };
    let (grads, loss) = gradient(&recipe.model, rows, &step.before.params, seen.depths);
    report.compare(step.t, "gradient", &seen.grads, &grads);
    report.compare(step.t, "loss", &[seen.loss], &[loss]);
    let (params, moments) = update(recipe, (step.t, step.lr), &step.before, &step.gradient.grads);
    report.compare(step.t, "params", &step.after.params, &params);
    for ((name, actual), expected) in recipe.rule.moments().iter().zip(&step.after.moments).zip(&moments)
    {
        report.compare(step.t, name, actual, expected);
    }
    Ok(())
}

/// Compares the parameters' moving average behind an update with its definition, from the average ahead of the
/// update and the parameters behind it.
pub fn check_average(
    report: &mut Verification,
    decay: f64,
    t: u64,
    before: &[f32],
    params: &[f32],
    after: &[f32],
) {
    report.compare(t, terms::AVERAGE, after, &bounds::average(decay, t, before, params));
    report.see(terms::AVERAGE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_batches_are_sampled_and_within_themselves() {
        let batch = |rows| Batch::new(100, rows);
        assert_eq!(sample(batch(1 << 15), 64, 1), None);
        let samples: Vec<Batch> = (1..50).filter_map(|t| sample(batch(1 << 16), 64, t)).collect();
        assert_eq!(samples.len(), 49);
        for sample in &samples {
            assert!(sample.first >= 100 && sample.first + sample.rows <= 100 + (1 << 16));
        }
        assert!(samples.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
