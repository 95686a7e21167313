//! What a fit has come to, and where it goes on from.

use super::keeping::CheckpointWriter;
use super::outputs::{self, Outputs};
use super::report::Run;
use super::{Fit, report};
use crate::command::device::Description;
use crate::command::log::{Log, Logged};
use crate::command::{Failure, output};
use std::path::Path;
use wgpu_optim::regression::train::{Plan, RunState};

/// A fit while it goes on.
pub struct Session {
    pub runs: Vec<Run>,
    pub log: Option<Log>,
    pub keeping: Option<CheckpointWriter>,
    /// Where the run of each plan stands.
    pub standings: Vec<RunProgress>,
    /// Why a result is not there that was to be written as training went on.
    pub unwritten: Vec<Failure>,
}

/// Where a run stands.
#[derive(Default)]
pub struct RunProgress {
    /// What it goes on from, if it is not the start.
    pub state: Option<RunState>,
    /// The last update that was told of: where a device is lost, some are made again.
    pub told: u64,
    /// (update, loss) for the plot.
    pub points: Vec<(f64, f64)>,
}

impl RunProgress {
    fn of(plan: &Plan, state: Option<RunState>) -> Self {
        let told = state.as_ref().map_or(0, |state| {
            let progress = &state.progress;
            let over = progress.stopped_early || progress.update == plan.batches.updates();
            // Of the last update it is told behind the last state: a log says whether it was.
            progress.update - u64::from(over)
        });
        RunProgress { state, told, points: Vec::new() }
    }

    /// The last update of the state.
    fn update(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.progress.update)
    }
}

impl Session {
    /// Begins, or goes on with what there is.
    pub fn open(fit: &Fit, outputs: &Outputs, device: &Description) -> Result<Self, Failure> {
        let arguments = &fit.arguments.keeping;
        let (keeping, states) = match &outputs.checkpoints {
            Some(folder) => {
                let (keeping, states) = CheckpointWriter::open(fit, folder, arguments, device.line())?;
                outputs.configuration(&keeping)?;
                (Some(keeping), states)
            }
            None => (None, vec![None; fit.plans.len()]),
        };
        let standings = fit.plans.iter().zip(states).map(|(plan, state)| RunProgress::of(plan, state));
        let standings = standings.collect();
        let mut session =
            Session { runs: Vec::new(), log: None, keeping, standings, unwritten: Vec::new() };
        if let Some(path) = &outputs.log {
            session.open_log(fit, path)?;
        }
        Ok(session)
    }

    fn open_log(&mut self, fit: &Fit, path: &Path) -> Result<(), Failure> {
        let with_line = fit.arguments.data == "blog" && fit.model.params() == 2;
        if !fit.arguments.keeping.resume {
            self.log = Some(Log::create(path, with_line)?);
        } else {
            let place = |logged: &Logged| {
                fit.plans.iter().position(|plan| plan.recipe.rule.name() == logged.optimizer)
            };
            let keeps = |logged: &Logged| {
                place(logged).is_some_and(|run| logged.update <= self.standings[run].update())
            };
            let (log, kept) = Log::resume(path, with_line, keeps)?;
            self.log = Some(log);
            self.note_missing_lines(fit, path, &kept);
            for logged in kept {
                let Some(run) = place(&logged) else { continue };
                let RunProgress { told, points, .. } = &mut self.standings[run];
                *told = logged.update.max(*told);
                let loss = fit.plotted(logged.update, logged.batch_loss, logged.loss);
                points.extend(loss.map(|loss| (logged.update as f64, loss)));
            }
        }
        if let (Some(keeping), Some(log)) = (&self.keeping, &self.log) {
            let file = log.file();
            keeping
                .with_log(file.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?);
        }
        Ok(())
    }

    /// Says where the log of an earlier run ends before its checkpoint.
    fn note_missing_lines(&self, fit: &Fit, path: &Path, kept: &[Logged]) {
        for (plan, RunProgress { told, .. }) in fit.plans.iter().zip(&self.standings) {
            let name = plan.recipe.rule.name();
            let lines = kept.iter().filter(|logged| logged.optimizer == name);
            let (last, due) =
                (lines.map(|logged| logged.update).max().unwrap_or(0), told - told % fit.log_every);
            if last < due {
                output::note(&format!(
                    "warning: {}: lines of {name} from update {} to {told} are missing",
                    path.display(),
                    last + 1
                ));
            }
        }
    }

    /// The update after which the run stands that is not made yet.
    pub fn update(&self) -> u64 {
        self.standings.get(self.runs.len()).map_or(0, RunProgress::update)
    }

    /// Saves where that run stands.
    pub fn save_copy(&self) {
        let run = self.runs.len();
        if let (Some(keeping), Some(state)) = (&self.keeping, &self.standings[run].state) {
            keeping.save(run, state);
        }
    }

    /// How the updates of all runs stand, to see whether there is progress.
    pub fn progress(&self) -> u64 {
        self.standings.iter().map(|standing| standing.told + standing.update()).sum()
    }

    /// Tells what was done, whatever became of the rest: on standard output, and in files where all went well. Each
    /// result is written for itself, the model first, and what could not be written is told when all others are there.
    pub fn close(
        self,
        fit: &Fit,
        outputs: &Outputs,
        device: Description,
        outcome: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Session { runs, log, keeping, unwritten: mut failures, .. } = self;
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
        failures.extend(keeping.as_ref().and_then(CheckpointWriter::log_error));
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
        drop(keeping);
        failures.extend(outcome.and_then(|()| report::verdict(&runs)).err());
        Failure::of_all(failures)
    }
}
