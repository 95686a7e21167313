//! The training loop: batches → gradient → step → what is to be told about it.

mod batches;
mod cpu;
mod gpu;
mod gpu_data;
mod gpu_epochs;
mod gpu_evaluation;
mod gpu_state;
mod host;
mod pace;
mod stopping;
mod submissions;

pub use batches::{Batches, Shuffle};
pub use cpu::{CpuWorker, Float};
pub use gpu::GpuWorker;
pub use gpu_data::{GpuData, Placement, StreamTimes};
pub use gpu_epochs::EpochsWorker;
pub use host::HostRows;
pub use stopping::{EarlyStopping, score};
pub use submissions::Submissions;

use crate::batch::Batch;
use crate::regression::{Problem, ProblemError};
use crate::schedule::Schedule;
use crate::verify::{self, ObservedStep, Verification};
use crate::{Error, Evaluation, Model, Penalty, Rule};
use pace::Pace;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stopping::{Verdict, Watch};

/// A loss that grew by this factor since the start will not come back.
const DIVERGED: f64 = 1e6;

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
    /// Whether it stopped before the last batch, because nothing got better.
    pub stopped_early: bool,
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
    let model = &plan.recipe.model;
    let shift = near_mean(problem)?;
    let initial = worker.evaluate(0, plan.rows, shift)?;
    if initial.weight == 0.0 {
        return Err(TrainError::NoWeight);
    }
    let initial_loss = initial.mean_loss();
    if !initial_loss.is_finite() {
        return Err(TrainError::NotFinite { loss: initial_loss });
    }
    let updates = plan.batches.updates();
    let mut pace = Pace::new(plan.verify);
    let mut verification = (plan.verify != VerifyEvery::Never).then(Verification::new);
    let watch = |update: u64, loss: f64| {
        let grown = initial_loss > 0.0 && loss > DIVERGED * initial_loss;
        if loss.is_finite() && !grown {
            return Ok(());
        }
        Err(TrainError::Diverged { update, loss, initial_loss })
    };
    let mut epochs = match &plan.stopping {
        Some(stopping) => Some(Epochs::new(*stopping, worker, plan, shift)?),
        None => None,
    };

    let mut done = 0;
    let mut trace = Vec::new();
    let mut stopped_early = false;
    let mut last = (f64::NAN, None);
    while done < updates && !stopped_early {
        if stop.load(Ordering::Relaxed) {
            return Err(TrainError::Interrupted { update: done });
        }
        let factor = epochs.as_ref().map_or(1.0, |epochs| epochs.watch.factor);
        let rate = |update: u64| plan.learning_rate.at(update) * factor;
        let started = Instant::now();
        trace.clear();
        let check = verification.as_mut().filter(|_| pace.check_is_due(done));
        let losses = if let Some(report) = check {
            let batch = plan.batches.get(done);
            let sample = verify::sample(batch, problem.features * model.outputs, done + 1);
            let step = worker.run_observed(batch, rate(done), sample)?;
            verify::check(report, &plan.recipe, problem, &step)?;
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
            if epochs.is_some() {
                count = count.min(plan.batches.epoch() - done % plan.batches.epoch());
            }
            let batches: Vec<Batch> = (done..done + count).map(|i| plan.batches.get(i)).collect();
            let rates: Vec<f64> = (done..done + count).map(rate).collect();
            let losses = worker.run(&batches, &rates, plan.trace.then_some(&mut trace))?;
            let rows = batches.iter().map(|batch| batch.rows).sum();
            pace.ran(count, rows, started.elapsed());
            losses
        };
        for (update, &loss) in (done + 1..).zip(&losses) {
            watch(update, loss)?;
            if let Some(epochs) = &mut epochs {
                epochs.batch(loss, plan.batches.get(update - 1).rows);
            }
        }
        let first = done + 1;
        done += losses.len() as u64;
        if let (Some(epochs), true) = (&mut epochs, done.is_multiple_of(plan.batches.epoch())) {
            stopped_early = epochs.end(worker, plan.learning_rate.at(done - 1))? && done < updates;
        }
        for (i, &batch_loss) in losses.iter().enumerate() {
            let update = first + i as u64;
            if update == done && (done == updates || stopped_early) {
                // Of the last one there is more to tell.
                last = (batch_loss, trace.pop());
                break;
            }
            // Submissions end where the loss is due.
            let mut loss = None;
            if plan.eval_every > 0 && update.is_multiple_of(plan.eval_every) {
                let now = worker.evaluate(0, plan.rows, shift)?.mean_loss();
                watch(update, now)?;
                loss = Some(now);
            }
            let params = trace.get(i).map(Vec::as_slice);
            let rows_per_second = pace.rows_per_second();
            observer(Progress { update, batch_loss, loss, params, rows_per_second })
                .map_err(TrainError::Observer)?;
        }
    }

    worker.take_average()?;
    let evaluation = worker.evaluate(0, plan.rows, shift)?;
    let loss = evaluation.mean_loss();
    watch(done, loss)?;
    let rows_per_second = pace.rows_per_second();
    let (batch_loss, params) = (last.0, last.1.as_deref());
    observer(Progress { update: done, batch_loss, loss: Some(loss), params, rows_per_second })
        .map_err(TrainError::Observer)?;
    let validation = match plan.stopping.map_or(0, |stopping| stopping.validation_rows) {
        0 => None,
        rows => Some(worker.evaluate(plan.rows, rows, shift)?),
    };
    let params = worker.params()?;
    Ok(Report {
        updates: done,
        stopped_early,
        timed_rows: pace.rows(),
        initial_loss,
        loss,
        objective: loss + plan.recipe.penalty.of(&params[..model.weights()]),
        evaluation,
        validation,
        training: pace.training(),
        verifying: pace.verifying(),
        params,
        verification,
    })
}

