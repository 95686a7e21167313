//! The loop: batches → gradient → step → what is to be told about it.

use super::epochs::EpochMonitor;
use super::keep::Keep;
use super::pace::Pace;
use super::state::{Best, LoopState, NonFiniteCount, Numbers, RunState, WorkerState};
use super::{Cause, Progress, Report, TrainError, TrainPlan, VerifyEvery, Worker};
use crate::Evaluation;
use crate::regression::Batch;
use crate::regression::verification::{self, ObservedStep, Verification};
use crate::regression::{Problem, ProblemError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A loss that grew by this factor since the start will not come back.
const DIVERGED: f64 = 1e6;
/// Numbers of X that are read at once only for the targets beside them.
const READ: u64 = 1 << 22;
/// Numbers of X between two looks at whether to stop, where all rows are evaluated.
const EVALUATED: u64 = 1 << 28;

/// Runs `plan` on `worker`, which must be fresh, and tells `observer` after every update.
///
/// # Errors
/// [`TrainError`]: divergence with its update, interruption by `stop`, or a failing device.
pub fn train(
    problem: &Problem,
    plan: &TrainPlan,
    worker: &mut dyn Worker,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Progress) -> Result<(), String>,
) -> Result<Report, TrainError> {
    train_keeping(problem, plan, worker, stop, observer, &mut Keep::new(&mut |_| Ok(())))
}

/// [`train`], from where `keep` says, and with the state of the run saved as it says. A run that is gone on with
/// comes to the same bits as one that never stopped.
///
/// # Errors
/// Those of [`train`]. [`Keep::state`] is then a state that can be gone on from, if there was any: where states
/// are saved, after an interruption that of the last update.
pub fn train_keeping(
    problem: &Problem,
    plan: &TrainPlan,
    worker: &mut dyn Worker,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Progress) -> Result<(), String>,
    keep: &mut Keep,
) -> Result<Report, TrainError> {
    let trained = run_all(problem, plan, worker, stop, observer, keep);
    trained.map_err(|error| error.explained(problem, plan))
}

fn run_all(
    problem: &Problem,
    plan: &TrainPlan,
    worker: &mut dyn Worker,
    stop: &AtomicBool,
    observer: &mut dyn FnMut(Progress) -> Result<(), String>,
    keep: &mut Keep,
) -> Result<Report, TrainError> {
    let mut run = Run::new(problem, plan, worker, stop, keep.state.as_ref())?;
    let began = run.done;
    let mut trace = Vec::new();
    while !run.is_over() {
        if stop.load(Ordering::Relaxed) {
            if keep.saves() || keep.copies {
                run.copy(keep)?;
            }
            if keep.saves() {
                keep.save_copy().map_err(TrainError::Observer)?;
            }
            return Err(TrainError::Interrupted { update: run.done });
        }
        if keep.copy_is_due() {
            run.copy(keep)?;
        }
        trace.clear();
        let losses = run.submit(keep.until(run.done), &mut trace)?;
        run.tell(&losses, &trace, observer)?;
        if keep.saves() && (run.is_over() || keep.save_is_due(run.done)) {
            run.copy(keep)?;
            keep.save_copy().map_err(TrainError::Observer)?;
        }
    }
    // Of the last update there is more to tell, and whoever goes on from the end has it all still to be told.
    let last = if run.done > began { trace.pop() } else { None };
    run.report(last, observer)
}

/// An f32 near the targets' mean over so many rows from `first` on: that of the first of them which weigh something. A
/// few rows are in memory at a time.
fn near_mean(problem: &Problem, first: u64, rows: u64) -> Result<f64, ProblemError> {
    let rows = rows.min(4096);
    let part = (READ / problem.features.max(1) as u64).clamp(1, rows.max(1));
    let weighs = |side: &&[f32]| !problem.weighted || side[problem.targets] > 0.0;
    let (mut sum, mut count) = (0.0, 0.0f64);
    for at in (0..rows).step_by(part as usize) {
        let (_, sides) = problem.rows_of::<f32>(&Batch::new(first + at, part.min(rows - at)))?;
        for side in sides.chunks(problem.side()).filter(weighs) {
            sum += f64::from(side[0]);
            count += 1.0;
        }
    }
    Ok(((sum / count.max(1.0)) as f32).into())
}

/// A run that has begun.
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
    /// The state ahead of what is submitted next, where updates may have to be taken back.
    good: Option<WorkerState>,
    done: u64,
    batch_loss: f64,
    stopped_early: bool,
}

