//! Progress and results of a run.

use super::{Basis, Best};
use crate::Evaluation;
use crate::regression::verification::Verification;
use std::time::Duration;

/// What an observer is told after an update.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The update, from 1.
    pub update: u64,
    /// The loss of its batch ahead of it.
    pub batch_loss: f64,
    /// The loss over all rows after it, where it was taken.
    pub loss: Option<f64>,
    /// The parameters after it, where a trace was asked for.
    pub params: Option<&'a [f64]>,
    /// Rows a second so far, verification left out.
    pub rows_per_second: f64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Updates made.
    pub updates: u64,
    /// How many of them were skipped, because they came to something that is not finite.
    pub skipped: u64,
    /// Whether it stopped before the last batch, because nothing got better.
    pub stopped_early: bool,
    /// The least of the losses over all rows that were taken on the way.
    pub best: Option<Best>,
    /// Rows read by the updates that [`training`](Self::training) is the time of.
    pub timed_rows: u64,
    /// The loss over all rows before the first update.
    pub initial_loss: f64,
    /// The loss over all rows after the last one.
    pub loss: f64,
    /// The loss, and what the weights cost besides.
    pub objective: f64,
    /// What evaluates the model on the rows that it was trained on.
    pub evaluation: Evaluation,
    /// And on those that were held out.
    pub validation: Option<Evaluation>,
    /// What early stopping went by, where it was asked for.
    pub stopping: Option<Basis>,
    /// Time spent training, without the updates that were checked and without losses over all rows.
    pub training: Duration,
    /// Time spent on verification.
    pub verifying: Duration,
    /// The parameters.
    pub params: Vec<f64>,
    /// What the checks came to, where there were any.
    pub verification: Option<Verification>,
}
