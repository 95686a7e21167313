//! The runs of a fit, one plan after the other over the same rows.

use super::Fit;
use super::checkpoints::CheckpointWriter;
use super::events::Events;
use super::report::Run;
use super::session::{RunProgress, Session};
use crate::command::device::SelectedDevice;
use crate::command::{Failure, output};
use wgpu_optim::regression::train::{Backend, Placement, TrainError, TrainingData};

impl Fit<'_> {
    /// Makes all runs.
    pub fn on(&self, device: SelectedDevice, session: &mut Session) -> Result<(), Failure> {
        let backend = device.map_or(Backend::Cpu, Backend::Gpu);
        let mut data = TrainingData::new(&self.problem, &self.plans, backend)
            .device_memory(self.arguments.placement.device_memory)
            .placement(self.arguments.synthetic.is_virtual.then_some(Placement::Virtual));
        for index in 0..self.plans.len() {
            let run = self.one(index, &mut data, session)?;
            session.runs.push(run);
        }
        Ok(())
    }

    /// Makes one run, from its checkpoint if there is one.
    fn one(&self, index: usize, data: &mut TrainingData, session: &mut Session) -> Result<Run, Failure> {
        let plan = &self.plans[index];
        let name = plan.recipe.rule.name();
        let Session { log, checkpoints, progress, .. } = session;
        let checkpoints = checkpoints.as_ref();
        let RunProgress { state, last_reported, points } = &mut progress[index];
        let mut events = Events::new(self, index, log.as_mut(), checkpoints, (last_reported, points))?;
        let trained = data
            .trainer(plan)
            .resume(state.take())
            .checkpoints(checkpoints.map(|checkpoints| checkpoints.policy))
            .stop(&self.signals.stop)
            .observer(&mut events)
            .run();
        events.finish();
        let unwritten = checkpoints.and_then(|checkpoints| checkpoints.finish(index).err());
        let outcome = match trained {
            Ok(outcome) => outcome,
            Err(error) => return Err(self.failure(error, unwritten, checkpoints, index)),
        };
        // The training succeeded: its results are written all the same.
        session.unwritten.extend(unwritten.map(|failure| failure.of(name)));
        let points = std::mem::take(&mut session.progress[index].points);
        let run = Run::new(plan, &self.problem, outcome, points);
        // Every optimizer has the same note on the same rows, which is printed once.
        if let Some(note) =
            run.note().filter(|note| !session.runs.iter().any(|run| run.note().as_ref() == Some(note)))
        {
            output::note(&note);
        }
        Ok(run)
    }

    /// The failure of a run, with the command that resumes it.
    fn failure(
        &self,
        error: TrainError,
        unwritten: Option<Failure>,
        checkpoints: Option<&CheckpointWriter>,
        index: usize,
    ) -> Failure {
        let resumable = |failure: Failure| match checkpoints {
            Some(_) => failure.and(&format!("resume with: {}", resume_command())),
            None => failure,
        };
        let error = match error {
            TrainError::Placement(error) => return error.into(),
            TrainError::Reopen(error) => return resumable(error.into()),
            TrainError::Lost(error) => {
                return resumable(self.failure(*error, unwritten, checkpoints, index));
            }
            error => error,
        };
        let interrupted = matches!(error, TrainError::Interrupted { .. });
        let failure = match (Failure::from(error), &unwritten) {
            // Without its checkpoint it is not an orderly end.
            (Failure::Interrupted(message, _), Some(_)) => Failure::Input(message),
            (Failure::Interrupted(message, _), None) => {
                Failure::Interrupted(message, self.signals.exit_code())
            }
            (other, _) => other,
        };
        let failure = match unwritten {
            // It may be what ended the run.
            Some(why) if !failure.to_string().contains(&why.to_string()) => {
                failure.and(&why.to_string())
            }
            _ => failure,
        };
        let last = checkpoints.and_then(|checkpoints| checkpoints.last(index));
        let failure = match last {
            Some(last) => failure.and(&format!("the last checkpoint is {}", last.display())),
            None => failure,
        };
        let failure = if interrupted { resumable(failure) } else { failure };
        failure.of(self.plans[index].recipe.rule.name())
    }

    /// The point of an update in the plot, if it has one: one quantity, the loss over all rows if it is evaluated,
    /// else the batch's.
    pub fn plotted(&self, update: u64, batch_loss: f64, loss: Option<f64>) -> Option<f64> {
        match self.eval_every {
            0 => update.is_multiple_of(self.log_every).then_some(batch_loss),
            _ => loss,
        }
    }
}

/// The command that resumes this fit.
fn resume_command() -> String {
    let mut words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    let quoted = shlex::try_join(words.iter().map(String::as_str));
    // No shell passes a word that cannot be quoted.
    quoted.unwrap_or_else(|_| words.join(" "))
}
