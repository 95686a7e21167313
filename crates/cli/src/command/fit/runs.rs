//! Trains by each plan in turn, on whatever there is to train on.

use super::Fit;
use super::placement::Stopped;
use super::report::Run;
use super::session::{RunProgress, Session};
use crate::command::device::SelectedDevice;
use crate::command::progress::Bar;
use crate::command::{Failure, output};
use wgpu_optim::regression::device::Gpu;
use wgpu_optim::regression::reference;
use wgpu_optim::regression::reference::gradient::Rows;
use wgpu_optim::regression::train::{
    CpuWorker, GpuData, GpuWorker, HostRows, Keep, Progress, RunState, SmallBatchWorker, TrainError,
    Worker, train_keeping,
};

/// How often a device may be lost without an update in between.
const ATTEMPTS: u32 = 3;

impl Fit<'_> {
    /// Makes all runs that are not made yet. A device that is lost is opened again.
    pub fn on(&self, device: SelectedDevice, session: &mut Session) -> Result<(), Failure> {
        let Some(mut gpu) = device else { return self.on_processor(session) };
        let (mut stood, mut attempts) = (session.progress(), 0);
        loop {
            let outcome = self.on_device(&gpu, session);
            let (Err(failure), Some(reason)) = (&outcome, gpu.lost()) else { return outcome };
            if matches!(failure, Failure::Interrupted(..)) {
                return outcome;
            }
            let now = session.progress();
            attempts = if now > stood { 1 } else { attempts + 1 };
            stood = now;
            output::note(&format!("warning: {} was lost: {reason}", gpu.info.name));
            // The copy on the host may be newer than the last checkpoint.
            session.save_copy();
            let name = format!("{}:{}", gpu.info.backend, gpu.info.name);
            let opened = match attempts {
                ATTEMPTS => outcome.map(|()| gpu.clone()),
                _ => Gpu::open(Some(&name)).map_err(Failure::from),
            };
            gpu = match session.keeping {
                Some(_) => opened.map_err(|failure| failure.and(&format!("go on with: {}", go_on())))?,
                None => opened?,
            };
            output::note(&format!("Going on with it after update {}", session.update()));
        }
    }

    fn on_device(&self, gpu: &Gpu, session: &mut Session) -> Result<(), Failure> {
        let start = vec![0.0; self.model.params()];
        let batches = &self.plans[0].batches;
        self.placed(gpu, |placement, memory| {
            let data = GpuData::new(gpu, &self.problem, &self.model, batches, placement)
                .map_err(Stopped::allocating)?;
            for plan in &self.plans[session.runs.len()..] {
                let mut worker: Box<dyn Worker> = match self.is_small() {
                    true => Box::new(
                        SmallBatchWorker::new(&data, &plan.recipe, &start, batches)
                            .map_err(Stopped::allocating)?,
                    ),
                    false => Box::new(
                        GpuWorker::new(&data, &plan.recipe, &start, batches)
                            .map_err(Stopped::allocating)?,
                    ),
                };
                let before = data.stream_times();
                let run = self.one(&mut *worker, session, true)?;
                let run = run.streamed(before, data.stream_times());
                let run = run.submitted(data.take_submissions()).with_memory(memory.clone());
                session.runs.push(run);
            }
            Ok(())
        })
    }

    fn on_processor(&self, session: &mut Session) -> Result<(), Failure> {
        let start = vec![0.0; self.model.params()];
        let (held, memory) = self.in_memory()?;
        for plan in &self.plans {
            let rows = match &held {
                Some((x, sides)) => HostRows::Resident { x, sides },
                None => HostRows::OnDemand(&self.problem),
            };
            let mut worker = CpuWorker::<f32>::new(rows, &plan.recipe, &start)?;
            let run = self.one(&mut worker, session, false)?;
            session.runs.push(run.with_memory(memory.clone()));
        }
        Ok(())
    }

    /// Whether whole epochs go into one dispatch, whatever else is asked for: the same bits come of a problem
    /// wherever its rows are.
    pub fn is_small(&self) -> bool {
        SmallBatchWorker::fits(&self.problem, &self.plans[0].recipe, &self.plans[0].batches)
    }

    /// Makes the next run, from where it stands.
    fn one(&self, worker: &mut dyn Worker, session: &mut Session, copies: bool) -> Result<Run, Failure> {
        // Where nothing is trained yet, Ctrl-C just ends the program.
        self.signals.listen()?;
        let index = session.runs.len();
        let Session { log, keeping, standings, .. } = session;
        let RunProgress { state, told, points } = &mut standings[index];
        let plan = &self.plans[index];
        let name = plan.recipe.rule.name();
        let rows = plan.trace.then(|| self.problem.materialize::<f64>()).transpose()?;
        let mut bar = Bar::new(name, plan.batches.updates());
        let mut observe = |progress: Progress| {
            let update = progress.update;
            bar.set(update, progress.batch_loss, progress.rows_per_second);
            if update <= *told {
                return Ok(());
            }
            let traced = match (&rows, progress.params) {
                (Some((x, sides)), Some(params)) if update.is_multiple_of(self.eval_every) => {
                    let rows = Rows { x, sides }.part(&self.model, 0, plan.rows as usize);
                    Some(reference::evaluate(&self.model, rows, params, 0.0).mean_loss())
                }
                _ => None,
            };
            let loss = traced.or(progress.loss);
            let due = update.is_multiple_of(self.log_every);
            if self.plots {
                let point = self.plotted(update, progress.batch_loss, loss);
                points.extend(point.map(|loss| (update as f64, loss)));
            }
            if let Some(log) = log.as_mut().filter(|_| due || loss.is_some()) {
                log.add(name, &progress, loss);
            }
            *told = update;
            Ok(())
        };
        let keeping = keeping.as_ref();
        let mut save = |state: &RunState| {
            keeping.into_iter().for_each(|keeping| keeping.save(index, state));
            Ok(())
        };
        let mut keep = Keep::new(&mut save);
        (keep.state, keep.copies) = (state.take(), copies);
        if let Some(keeping) = keeping {
            (keep.every, keep.after) = (keeping.every, keeping.after);
        }
        let report =
            train_keeping(&self.problem, plan, worker, &self.signals.stop, &mut observe, &mut keep);
        *state = keep.state.take();
        bar.finish();
        let unwritten = keeping.and_then(|keeping| keeping.finish(index).err());
        let report = match report {
            Ok(report) => report,
            Err(error) => return Err(self.failure(error, unwritten, session, index).of(name)),
        };
        // What was trained is there, and is worth its results.
        session.unwritten.extend(unwritten.map(|failure| failure.of(name)));
        let points = std::mem::take(&mut session.standings[index].points);
        let run = Run::new(plan, &self.problem, report, points);
        // Each optimizer comes to the same on the same rows, and it is said once.
        if let Some(note) =
            run.note().filter(|note| !session.runs.iter().any(|run| run.note().as_ref() == Some(note)))
        {
            output::note(&note);
        }
        Ok(run)
    }

    /// What a run that has ended says, with where it can be gone on from.
    fn failure(
        &self,
        error: TrainError,
        unwritten: Option<Failure>,
        session: &Session,
        index: usize,
    ) -> Failure {
        let interrupted = matches!(error, TrainError::Interrupted { .. });
        let failure = match (Failure::from(error), &unwritten) {
            // What was to be saved is not: that is no end in good order.
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
        let Some(keeping) = &session.keeping else { return failure };
        let failure = match keeping.last(index) {
            Some(last) => failure.and(&format!("the last checkpoint is {}", last.display())),
            None => failure,
        };
        if interrupted { failure.and(&format!("go on with: {}", go_on())) } else { failure }
    }

    /// What a plot has of an update, if anything: one quantity, the loss over all rows if it is asked for, else
    /// the batch's.
    pub fn plotted(&self, update: u64, batch_loss: f64, loss: Option<f64>) -> Option<f64> {
        match self.eval_every {
            0 => update.is_multiple_of(self.log_every).then_some(batch_loss),
            _ => loss,
        }
    }
}

/// The command that goes on with this run.
fn go_on() -> String {
    let mut words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".into());
    }
    let quoted = shlex::try_join(words.iter().map(String::as_str));
    // What cannot be quoted no shell has given.
    quoted.unwrap_or_else(|_| words.join(" "))
}
