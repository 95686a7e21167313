//! The loop: batches → gradient → step → events.

mod check;
mod skip;

use super::clock::Instant;
use super::epochs::EpochMonitor;
use super::losses::{evaluate, initial_loss, near_mean};
use super::observer::Observer;
use super::pace::Pace;
use super::snapshots::Snapshots;
use super::state::{Best, LoopState, NonFiniteCount, RunState, WorkerState};
use super::{Cause, Progress, Reduce, Report, TrainError, TrainPlan, VerifyEvery, Worker};
use crate::Evaluation;
use crate::regression::device::turn;
use crate::regression::verification::Verification;
use crate::regression::{Batch, Problem};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time between two turns of the browser's event loop, in which the page is drawn.
const TURN: Duration = Duration::from_millis(16);
/// A loss that grew by this factor since the start does not come back.
const DIVERGED: f64 = 1e6;

/// The part of a run that does not depend on the worker: it survives a lost device.
pub struct RunContext<'a> {
    pub plan: &'a TrainPlan,
    pub stop: &'a AtomicBool,
    pub observer: &'a mut dyn Observer,
    /// Sums gradients over several processes, if there are several.
    pub reduce: Option<&'a mut dyn Reduce>,
    pub snapshots: Snapshots,
    /// The last update that was reported to the observer.
    pub last_reported: u64,
}

impl RunContext<'_> {
    fn report(&mut self, progress: Progress) -> Result<(), TrainError> {
        self.last_reported = self.last_reported.max(progress.update);
        self.observer.progress(progress).map_err(TrainError::Observer)
    }

    /// Saves the latest snapshot.
    pub fn save(&mut self) -> Result<(), TrainError> {
        self.snapshots.save(self.observer).map_err(TrainError::Observer)
    }
}

/// Trains on `worker`, which must be fresh, from the latest snapshot if there is one. A resumed run ends with the
/// same bits as one that never stopped.
///
/// # Errors
/// [`TrainError`]. After an interruption the latest snapshot is that of the last update, if states are saved.
pub async fn train(
    problem: &Problem,
    worker: &mut dyn Worker,
    context: &mut RunContext<'_>,
) -> Result<Report, TrainError> {
    let trained = run_all(problem, worker, context).await;
    trained.map_err(|error| error.explained(problem, context.plan))
}

async fn run_all(
    problem: &Problem,
    worker: &mut dyn Worker,
    context: &mut RunContext<'_>,
) -> Result<Report, TrainError> {
    let mut run = Run::new(problem, worker, context).await?;
    let began = run.done;
    let mut trace = Vec::new();
    let mut turned = Instant::now();
    while !run.is_over() {
        // Natively the caller has a thread for everything else.
        if cfg!(target_arch = "wasm32") && turned.elapsed() >= TURN {
            turn().await;
            turned = Instant::now();
        }
        if context.stop.load(Ordering::Relaxed) {
            if context.snapshots.are_saved() {
                run.snapshot(&mut context.snapshots).await?;
                context.save()?;
            }
            return Err(TrainError::Interrupted { update: run.done });
        }
        if context.snapshots.snapshot_is_due() {
            run.snapshot(&mut context.snapshots).await?;
        }
        trace.clear();
        let until = context.snapshots.until_save(run.done);
        let losses = run.submit(until, &mut context.reduce, &mut trace).await?;
        run.report_updates(&losses, &trace, context).await?;
        let snapshots = &mut context.snapshots;
        if snapshots.are_saved() && (run.is_over() || snapshots.save_is_due(run.done)) {
            run.snapshot(snapshots).await?;
            context.save()?;
        }
    }
    // The report of the last update needs the final loss; a run that resumes from the end reports it too.
    let last = if run.done > began { trace.pop() } else { None };
    run.finish(last, context).await
}

/// A run on a worker.
struct Run<'a> {
    problem: &'a Problem,
    plan: &'a TrainPlan,
    worker: &'a mut dyn Worker,
    stop: &'a AtomicBool,
    shift: f64,
    pace: Pace,
    verification: Option<Verification>,
    epochs: Option<EpochMonitor<'a>>,
    initial_loss: f64,
    best: Option<Best>,
    skips: NonFiniteCount,
    /// The state before the next submission, if updates may have to be undone.
    good: Option<WorkerState>,
    done: u64,
    batch_loss: f64,
    stopped_early: bool,
}

