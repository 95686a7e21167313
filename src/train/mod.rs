//! The training loop: batches → gradient → step → what is to be told about it.

mod cpu;
mod gpu;
mod pace;

pub use cpu::{CpuWorker, Float};
pub use gpu::{GpuData, GpuWorker};

use crate::gpu::Batch;
use crate::regression::Problem;
use crate::verify::{self, ObservedStep, Verification};
use crate::{Error, Rule};
use pace::Pace;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A loss that grew by this factor since the start will not come back.
const DIVERGED: f64 = 1e6;

/// One model, one rule and one data set on one device.
pub trait Worker {
    /// Makes an update for each batch, at most [`max_updates`](Self::max_updates) of them, and returns
    /// each batch's loss ahead of its update. Where `trace` is given, the parameters after each update
    /// are added to it.
    ///
    /// # Errors
    /// [`Error`] if the device fails.
    fn run(&mut self, batches: &[Batch], trace: Option<&mut Vec<Vec<f64>>>) -> Result<Vec<f64>, Error>;

    /// Makes one update and returns what it read and wrote, in f32: on a worker that computes in f64 there
    /// is nothing to verify. With a `sample` of the batch also its gradient, from the same parameters.
    ///
    /// # Errors
    /// [`Error`] if the device fails.
    fn run_observed(&mut self, batch: Batch, sample: Option<Batch>) -> Result<ObservedStep, Error>;

    /// The parameters, the intercept last.
    ///
    /// # Errors
    /// [`Error`] if the device fails.
    fn params(&mut self) -> Result<Vec<f64>, Error>;

    /// The moments, one vector for each of [`Rule::moments`].
    ///
    /// # Errors
    /// [`Error`] if the device fails.
    fn moments(&mut self) -> Result<Vec<Vec<f64>>, Error>;

    /// The mean squared error over all rows.
    ///
    /// # Errors
    /// [`Error`] if the device fails.
    fn loss(&mut self) -> Result<f64, Error>;

    /// The most updates that one [`run`](Self::run) makes.
    fn max_updates(&self) -> usize;
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
    /// The update rule.
    pub rule: Rule,
    /// The batches, in order; the run ends with the last one.
    pub batches: Batches,
    /// How often the device is checked.
    pub verify: VerifyEvery,
    /// Every how many updates the loss over all rows is taken, besides the last; 0 for only the last.
    pub eval_every: u64,
    /// Whether the observer is to get the parameters after every update.
    pub trace: bool,
}

/// The rows that each update is made from.
#[derive(Clone, Debug)]
pub enum Batches {
    /// Contiguous batches of `size` rows in the order of the data, over and over; the last one of an
    /// epoch has what is left.
    InOrder {
        /// Rows of the data.
        rows: u64,
        /// Rows of a batch, from 1 to `rows`.
        size: u64,
        /// How many updates there are.
        updates: u64,
    },
    /// These.
    Given(Vec<Batch>),
}

impl Batches {
    /// How many updates there are.
    pub fn updates(&self) -> u64 {
        match self {
            Batches::InOrder { updates, .. } => *updates,
            Batches::Given(batches) => batches.len() as u64,
        }
    }

    /// The largest batch.
    pub fn max_rows(&self) -> u64 {
        match self {
            Batches::InOrder { size, .. } => *size,
            Batches::Given(batches) => batches.iter().map(|b| b.rows).max().unwrap_or(1),
        }
    }

