//! The loop: batches → gradient → step → events.

use super::clock::Instant;
use super::epochs::EpochMonitor;
use super::losses::{evaluate, initial_loss, near_mean};
use super::observer::Observer;
use super::pace::Pace;
use super::snapshots::Snapshots;
use super::state::{Best, LoopState, NonFiniteCount, Numbers, RunState, WorkerState};
use super::{Cause, Progress, Reduce, Report, TrainError, TrainPlan, VerifyEvery, Worker};
use crate::Evaluation;
use crate::regression::verification::{self, ObservedStep, Verification};
use crate::regression::{Batch, Problem};
use std::sync::atomic::{AtomicBool, Ordering};

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
pub fn train(
    problem: &Problem,
    worker: &mut dyn Worker,
    context: &mut RunContext,
) -> Result<Report, TrainError> {
    let trained = run_all(problem, worker, context);
    trained.map_err(|error| error.explained(problem, context.plan))
}

fn run_all(
    problem: &Problem,
    worker: &mut dyn Worker,
    context: &mut RunContext,
) -> Result<Report, TrainError> {
    let mut run = Run::new(problem, worker, context)?;
    let began = run.done;
    let mut trace = Vec::new();
    while !run.is_over() {
        if context.stop.load(Ordering::Relaxed) {
            if context.snapshots.are_saved() {
                run.snapshot(&mut context.snapshots)?;
                context.save()?;
            }
            return Err(TrainError::Interrupted { update: run.done });
        }
        if context.snapshots.snapshot_is_due() {
            run.snapshot(&mut context.snapshots)?;
        }
        trace.clear();
        let until = context.snapshots.until_save(run.done);
        let losses = run.submit(until, &mut context.reduce, &mut trace)?;
        run.report_updates(&losses, &trace, context)?;
        let snapshots = &mut context.snapshots;
        if snapshots.are_saved() && (run.is_over() || snapshots.save_is_due(run.done)) {
            run.snapshot(snapshots)?;
            context.save()?;
        }
    }
    // The report of the last update needs the final loss; a run that resumes from the end reports it too.
    let last = if run.done > began { trace.pop() } else { None };
    run.finish(last, context)
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
    fn new<'c: 'a>(
        problem: &'a Problem,
        worker: &'a mut dyn Worker,
        context: &RunContext<'c>,
    ) -> Result<Self, TrainError> {
        let (plan, stop) = (context.plan, context.stop);
        let shift = near_mean(problem, 0, problem.rows)?;
        let progress = match &context.snapshots.latest {
            Some(state) => {
                worker.restore(&state.worker)?;
                state.progress.clone()
            }
            None => LoopState::at_start(initial_loss(problem, plan, worker, stop, shift)?),
        };
        let epochs = match &plan.stopping {
            Some(stopping) => {
                let shift = match stopping.validation_rows {
                    0 => shift,
                    rows => near_mean(problem, plan.rows, rows)?,
                };
                Some(EpochMonitor::new(*stopping, progress.watched.clone(), worker, plan, shift)?)
            }
            None => None,
        };
        let verifies = plan.verify != VerifyEvery::Never;
        let good = (plan.max_skips > 0).then(|| worker.save()).transpose()?;
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
    fn snapshot(&mut self, snapshots: &mut Snapshots) -> Result<(), TrainError> {
        let started = Instant::now();
        let worker = self.worker.save()?;
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
    fn submit(
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
            let loss = self.check(rate(done), trace)?;
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
            (Some(reduce), _) => self.run_reduced(&batches, &rates, &mut **reduce, trace)?,
            (None, Some(_)) => self.run_or_skip(done, &batches, &rates, trace)?,
            (None, None) => self.worker.run(&batches, &rates, plan.trace.then_some(trace))?,
        };
        let rows = batches.iter().map(|batch| batch.rows).sum();
        self.pace.ran(count, rows, started.elapsed());
        Ok(losses)
    }

    /// Makes updates from gradients that are summed over several processes.
    fn run_reduced(
        &mut self,
        batches: &[Batch],
        rates: &[f64],
        reduce: &mut dyn Reduce,
        trace: &mut Vec<Vec<f64>>,
    ) -> Result<Vec<f64>, TrainError> {
        let mut losses = Vec::with_capacity(batches.len());
        for (&batch, &lr) in batches.iter().zip(rates) {
            let worker = self.worker.split().ok_or(TrainError::NoSplit)?;
            let mut gradient = worker.gradient(reduce.share(batch))?;
            reduce.reduce(&mut gradient).map_err(TrainError::Reduce)?;
            let loss = worker.apply(&gradient, lr)?;
            let update = self.done + losses.len() as u64 + 1;
            self.is_finite_or_undone(update, loss)?;
            if self.plan.trace {
                trace.push(self.worker.params()?);
            }
            losses.push(loss);
        }
        Ok(losses)
    }

    /// Makes an update and compares it with its definition.
    fn check(&mut self, lr: f64, trace: &mut Vec<Vec<f64>>) -> Result<f64, TrainError> {
        let plan = self.plan;
        let ahead = self.average_to_check()?;
        let step = self.observe(lr)?;
        let loss = f64::from(step.gradient.loss);
        let made = self.is_finite_or_undone(self.done + 1, loss)?;
        if made {
            self.compare_step(&step, ahead)?;
        }
        if plan.trace {
            let snapshot = if made { &step.after } else { &step.before };
            trace.push(snapshot.params.iter().map(|&p| p.into()).collect());
        }
        Ok(loss)
    }

    /// Makes the next update, with its inputs and outputs.
    fn observe(&mut self, lr: f64) -> Result<ObservedStep, TrainError> {
        let (plan, model) = (self.plan, &self.plan.recipe.model);
        let batch = plan.batches.get(self.done);
        let sample = verification::sample(batch, self.problem.features * model.outputs, self.done + 1);
        Ok(self.worker.run_observed(batch, lr, sample)?)
    }

    /// The moving average, if there is one.
    fn average_to_check(&mut self) -> Result<Option<Numbers>, TrainError> {
        match self.plan.recipe.average {
            Some(_) => Ok(self.worker.save()?.average),
            None => Ok(None),
        }
    }

    /// Compares an update with its definition; `ahead` is the average before it.
    fn compare_step(&mut self, step: &ObservedStep, ahead: Option<Numbers>) -> Result<(), TrainError> {
        let behind = self.average_to_check()?;
        let Some(report) = &mut self.verification else { return Ok(()) };
        verification::check(report, &self.plan.recipe, self.problem, step)?;
        if let (Some(decay), Some(ahead), Some(behind)) = (self.plan.recipe.average, ahead, behind) {
            let (ahead, behind) = (ahead.singles(), behind.singles());
            verification::check_average(report, decay, step.t, &ahead, &step.after.params, &behind);
        }
        Ok(())
    }

    /// Checks one update more if the run stopped early, at an update that was not known to be the last: it starts from
    /// the final state, and is undone.
    fn check_end(&mut self) -> Result<(), TrainError> {
        let checked = self.verification.as_ref().map(Verification::last_update);
        let due =
            self.plan.verify == VerifyEvery::Budget && checked.is_some_and(|last| last < self.done);
        if !due || self.done >= self.plan.batches.updates() {
            return Ok(());
        }
        let started = Instant::now();
        let state = self.worker.save()?;
        let factor = self.epochs.as_ref().map_or(1.0, |epochs| epochs.watched.factor);
        let step = self.observe(self.plan.learning_rate.at(self.done) * factor)?;
        if step.gradient.loss.is_finite() && self.worker.save()?.is_finite() {
            self.compare_step(&step, state.average.clone())?;
        }
        self.worker.restore(&state)?;
        self.pace.checked(started.elapsed());
        Ok(())
    }

    /// Makes updates of which some may be skipped: if the result is not finite, they are undone and repeated in
    /// halves.
    fn run_or_skip(
        &mut self,
        done: u64,
        batches: &[Batch],
        rates: &[f64],
        trace: &mut Vec<Vec<f64>>,
    ) -> Result<Vec<f64>, TrainError> {
        let traced = trace.len();
        let mut losses = self.worker.run(batches, rates, self.plan.trace.then_some(&mut *trace))?;
        if let [loss] = losses[..] {
            if !self.is_finite_or_undone(done + 1, loss)?
                && let Some(last) = trace.last_mut()
            {
                *last = self.worker.params()?;
            }
            return Ok(losses);
        }
        let state = self.worker.save()?;
        if state.is_finite() && losses.iter().all(|loss| loss.is_finite()) {
            self.skips.in_a_row = 0;
            self.good = Some(state);
            return Ok(losses);
        }
        if let Some(good) = &self.good {
            self.worker.restore(good)?;
        }
        trace.truncate(traced);
        let (first, second) = batches.split_at(batches.len() / 2);
        let (first_rates, second_rates) = rates.split_at(first.len());
        losses = self.run_or_skip(done, first, first_rates, trace)?;
        let done = done + first.len() as u64;
        losses.extend(self.run_or_skip(done, second, second_rates, trace)?);
        Ok(losses)
    }

    /// Whether an update is finite, if some may be skipped; if not, it is undone.
    fn is_finite_or_undone(&mut self, update: u64, loss: f64) -> Result<bool, TrainError> {
        let Some(good) = &mut self.good else { return Ok(true) };
        let state = self.worker.save()?;
        if loss.is_finite() && state.is_finite() {
            self.skips.in_a_row = 0;
            *good = state;
            return Ok(true);
        }
        self.worker.restore(good)?;
        self.skips.total += 1;
        self.skips.in_a_row += 1;
        let skips = self.skips.in_a_row;
        if skips >= self.plan.max_skips {
            return Err(TrainError::Skipped { update, skips, cause: Cause::Unknown });
        }
        Ok(false)
    }

    /// Checks the losses of the latest updates, and reports all of them but the last one of the run.
    fn report_updates(
        &mut self,
        losses: &[f64],
        trace: &[Vec<f64>],
        context: &mut RunContext,
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
            self.stopped_early = epochs.end(self.worker, plan.learning_rate.at(self.done - 1))?;
        }
        for (i, (update, &batch_loss)) in (first..).zip(losses).enumerate() {
            if update == self.done && self.is_over() {
                break;
            }
            // Submissions end at the updates after which the loss is evaluated.
            let mut loss = None;
            if plan.eval_every > 0 && update.is_multiple_of(plan.eval_every) {
                let now = self.worker.evaluate(0, plan.rows, self.shift)?.mean_loss();
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
    fn finish(
        mut self,
        traced: Option<Vec<f64>>,
        context: &mut RunContext,
    ) -> Result<Report, TrainError> {
        let TrainPlan { recipe, rows, stopping, .. } = self.plan;
        // An infinite moment freezes its parameter, and no loss shows it.
        if !self.worker.save()?.is_finite() {
            return Err(TrainError::Overflow { update: self.done, cause: Cause::Unknown });
        }
        self.check_end()?;
        // A trace has the parameters without the average.
        let traced = match (self.plan.trace, traced) {
            (true, None) => Some(self.worker.params()?),
            (_, traced) => traced,
        };
        self.worker.take_average()?;
        let evaluation = self.evaluate(0, *rows, self.shift)?;
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
                Some(self.evaluate(*rows, held_out, shift)?)
            }
        };
        let params = self.worker.params()?;
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

    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> Result<Evaluation, TrainError> {
        evaluate(self.worker, self.problem, self.stop, (first, rows, shift), self.done)
    }
}
