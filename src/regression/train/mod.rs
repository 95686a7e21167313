//! The training loop: batches → gradient → step → what is to be told about it.

mod batches;
mod cause;
mod checkpoint;
mod cpu;
mod epochs;
mod gpu;
mod gpu_data;
mod gpu_descent;
mod gpu_evaluation;
mod gpu_small_batch;
mod gpu_state;
mod host;
mod keep;
mod memory;
mod pace;
mod run;
mod state;
mod stopping;
mod submissions;
#[cfg(all(test, feature = "verify"))]
mod verdict;

pub use batches::{Batches, Shuffle};
pub use cause::Cause;
pub use checkpoint::{Configuration, Provenance};
pub use cpu::{CpuWorker, Float};
pub use gpu::GpuWorker;
pub use gpu_data::{GpuData, Placement, StreamTimes};
pub use host::HostRows;
pub use keep::Keep;
pub use memory::{CHUNK, Memory, MemoryError, MemoryFootprint, MemoryPlan, MemoryPlanner};
pub use run::{train, train_keeping};
pub use state::{Best, LoopState, NonFiniteCount, Numbers, RunState, WorkerState};
pub use stopping::{Basis, Criterion, EarlyStopping, Undefined, score};
pub use submissions::{SubmissionQueue, Submissions, ThroughputEstimate};

use crate::regression::Batch;
use crate::regression::ProblemError;
use crate::regression::verification::{ObservedStep, Verification};
use crate::schedule::Schedule;
use crate::{Error, Evaluation, Model, Penalty, Rule};
use std::time::Duration;

/// What is trained, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The model.
    pub model: Model,
    /// The update rule; its learning rate is that of the [`Plan`].
    pub rule: Rule,
    /// What weights cost; intercepts cost nothing.
    pub penalty: Penalty,
    /// The decay of a moving average of the parameters, in [0, 1), which is what training comes to where
    /// there is one.
    pub average: Option<f64>,
}

impl Recipe {
    /// A model by a rule, and nothing besides.
    pub fn new(model: Model, rule: Rule) -> Self {
        Recipe { model, rule, penalty: Penalty::default(), average: None }
    }

    /// Checks all of it.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] and what else its parts refuse.
    pub fn validate(&self) -> Result<(), Error> {
        self.model.validate()?;
        self.rule.validate()?;
        self.penalty.validate()?;
        match self.average {
            Some(decay) => crate::check::Check("average").decay("decay", decay),
            None => Ok(()),
        }
    }
}

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

/// When the device's work is compared with the f64 definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyEvery {
    /// Never.
    Never,
    /// The first update, and then as often as costs less than a share of the training time.
    Budget,
    /// Updates 1, 1 + k, 1 + 2k …
    Updates(u64),
}

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is trained, and how.
    pub recipe: Recipe,
    /// The learning rate of every update.
    pub learning_rate: Schedule,
    /// The batches, in order; the run ends with the last one.
    pub batches: Batches,
    /// Rows to train on; the loss over all rows is that over them.
    pub rows: u64,
    /// When to stop before the last batch, where that is wanted.
    pub stopping: Option<EarlyStopping>,
    /// How often the device is checked.
    pub verify: VerifyEvery,
    /// Every how many updates the loss over all rows is taken, besides the last; 0 for only the last.
    pub eval_every: u64,
    /// Whether the observer is to get the parameters after every update.
    pub trace: bool,
    /// After how many updates in a row the run stops whose loss, or what they would make of a parameter or a
    /// moment, is not finite: up to then they are not made, and counted. 0 stops at the first loss that is not
    /// finite.
    pub max_skips: u32,
}

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

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The loss is no number any more, or has grown beyond all return.
    #[error(
        "diverged at update {update}: the loss is {loss:e}, and was {initial_loss:e} at the start{cause}"
    )]
    Diverged {
        /// The update, from 1, whose batch showed it first.
        update: u64,
        /// The loss there.
        loss: f64,
        /// The loss over all rows at the start.
        initial_loss: f64,
        /// Why, as far as the data tell.
        cause: Cause,
    },
    /// The parameters are no numbers any more, or their moments.
    #[error("diverged at update {update}: a parameter or a moment is not finite{cause}")]
    Overflow {
        /// The last update made.
        update: u64,
        /// Why, as far as the data tell.
        cause: Cause,
    },
    /// As many updates in a row as may be came to something that is not finite.
    #[error(
        "{skips} updates in a row, up to update {update}, came to what is not finite and were skipped{cause}"
    )]
    Skipped {
        /// The last one of them.
        update: u64,
        /// How many they are.
        skips: u32,
        /// Why, as far as the data tell.
        cause: Cause,
    },
    /// The loss is no number before anything was done.
    #[error("the loss is {loss:e} before the first update{cause}")]
    NotFinite {
        /// The loss over all rows.
        loss: f64,
        /// Why, as far as the data tell.
        cause: Cause,
    },
    /// There is nothing to learn from.
    #[error("every row to train on has weight 0")]
    NoWeight,
    /// Somebody asked to stop.
    #[error("interrupted after update {update}")]
    Interrupted {
        /// The last update made.
        update: u64,
    },
    /// What an observer could not do with what it was told.
    #[error("{0}")]
    Observer(String),
    /// The device failed, or rows could not be read.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] Error),
}