    /// The batch of update `index`, from 0.
    fn get(&self, index: u64) -> Batch {
        match self {
            &Batches::InOrder { rows, size, .. } => {
                let first = index % rows.div_ceil(size) * size;
                Batch { first, rows: size.min(rows - first) }
            }
            Batches::Given(batches) => batches[index as usize],
        }
    }
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
    /// Rows read by the updates that [`training`](Self::training) is the time of.
    pub timed_rows: u64,
    /// The loss over all rows before the first update.
    pub initial_loss: f64,
    /// The loss over all rows after the last one.
    pub loss: f64,
    /// Time spent training, without the updates that were checked and without losses over all rows.
    pub training: Duration,
    /// Time spent on verification.
    pub verifying: Duration,
    /// The parameters, the intercept last.
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
        "diverged at update {update}: the loss is {loss:e}, and was {initial_loss:e} at the start; \
         a lower learning rate, or features on one scale (--standardize), may help"
    )]
    Diverged {
        /// The update, from 1, whose batch showed it first.
        update: u64,
        /// The loss there.
        loss: f64,
        /// The loss over all rows at the start.
        initial_loss: f64,
    },
    /// The loss is no number before anything was done.
    #[error("the loss is {loss:e} before the first update: features or targets are too large for f32")]
    NotFinite {
        /// The loss over all rows.
        loss: f64,
    },
    /// Somebody asked to stop.
    #[error("interrupted after update {update}")]
    Interrupted {
        /// The last update made.
        update: u64,
    },
    /// What an observer could not do with what it was told.
    #[error("{0}")]
    Observer(String),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] Error),
}

/// Runs `plan` on `worker`, which must be fresh, and tells `observer` after every update.
///
/// # Errors
/// [`TrainError`]: divergence with its update, interruption by `stop`, or a failing device.
pub fn train(
    problem: &Problem,
    plan: &Plan,
    worker: &mut dyn Worker,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Progress) -> Result<(), String>,
) -> Result<Report, TrainError> {
    let initial_loss = worker.loss()?;
    if !initial_loss.is_finite() {
        return Err(TrainError::NotFinite { loss: initial_loss });
    }
    let updates = plan.batches.updates();
    let mut last_loss = initial_loss;
    let mut pace = Pace::new(plan.verify);
    let mut verification = (plan.verify != VerifyEvery::Never).then(Verification::new);
    let watch = |update: u64, loss: f64| {
        let grown = initial_loss > 0.0 && loss > DIVERGED * initial_loss;
        if loss.is_finite() && !grown {
            return Ok(());
        }
        Err(TrainError::Diverged { update, loss, initial_loss })
    };

    let mut done = 0;
    let mut trace = Vec::new();
    while done < updates {
        if stop.load(Ordering::Relaxed) {
            return Err(TrainError::Interrupted { update: done });
        }
        let started = Instant::now();
        trace.clear();
        let check = verification.as_mut().filter(|_| pace.check_is_due(done));
        let losses = if let Some(report) = check {
            let batch = plan.batches.get(done);
            let sample = verify::sample(batch, problem.features, done + 1);
            let step = worker.run_observed(batch, sample)?;
            verify::check(report, &plan.rule, problem, &step);
            if plan.trace {
                trace.push(step.after.params.iter().map(|&p| p.into()).collect());
            }
            pace.checked(started.elapsed());
            vec![f64::from(step.gradient.loss)]
        } else {
            let mut count = pace.updates(worker.max_updates()).min(updates - done);
            count = count.min(pace.until_check(done));
            if plan.eval_every > 0 {
                count = count.min(plan.eval_every - done % plan.eval_every);
            }
            let batches: Vec<Batch> = (done..done + count).map(|i| plan.batches.get(i)).collect();
            let losses = worker.run(&batches, plan.trace.then_some(&mut trace))?;
            let rows = batches.iter().map(|batch| batch.rows).sum();
            pace.ran(count, rows, started.elapsed());
            losses
        };
        for (i, &batch_loss) in losses.iter().enumerate() {
            let update = done + 1 + i as u64;
            watch(update, batch_loss)?;
            // Submissions end where the loss is due.
            let due = plan.eval_every > 0 && update.is_multiple_of(plan.eval_every);
            let loss = if due || update == updates { Some(worker.loss()?) } else { None };
            if let Some(loss) = loss {
                watch(update, loss)?;
                last_loss = loss;
            }
            let params = trace.get(i).map(Vec::as_slice);
            let rows_per_second = pace.rows_per_second();
            observer(Progress { update, batch_loss, loss, params, rows_per_second })
                .map_err(TrainError::Observer)?;
        }
        done += losses.len() as u64;
    }
    Ok(Report {
        updates: done,
        timed_rows: pace.rows(),
        initial_loss,
        loss: last_loss,
        training: pace.training(),
        verifying: pace.verifying(),
        params: worker.params()?,
        verification,
    })
}
