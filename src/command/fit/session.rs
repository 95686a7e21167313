//! What a fit has come to, and where it goes on from.

use super::super::log::{Log, Logged};
use super::super::{Failure, output};
use super::keeping::Keeping;
use super::outputs::Outputs;
use super::report::Run;
use super::{Fit, report};
use crate::command::device::Description;
use std::path::Path;
use wgpu_optim::train::{Plan, RunState};

/// A fit while it goes on.
pub struct Session {
    pub runs: Vec<Run>,
    pub log: Option<Log>,
    pub keeping: Option<Keeping>,
    /// Where the run of each plan stands.
    pub standings: Vec<Standing>,
}

/// Where a run stands.
#[derive(Default)]
pub struct Standing {
    /// What it goes on from, if it is not the start.
    pub state: Option<RunState>,
    /// The last update that was told of: where a device is lost, some are made again.
    pub told: u64,
    /// (update, loss) for the plot.
    pub points: Vec<(f64, f64)>,
}

impl Standing {
    fn of(plan: &Plan, state: Option<RunState>) -> Self {
        let told = state.as_ref().map_or(0, |state| {
            let progress = &state.progress;
            let over = progress.stopped_early || progress.update == plan.batches.updates();
            // Of the last update it is told behind the last state: a log says whether it was.
            progress.update - u64::from(over)
        });
        Standing { state, told, points: Vec::new() }
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
                let (keeping, states) = Keeping::open(fit, folder, arguments, device.line())?;
                outputs.configuration(&keeping)?;
                (Some(keeping), states)
            }
            None => (None, vec![None; fit.plans.len()]),
        };
        let standings = fit.plans.iter().zip(states).map(|(plan, state)| Standing::of(plan, state));
        let mut session =
            Session { runs: Vec::new(), log: None, keeping, standings: standings.collect() };
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
            let (log, kept) = Log::go_on(path, with_line, keeps)?;
            self.log = Some(log);
            for logged in kept {
                let Some(run) = place(&logged) else { continue };
                let Standing { told, points, .. } = &mut self.standings[run];
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

    /// The update after which the run stands that is not made yet.
    pub fn update(&self) -> u64 {
        self.standings.get(self.runs.len()).map_or(0, Standing::update)
    }

    /// Saves where that run stands.
    pub fn save_copy(&self) -> Result<(), Failure> {
        let run = self.runs.len();
        let (Some(keeping), Some(state)) = (&self.keeping, &self.standings[run].state) else {
            return Ok(());
        };
        keeping.save(run, state).map_err(Failure::Input)?;
        keeping.finish()
    }

    /// How the updates of all runs stand, to see whether there is progress.
    pub fn progress(&self) -> u64 {
        self.standings.iter().map(|standing| standing.told + standing.update()).sum()
    }

    /// Tells what was done, whatever became of the rest: on standard output, and in files where all went well.
    pub fn close(
        self,
        fit: &Fit,
        outputs: &Outputs,
        device: Description,
        outcome: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Session { runs, log, keeping, .. } = self;
        if runs.is_empty() {
            return outcome;
        }
        let report = report::json(device.clone(), &fit.problem, &fit.model, &runs);
        if fit.arguments.output.json {
            output::json(&report)?;
        } else {
            output::text(&report::table(&device, &fit.problem, &fit.model, &runs))?;
        }
        outcome?;
        if let Some(log) = log {
            log.finish()?;
        }
        if let Some(path) = &outputs.plot {
            fit.draw(path, &runs)?;
        }
        if let (Some(path), Some(run)) = (&outputs.out, runs.last()) {
            run.saved(&fit.problem, &fit.model, fit.arguments).save(path)?;
        }
        outputs.report("report.json", &report)?;
        outputs.report("verification.json", &report::verifications(&runs))?;
        drop(keeping);
        report::verdict(&runs)
    }
}