impl<'a> Run<'a> {
    async fn new<'c: 'a>(
        problem: &'a Problem,
        worker: &'a mut dyn Worker,
        context: &RunContext<'c>,
    ) -> Result<Self, TrainError> {
        let (plan, stop) = (context.plan, context.stop);
        let shift = near_mean(problem, 0, problem.rows)?;
        let progress = match &context.snapshots.latest {
            Some(state) => {
                worker.restore(&state.worker).await?;
                state.progress.clone()
            }
            None => LoopState::at_start(initial_loss(problem, plan, worker, stop, shift).await?),
        };
        let epochs = match &plan.stopping {
            Some(stopping) => {
                let shift = match stopping.validation_rows {
                    0 => shift,
                    rows => near_mean(problem, plan.rows, rows)?,
                };
                let watched = progress.watched.clone();
                Some(EpochMonitor::new(*stopping, watched, worker, plan, shift).await?)
            }
            None => None,
        };
        let verifies = plan.verify != VerifyEvery::Never;
        let good = if plan.max_skips > 0 { Some(worker.save().await?) } else { None };
        let LoopState { training, verifying, timed_rows, .. } = progress;
        Ok(Run {
            problem,
            plan,
            worker,
            stop,
            shift,
            pace: Pace::new(plan.verify, plan.batches.updates())
                .after((training, timed_rows), verifying),
            verification: progress.verification.or(verifies.then(Verification::new)),
            epochs,
            initial_loss: progress.initial_loss,
            best: progress.best,
            skips: progress.skips,
            good,
            done: progress.update,
            batch_loss: progress.batch_loss,
            stopped_early: progress.stopped_early,
        })
    }

    fn is_over(&self) -> bool {
        self.stopped_early || self.done >= self.plan.batches.updates()
    }

    /// Copies the state to the host.
    async fn snapshot(&mut self, snapshots: &mut Snapshots) -> Result<(), TrainError> {
        let started = Instant::now();
        let worker = self.worker.save().await?;
        if !worker.is_finite() {
            return Err(TrainError::Overflow { update: self.done, cause: Cause::Unknown });
        }
        let progress = LoopState {
            update: self.done,
            batch_loss: self.batch_loss,
            initial_loss: self.initial_loss,
            best: self.best,
            skips: self.skips,
            watched: self.epochs.as_ref().map(|epochs| epochs.watched.clone()),
            stopped_early: self.stopped_early,
            verification: self.verification.clone(),
            training: self.pace.training(),
            verifying: self.pace.verifying(),
            timed_rows: self.pace.rows(),
        };
        snapshots.put(RunState { worker, progress }, started);
        Ok(())
    }

    /// Fails for a loss that a run does not come back from.
    fn watch(&self, update: u64, loss: f64) -> Result<(), TrainError> {
        let initial_loss = self.initial_loss;
        let grown = initial_loss > 0.0 && loss > DIVERGED * initial_loss && loss.is_finite();
        // If updates are skipped, non-finite losses are handled.
        if !grown && (loss.is_finite() || self.plan.max_skips > 0) {
            return Ok(());
        }
        Err(TrainError::Diverged { update, loss, initial_loss, cause: Cause::Unknown })
    }

    /// Makes one update that is checked, or at most `until` that are not, and returns their losses.
    async fn submit(
        &mut self,
        until: u64,
        reduce: &mut Option<&mut dyn Reduce>,
        trace: &mut Vec<Vec<f64>>,
    ) -> Result<Vec<f64>, TrainError> {
        let (plan, done) = (self.plan, self.done);
        let factor = self.epochs.as_ref().map_or(1.0, |epochs| epochs.watched.factor);
        let rate = |update: u64| plan.learning_rate.at(update) * factor;
        let started = Instant::now();
        if self.verification.is_some() && self.pace.check_is_due(done) {
            let loss = self.check(rate(done), trace).await?;
            self.pace.checked(started.elapsed());
            return Ok(vec![loss]);
        }
        let updates = plan.batches.updates();
        let mut count = self.pace.updates(self.worker.max_updates()).min(updates - done).min(until);
        count = count.min(self.pace.until_check(done));
        if plan.eval_every > 0 {
            count = count.min(plan.eval_every - done % plan.eval_every);
        }
        if self.epochs.is_some() {
            count = count.min(plan.batches.epoch() - done % plan.batches.epoch());
        }
        let batches: Vec<Batch> = (done..done + count).map(|i| plan.batches.get(i)).collect();
        let rates: Vec<f64> = (done..done + count).map(rate).collect();
        let losses = match (reduce, &self.good) {
            (Some(reduce), _) => self.run_reduced(&batches, &rates, &mut **reduce, trace).await?,
            (None, Some(_)) => self.run_or_skip(done, &batches, &rates, trace).await?,
            (None, None) => self.worker.run(&batches, &rates, plan.trace.then_some(trace)).await?,
        };
        let rows = batches.iter().map(|batch| batch.rows).sum();
        self.pace.ran(count, rows, started.elapsed());
        Ok(losses)
    }

