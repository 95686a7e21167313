//! The interface between the loop and whatever computes.

use super::WorkerState;
use crate::Evaluation;
use crate::regression::verification::ObservedStep;
use crate::regression::{Batch, ProblemError};

/// One recipe and one data set on one device.
pub trait Worker {
    /// Makes an update for each batch, at most [`max_updates`](Self::max_updates) of them, with its learning
    /// rate, and returns each batch's loss ahead of its update. Where `trace` is given, the parameters after
    /// each update are added to it.
    ///
    /// # Errors
    /// [`ProblemError`] if the device fails or rows cannot be read.
    fn run(
        &mut self,
        batches: &[Batch],
        learning_rates: &[f64],
        trace: Option<&mut Vec<Vec<f64>>>,
    ) -> Result<Vec<f64>, ProblemError>;

    /// Makes one update and returns what it read and wrote, in f32: on a worker that computes in f64 there
    /// is nothing to verify. With a `sample` of the batch also its gradient, from the same parameters.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> Result<ObservedStep, ProblemError>;

    /// The parameters, as [`Model::params`] counts them.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn params(&mut self) -> Result<Vec<f64>, ProblemError>;

    /// The moments, one vector for each of [`Rule::moments`].
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn moments(&mut self) -> Result<Vec<Vec<f64>>, ProblemError>;

    /// Puts the parameters' average in their place, where one is kept.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn take_average(&mut self) -> Result<(), ProblemError>;

    /// What evaluates the model on so many rows from `first` on; `shift` is near the targets' mean, and an
    /// f32.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> Result<Evaluation, ProblemError>;

    /// The most updates that one [`run`](Self::run) makes.
    fn max_updates(&self) -> usize;

    /// Copies all that its next update depends on.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn save(&mut self) -> Result<WorkerState, ProblemError>;

    /// Goes on from what [`save`](Self::save) copied, of this worker or of another one with this recipe.
    ///
    /// # Errors
    /// [`Error::Length`] if it is of another recipe; those of [`run`](Self::run).
    fn restore(&mut self, state: &WorkerState) -> Result<(), ProblemError>;
}