/// An f32 near the targets' mean: that of the first rows.
fn near_mean(problem: &Problem) -> Result<f64, ProblemError> {
    let rows = problem.rows.min(4096);
    let (_, sides) = problem.rows_of::<f32>(&Batch::new(0, rows))?;
    let first_targets = sides.iter().step_by(problem.side());
    let mean = first_targets.map(|&y| f64::from(y)).sum::<f64>() / rows as f64;
    Ok((mean as f32).into())
}

/// What is known of the epochs so far, for stopping early.
struct Epochs<'a> {
    watch: Watch,
    stopping: EarlyStopping,
    plan: &'a Plan,
    shift: f64,
    /// Of this epoch: Σ rows · loss, and rows.
    loss: f64,
    rows: u64,
    /// The mean deviance of a constant model on the rows held out.
    null_deviance: f64,
}

impl<'a> Epochs<'a> {
    fn new(
        stopping: EarlyStopping,
        worker: &mut dyn Worker,
        plan: &'a Plan,
        shift: f64,
    ) -> Result<Self, TrainError> {
        let mut null_deviance = 1.0;
        if stopping.validation_rows > 0 && matches!(plan.recipe.model.loss, crate::Loss::Poisson) {
            let all = worker.evaluate(plan.rows, stopping.validation_rows, shift)?;
            null_deviance = all.null_poisson_deviance();
        }
        let watch = Watch::new(stopping);
        Ok(Epochs { watch, stopping, plan, shift, loss: 0.0, rows: 0, null_deviance })
    }

    fn batch(&mut self, loss: f64, rows: u64) {
        self.loss += loss * rows as f64;
        self.rows += rows;
    }

    /// Ends an epoch; whether training is to end with it.
    fn end(&mut self, worker: &mut dyn Worker, lr: f64) -> Result<bool, TrainError> {
        let watched = match self.stopping.validation_rows {
            0 => self.loss / self.rows as f64,
            rows => {
                let held_out = worker.evaluate(self.plan.rows, rows, self.shift)?;
                -score(&self.plan.recipe.model.loss, &held_out, self.null_deviance)
            }
        };
        (self.loss, self.rows) = (0.0, 0);
        Ok(self.watch.epoch(watched, lr) == Verdict::Stop)
    }
}