    /// Makes updates from gradients that are summed over several processes.
    async fn run_reduced(
        &mut self,
        batches: &[Batch],
        rates: &[f64],
        reduce: &mut dyn Reduce,
        trace: &mut Vec<Vec<f64>>,
    ) -> Result<Vec<f64>, TrainError> {
        let mut losses = Vec::with_capacity(batches.len());
        for (&batch, &lr) in batches.iter().zip(rates) {
            let worker = self.worker.split().ok_or(TrainError::NoSplit)?;
            let mut gradient = worker.gradient(reduce.share(batch)).await?;
            reduce.reduce(&mut gradient).map_err(TrainError::Reduce)?;
            let loss = worker.apply(&gradient, lr).await?;
            let update = self.done + losses.len() as u64 + 1;
            self.is_finite_or_undone(update, loss).await?;
            if self.plan.trace {
                trace.push(self.worker.params().await?);
            }
            losses.push(loss);
        }
        Ok(losses)
    }

    /// Checks the losses of the latest updates, and reports all of them but the last one of the run.
    async fn report_updates(
        &mut self,
        losses: &[f64],
        trace: &[Vec<f64>],
        context: &mut RunContext<'_>,
    ) -> Result<(), TrainError> {
        let plan = self.plan;
        let first = self.done + 1;
        for (update, &loss) in (first..).zip(losses) {
            self.watch(update, loss)?;
            if let (Some(epochs), true) = (&mut self.epochs, loss.is_finite()) {
                epochs.batch(loss, plan.batches.get(update - 1).rows);
            }
        }
        self.done += losses.len() as u64;
        self.batch_loss = losses.last().copied().unwrap_or(f64::NAN);
        if let (Some(epochs), true) = (&mut self.epochs, self.done.is_multiple_of(plan.batches.epoch()))
        {
            self.stopped_early = epochs.end(self.worker, plan.learning_rate.at(self.done - 1)).await?;
        }
        for (i, (update, &batch_loss)) in (first..).zip(losses).enumerate() {
            if update == self.done && self.is_over() {
                break;
            }
            // Submissions end at the updates after which the loss is evaluated.
            let mut loss = None;
            if plan.eval_every > 0 && update.is_multiple_of(plan.eval_every) {
                let now = self.worker.evaluate(0, plan.rows, self.shift).await?.mean_loss();
                self.watch(update, now)?;
                self.compare(now);
                loss = Some(now);
            }
            let params = trace.get(i).map(Vec::as_slice);
            let rows_per_second = self.pace.rows_per_second();
            context.report(Progress { update, batch_loss, loss, params, rows_per_second })?;
        }
        Ok(())
    }

    /// Records a loss over all rows.
    fn compare(&mut self, loss: f64) {
        if loss.is_finite() && self.best.is_none_or(|best| loss < best.loss) {
            self.best = Some(Best { update: self.done, loss });
        }
    }

    /// Evaluates the final parameters.
    async fn finish(
        mut self,
        traced: Option<Vec<f64>>,
        context: &mut RunContext<'_>,
    ) -> Result<Report, TrainError> {
        let TrainPlan { recipe, rows, stopping, .. } = self.plan;
        // An infinite moment freezes its parameter, and no loss shows it.
        if !self.worker.save().await?.is_finite() {
            return Err(TrainError::Overflow { update: self.done, cause: Cause::Unknown });
        }
        self.check_end().await?;
        // A trace has the parameters without the average.
        let traced = match (self.plan.trace, traced) {
            (true, None) => Some(self.worker.params().await?),
            (_, traced) => traced,
        };
        self.worker.take_average().await?;
        let evaluation = self.evaluate(0, *rows, self.shift).await?;
        let loss = evaluation.mean_loss();
        self.watch(self.done, loss)?;
        self.compare(loss);
        let (update, batch_loss) = (self.done, self.batch_loss);
        let (params, rows_per_second) = (traced.as_deref(), self.pace.rows_per_second());
        context.report(Progress { update, batch_loss, loss: Some(loss), params, rows_per_second })?;
        let validation = match stopping.map_or(0, |stopping| stopping.validation_rows) {
            0 => None,
            held_out => {
                let shift = near_mean(self.problem, *rows, held_out)?;
                Some(self.evaluate(*rows, held_out, shift).await?)
            }
        };
        let params = self.worker.params().await?;
        Ok(Report {
            updates: self.done,
            skipped: self.skips.total,
            stopped_early: self.stopped_early && self.done < self.plan.batches.updates(),
            best: self.best,
            timed_rows: self.pace.rows(),
            initial_loss: self.initial_loss,
            loss,
            objective: loss + recipe.penalty.of(&params[..recipe.model.weights()]),
            evaluation,
            validation,
            stopping: self.epochs.as_ref().map(EpochMonitor::basis),
            training: self.pace.training(),
            verifying: self.pace.verifying(),
            params,
            verification: self.verification,
        })
    }

    async fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> Result<Evaluation, TrainError> {
        evaluate(self.worker, self.problem, self.stop, (first, rows, shift), self.done).await
    }
}