impl<'a> Run<'a> {
    fn new(
        problem: &'a Problem,
        plan: &'a TrainPlan,
        worker: &'a mut dyn Worker,
        stop: &'a AtomicBool,
        from: Option<&RunState>,
    ) -> Result<Self, TrainError> {
        let shift = near_mean(problem, 0, problem.rows)?;
        let progress = match from {
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

    /// Copies the state.
    fn copy(&mut self, keep: &mut Keep) -> Result<(), TrainError> {
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
        keep.copied(RunState { worker, progress }, started);
        Ok(())
    }

    /// A loss that a run does not come back from.
    fn watch(&self, update: u64, loss: f64) -> Result<(), TrainError> {
        let initial_loss = self.initial_loss;
        let grown = initial_loss > 0.0 && loss > DIVERGED * initial_loss && loss.is_finite();
        // Where updates are skipped, what is not finite has been seen to.
        if !grown && (loss.is_finite() || self.plan.max_skips > 0) {
            return Ok(());
        }
        Err(TrainError::Diverged { update, loss, initial_loss, cause: Cause::Unknown })
    }

    /// Makes one update that is checked, or some that are not, at most `until`, and returns their losses.
    fn submit(&mut self, until: u64, trace: &mut Vec<Vec<f64>>) -> Result<Vec<f64>, TrainError> {
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
        let losses = match self.good {
            Some(_) => self.run_or_skip(done, &batches, &rates, trace)?,
            None => self.worker.run(&batches, &rates, plan.trace.then_some(trace))?,
        };
        let rows = batches.iter().map(|batch| batch.rows).sum();
        self.pace.ran(count, rows, started.elapsed());
        Ok(losses)
    }

    /// Makes an update, and again in f64.
    fn check(&mut self, lr: f64, trace: &mut Vec<Vec<f64>>) -> Result<f64, TrainError> {
        let plan = self.plan;
        let ahead = self.average_to_check()?;
        let step = self.observe(lr)?;
        let loss = f64::from(step.gradient.loss);
        let made = self.was_made(self.done + 1, loss)?;
        if made {
            self.compare_step(&step, ahead)?;
        }
        if plan.trace {
            let snapshot = if made { &step.after } else { &step.before };
            trace.push(snapshot.params.iter().map(|&p| p.into()).collect());
        }
        Ok(loss)
    }

    /// Makes the next update, and tells all of it.
    fn observe(&mut self, lr: f64) -> Result<ObservedStep, TrainError> {
        let (plan, model) = (self.plan, &self.plan.recipe.model);
        let batch = plan.batches.get(self.done);
        let sample = verification::sample(batch, self.problem.features * model.outputs, self.done + 1);
        Ok(self.worker.run_observed(batch, lr, sample)?)
    }

    /// The moving average, where there is one and updates are checked.
    fn average_to_check(&mut self) -> Result<Option<Numbers>, TrainError> {
        match self.plan.recipe.average {
            Some(_) => Ok(self.worker.save()?.average),
            None => Ok(None),
        }
    }

    /// Compares an update that was made with its definition; `ahead` is the average ahead of it.
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

    /// Checks one update more where the run ended at one that nobody knew to be the last: it is made from the
    /// state that the run ended with, and taken back.
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

    /// Makes updates of which some may be skipped: where they come to something that is not finite they are
    /// taken back, and made again in halves.
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
            if !self.was_made(done + 1, loss)?
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

    /// Whether an update may stay, where some are skipped; if not it is taken back.
    fn was_made(&mut self, update: u64, loss: f64) -> Result<bool, TrainError> {
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

    /// Looks at the losses of the updates that were made last, and tells of all of them but the very last one.
    fn tell(
        &mut self,
        losses: &[f64],
        trace: &[Vec<f64>],
        observer: &mut dyn FnMut(Progress) -> Result<(), String>,
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
            // Submissions end where the loss is due.
            let mut loss = None;
            if plan.eval_every > 0 && update.is_multiple_of(plan.eval_every) {
                let now = self.worker.evaluate(0, plan.rows, self.shift)?.mean_loss();
                self.watch(update, now)?;
                self.compare(now);
                loss = Some(now);
            }
            let params = trace.get(i).map(Vec::as_slice);
            let rows_per_second = self.pace.rows_per_second();
            observer(Progress { update, batch_loss, loss, params, rows_per_second })
                .map_err(TrainError::Observer)?;
        }
        Ok(())
    }

    /// A loss over all rows was taken.
    fn compare(&mut self, loss: f64) {
        if loss.is_finite() && self.best.is_none_or(|best| loss < best.loss) {
            self.best = Some(Best { update: self.done, loss });
        }
    }

    /// What it has come to.
    fn report(
        mut self,
        traced: Option<Vec<f64>>,
        observer: &mut dyn FnMut(Progress) -> Result<(), String>,
    ) -> Result<Report, TrainError> {
        let TrainPlan { recipe, rows, stopping, .. } = self.plan;
        // A moment that is infinite keeps its parameter where it is, and no loss tells of it.
        if !self.worker.save()?.is_finite() {
            return Err(TrainError::Overflow { update: self.done, cause: Cause::Unknown });
        }
        self.check_end()?;
        // As a trace has them: ahead of the average.
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
        observer(Progress { update, batch_loss, loss: Some(loss), params, rows_per_second })
            .map_err(TrainError::Observer)?;
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

/// The loss over all rows before the first update.
fn initial_loss(
    problem: &Problem,
    plan: &TrainPlan,
    worker: &mut dyn Worker,
    stop: &AtomicBool,
    shift: f64,
) -> Result<f64, TrainError> {
    let initial = evaluate(worker, problem, stop, (0, plan.rows, shift), 0)?;
    if initial.weight == 0.0 {
        return Err(TrainError::NoWeight);
    }
    let loss = initial.mean_loss();
    // What is skipped may well be why.
    if !loss.is_finite() && plan.max_skips == 0 {
        return Err(TrainError::NotFinite { loss, cause: Cause::Unknown });
    }
    Ok(loss)
}

/// Evaluates rows outside of the updates, where there is a state to go on from whenever it is to stop.
fn evaluate(
    worker: &mut dyn Worker,
    problem: &Problem,
    stop: &AtomicBool,
    (first, rows, shift): (u64, u64, f64),
    update: u64,
) -> Result<Evaluation, TrainError> {
    let part = match EVALUATED / problem.features as u64 {
        // Whole batches of what sums them.
        many if many >= 1 << 16 => many >> 16 << 16,
        few => few.max(1),
    };
    let mut all = Evaluation { shift, ..Evaluation::default() };
    for at in (0..rows).step_by(part as usize) {
        if stop.load(Ordering::Relaxed) {
            return Err(TrainError::Interrupted { update });
        }
        all.add(&worker.evaluate(first + at, part.min(rows - at), shift)?);
    }
    Ok(all)
}
