//! Progress and results of a run.

use super::{Basis, Best};
use crate::Evaluation;
use crate::regression::verification::Verification;
use std::time::Duration;

/// The progress after an update.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The update, from 1.
    pub update: u64,
    /// The loss of its batch, before the update.
    pub batch_loss: f64,
    /// The loss over all rows after the update, if it was evaluated.
    pub loss: Option<f64>,
    /// The parameters after the update, if the plan has a trace.
    pub params: Option<&'a [f64]>,
    /// Rows a second so far, without verification.
    pub rows_per_second: f64,
}

/// The results of the loop.
#[derive(Clone, Debug)]
pub struct Report {
    /// Updates made.
    pub updates: u64,
    /// Skipped updates among them, because of non-finite results.
    pub skipped: u64,
    /// Whether early stopping ended the run.
    pub stopped_early: bool,
    /// The lowest loss over all rows that was evaluated.
    pub best: Option<Best>,
    /// Rows read in the time [`training`](Self::training).
    pub timed_rows: u64,
    /// The loss over all rows before the first update.
    pub initial_loss: f64,
    /// The loss over all rows after the last update.
    pub loss: f64,
    /// The loss and the penalty.
    pub objective: f64,
    /// The evaluation on the rows that were trained on.
    pub evaluation: Evaluation,
    /// The evaluation on the held-out rows.
    pub validation: Option<Evaluation>,
    /// The criterion of early stopping, if it was requested.
    pub stopping: Option<Basis>,
    /// Time spent training, without checked updates and without losses over all rows.
    pub training: Duration,
    /// Time spent on verification.
    pub verifying: Duration,
    /// The parameters.
    pub params: Vec<f64>,
    /// The verification, if updates were verified.
    pub verification: Option<Verification>,
}
