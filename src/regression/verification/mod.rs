//! Verification of observed updates: the f64 definition repeats the step from the device's inputs, and every error is
//! compared with a derived bound.

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

/// Parameters and moments of a device at one point of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Parameters, in the order of [`Model`](crate::Model).
    pub params: Vec<f32>,
    /// Moments, one vector for each of [`Rule::moments`](crate::Rule::moments).
    pub moments: Vec<Vec<f32>>,
}

/// A gradient computed by a device.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedGradient {
    /// Rows of the gradient.
    pub batch: Batch,
    /// Longest chains of additions of an element and of a score.
    pub depths: (u32, u32),
    /// Gradient, in the order of the parameters.
    pub grads: Vec<f32>,
    /// Loss of the batch.
    pub loss: f32,
}

/// The inputs and outputs of an update.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedStep {
    /// Number of the update in the run, from 1; the t of the rule.
    pub t: u64,
    /// Learning rate.
    pub lr: f64,
    /// State before the update.
    pub before: Snapshot,
    /// Applied gradient.
    pub gradient: ObservedGradient,
    /// Gradient of a sample of the batch's rows, from the same parameters and kernel, if the whole batch is too large to
    /// recompute in f64.
    pub sample: Option<ObservedGradient>,
    /// State after the update.
    pub after: Snapshot,
}

// Maximum number of products of X and weights that one check recomputes in f64, and of rows.
const SAMPLE: u64 = 1 << 21;
const SAMPLE_ROWS: u64 = 1 << 17;

/// Returns a sample of a large batch to check instead: a contiguous range, drawn at random for update `t`.
pub fn sample(batch: Batch, features: usize, t: u64) -> Option<Batch> {
    let rows = (SAMPLE / features.max(1) as u64).clamp(1, SAMPLE_ROWS);
    if batch.rows <= rows {
        return None;
    }
    let [low, high, ..] = philox([t as u32, (t >> 32) as u32, 0, 0], [0; 2]);
    let place = (u64::from(high) << 32 | u64::from(low)) % (batch.rows - rows + 1);
    Some(Batch { first: batch.first + place, rows, ..batch })
}

/// Compares an update with the f64 definition in two parts, each from the device's inputs: gradient and loss from the
/// parameters and the batch (or a sample of its rows), then parameters and moments from the state and the gradient.
/// Thus neither bound includes the error of the other part.
///
/// # Errors
/// [`ProblemError`] if the rows cannot be read.
pub fn check(
    report: &mut Verification,
    recipe: &Recipe,
    problem: &Problem,
    step: &ObservedStep,
) -> Result<(), ProblemError> {
    report.checked(step.t, &terms::names(recipe), terms::seen(recipe, step));
    let seen = step.sample.as_ref().unwrap_or(&step.gradient);
    let (x, aux) = problem.rows_of::<f32>(&seen.batch)?;
    let rows = Rows { x: &x, aux: &aux };
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

/// Compares the parameters' moving average after an update with its definition, from the average before the update and
/// the parameters after it.
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
