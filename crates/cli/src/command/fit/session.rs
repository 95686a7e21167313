//! Results of a fit while it runs, and where it resumes from.

use super::checkpoints::CheckpointWriter;
use super::outputs::{self, Outputs};
use super::report::Run;
use super::{Fit, report};
use crate::command::device::Description;
use crate::command::log::{Log, Logged};
use crate::command::{Failure, output};
use std::path::Path;
use wgpu_optim::regression::train::{RunState, TrainPlan};

/// A fit while it runs.
pub struct Session {
    pub runs: Vec<Run>,
    pub log: Option<Log>,
    pub checkpoints: Option<CheckpointWriter>,
    /// The progress of each plan's run.
    pub progress: Vec<RunProgress>,
    /// Why a result that is written during training is missing.
    pub unwritten: Vec<Failure>,
}

/// The progress of a run.
#[derive(Default)]
pub struct RunProgress {
    /// The checkpoint that it resumes from, if any.
    pub state: Option<RunState>,
    /// The last update that was reported.
    pub last_reported: u64,
    /// (update, loss) for the plot.
    pub points: Vec<(f64, f64)>,
}

impl RunProgress {
    fn new(plan: &TrainPlan, state: Option<RunState>) -> Self {
        let last_reported = state.as_ref().map_or(0, |state| {
            let progress = &state.progress;
            let over = progress.stopped_early || progress.update == plan.batches.updates();
            // The last update of a run is reported after its last state: a log shows whether it was.
            progress.update - u64::from(over)
        });
        RunProgress { state, last_reported, points: Vec::new() }
    }

    /// The last update of the checkpoint.
    fn update(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.progress.update)
    }
}

impl Session {
    /// Starts a fit, or resumes it.
    pub fn open(fit: &Fit, outputs: &Outputs, device: &Description) -> Result<Self, Failure> {
        let arguments = &fit.arguments.checkpoints;
        let (checkpoints, states) = match &outputs.checkpoints {
            Some(folder) => {
                let (writer, states) = CheckpointWriter::open(fit, folder, arguments, device.line())?;
                outputs.configuration(&writer)?;
                (Some(writer), states)
            }
            None => (None, vec![None; fit.plans.len()]),
        };
        let progress = fit.plans.iter().zip(states).map(|(plan, state)| RunProgress::new(plan, state));
        let progress = progress.collect();
        let mut session =
            Session { runs: Vec::new(), log: None, checkpoints, progress, unwritten: Vec::new() };
        if let Some(path) = &outputs.log {
            session.open_log(fit, path)?;
        }
        Ok(session)
    }

    fn open_log(&mut self, fit: &Fit, path: &Path) -> Result<(), Failure> {
        let with_line = fit.arguments.data == "blog" && fit.model.params() == 2;
        if !fit.arguments.checkpoints.resume {
            self.log = Some(Log::create(path, with_line)?);
        } else {
            let place = |logged: &Logged| {
                fit.plans.iter().position(|plan| plan.recipe.rule.name() == logged.optimizer)
            };
            let keeps = |logged: &Logged| {
                place(logged).is_some_and(|run| logged.update <= self.progress[run].update())
            };
            let (log, kept) = Log::resume(path, with_line, keeps)?;
            self.log = Some(log);
            self.note_missing_lines(fit, path, &kept);
            for logged in kept {
                let Some(run) = place(&logged) else { continue };
                let RunProgress { last_reported, points, .. } = &mut self.progress[run];
                *last_reported = logged.update.max(*last_reported);
                let loss = fit.plotted(logged.update, logged.batch_loss, logged.loss);
                points.extend(loss.map(|loss| (logged.update as f64, loss)));
            }
        }
        if let (Some(checkpoints), Some(log)) = (&self.checkpoints, &self.log) {
            let file = log.file();
            let file = file.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
            checkpoints.sync_log(file);
        }
        Ok(())
    }

    /// Warns if the log of an earlier run ends before its checkpoint.
    fn note_missing_lines(&self, fit: &Fit, path: &Path, kept: &[Logged]) {
        for (plan, RunProgress { last_reported, .. }) in fit.plans.iter().zip(&self.progress) {
            let name = plan.recipe.rule.name();
            let lines = kept.iter().filter(|logged| logged.optimizer == name);
            let last = lines.map(|logged| logged.update).max().unwrap_or(0);
            let due = last_reported - last_reported % fit.log_every;
            if last < due {
                output::note(&format!(
                    "warning: {}: lines of {name} from update {} to {last_reported} are missing",
                    path.display(),
                    last + 1
                ));
            }
        }
    }

    /// Reports the runs that were made: on standard output, and in files if the whole fit succeeded. Each result is
    /// written by itself, the model first; failures to write are reported after all others are written.
    pub fn close(
        self,
        fit: &Fit,
        outputs: &Outputs,
        device: Description,
        outcome: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Session { runs, log, checkpoints, unwritten: mut failures, .. } = self;
        let trained = outcome.is_ok();
        let report = report::json(device.clone(), &fit.problem, &fit.model, &runs);
        if let (true, Some(path), Some(run)) = (trained, &outputs.out, runs.last()) {
            let saved = run.saved(&fit.problem, &fit.model, fit.arguments).save(path);
            failures.extend(saved.err().map(Failure::from));
        }
        if let Some(log) = log {
            let ended = if trained { log.finish() } else { log.error().map_or(Ok(()), Err) };
            failures.extend(ended.err());
        }
        failures.extend(checkpoints.as_ref().and_then(CheckpointWriter::log_error));
        if trained {
            let drawn = outputs.plot.as_ref().map_or(Ok(()), |path| fit.draw(path, &runs));
            let reported = outputs.report(outputs::REPORT, &report);
            let verified = outputs.report(outputs::VERIFICATION, &report::verifications(&runs));
            failures.extend([drawn, reported, verified].into_iter().filter_map(Result::err));
        }
        if !runs.is_empty() {
            let printed = match fit.arguments.output.json {
                true => output::json(&report),
                false => output::text(&report::table(&device, &fit.problem, &fit.model, &runs)),
            };
            failures.extend(printed.err());
        }
        drop(checkpoints);
        failures.extend(outcome.and_then(|()| report::verdict(&runs)).err());
        Failure::of_all(failures)
    }
}
