//! `--checkpoint` and `--resume`: a thread that writes checkpoints, and their reading.

use super::Fit;
use super::arguments::CheckpointArguments;
use crate::command::{Failure, output};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wgpu_optim::checkpoint::{CheckpointError, Checkpoints, Disk, Files};
use wgpu_optim::regression::train::{CheckpointPolicy, Configuration, Provenance, RunState, TrainPlan};

/// Default of `--checkpoint-seconds`.
const AFTER: Duration = Duration::from_secs(60);

/// The checkpoints of a fit.
pub struct CheckpointWriter {
    pub policy: CheckpointPolicy,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// One optimizer's run, as its checkpoints identify it.
pub struct RunKey {
    pub name: String,
    pub plan: TrainPlan,
    pub configuration: Configuration,
}

struct Shared {
    checkpoints: Checkpoints,
    runs: Vec<RunKey>,
    made_by: Provenance,
    queue: Mutex<WriteQueue>,
    /// Signalled when the queue changes.
    changed: Condvar,
}

/// The exchange between training and the thread that writes.
#[derive(Default)]
struct WriteQueue {
    /// The state to write next: the latest one, if they come faster than the disk writes.
    waiting: Option<(usize, RunState)>,
    writing: bool,
    closed: bool,
    /// For each run, why its latest checkpoint could not be written.
    errors: Vec<Option<String>>,
    /// Why the log could not be synced before a checkpoint.
    log_error: Option<String>,
    /// The last file of each run that was written.
    written: Vec<Option<PathBuf>>,
    /// The log, which is synced before a checkpoint so that it is never behind.
    log: Option<File>,
}

impl CheckpointWriter {
    /// Opens the directory, and returns the states to resume from; without `--resume` it must hold no checkpoints.
    pub fn open(
        fit: &Fit,
        folder: &Path,
        arguments: &CheckpointArguments,
        device: String,
    ) -> Result<(Self, Vec<Option<RunState>>), Failure> {
        let most = fit.plans.iter().map(RunState::most_bytes).max().unwrap_or(u64::MAX);
        let checkpoints = Checkpoints::open(Arc::new(Disk), folder, arguments.keep as usize)?;
        let checkpoints = checkpoints.with_max_bytes(most);
        let runs = fit.plans.iter().enumerate().map(|(i, plan)| {
            let configuration = Configuration::new(&fit.problem, plan)?;
            Ok(RunKey {
                name: format!("{}-{}", i + 1, plan.recipe.rule.name()),
                plan: plan.clone(),
                configuration,
            })
        });
        let runs = runs.collect::<Result<Vec<RunKey>, Failure>>()?;
        let made_by = Provenance { version: env!("CARGO_PKG_VERSION").into(), device };
        let there = checkpoints.runs()?;
        let of = folder.display();
        if let (false, Some(_)) = (arguments.resume, there.first()) {
            return Err(Failure::Input(format!(
                "{of} already contains checkpoints: pass --resume to continue, or use an empty directory"
            )));
        }
        if let Some(other) = there.iter().find(|name| runs.iter().all(|run| run.name != **name)) {
            let here: Vec<_> = runs.iter().map(|run| &*run.name).collect();
            let here = here.join(", ");
            return Err(Failure::Input(format!(
                "{of} contains checkpoints of {other}, which is none of this fit's runs: {here}"
            )));
        }
        for (i, run) in runs.iter().enumerate() {
            let rule = |run: &RunKey| run.plan.recipe.rule.name();
            if runs[..i].iter().any(|other| rule(other) == rule(run)) {
                let message = format!(
                    "--optimizer {} given twice: checkpointed runs are keyed by optimizer name",
                    rule(run)
                );
                return Err(Failure::Input(message));
            }
        }
        let mut states = Vec::new();
        for run in &runs {
            states.push(if arguments.resume { latest(&checkpoints, run, &made_by)? } else { None });
        }
        if arguments.resume && states.iter().all(Option::is_none) {
            output::note(&format!("{} contains no checkpoint: starting a new run.", folder.display()));
        }
        let written = vec![None; runs.len()];
        let errors = vec![None; runs.len()];
        let queue = Mutex::new(WriteQueue { errors, written, ..WriteQueue::default() });
        let shared = Arc::new(Shared { checkpoints, runs, made_by, queue, changed: Condvar::new() });
        let writer = {
            let shared = shared.clone();
            std::thread::Builder::new().name("checkpoints".into()).spawn(move || shared.write())
        };
        let writer = writer.map_err(|error| Failure::Input(format!("a thread: {error}")))?;
        let (every, after) = (arguments.checkpoint_every, arguments.checkpoint_seconds);
        let after = after.map(Duration::from_secs_f64).or(every.is_none().then_some(AFTER));
        let policy = CheckpointPolicy { every, after };
        Ok((CheckpointWriter { policy, shared, writer: Some(writer) }, states))
    }

    /// Every run and its configuration.
    pub fn runs(&self) -> &[RunKey] {
        &self.shared.runs
    }

    /// Syncs the log before every checkpoint.
    pub fn sync_log(&self, log: File) {
        self.shared.lock().log = Some(log);
    }

    /// Writes a state in the background. A checkpoint that cannot be written does not end a run: the user is warned
    /// once, the next one is tried, and [`finish`](Self::finish) returns the error of the last one.
    pub fn save(&self, run: usize, state: &RunState) {
        self.shared.lock().waiting = Some((run, state.clone()));
        self.shared.changed.notify_all();
    }

    /// Waits until the queue is empty. The error is that of the last checkpoint of this run.
    pub fn finish(&self, run: usize) -> Result<(), Failure> {
        let mut queue = self.shared.lock();
        while queue.waiting.is_some() || queue.writing {
            queue = self.shared.wait(queue);
        }
        queue.errors[run].clone().map_or(Ok(()), |error| Err(Failure::Input(error)))
    }

    /// Why the log could not be synced, if so.
    pub fn log_error(&self) -> Option<Failure> {
        self.shared.lock().log_error.clone().map(Failure::Input)
    }

    /// The last file that was written of a run.
    pub fn last(&self, run: usize) -> Option<PathBuf> {
        self.shared.lock().written[run].clone()
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        if let Some(writer) = self.writer.take() {
            // Its errors are reported already.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, WriteQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, WriteQueue>) -> MutexGuard<'a, WriteQueue> {
        self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }

    /// The writing thread: writes states until the queue is closed.
    fn write(&self) {
        let mut queue = self.lock();
        loop {
            let Some((run, state)) = queue.waiting.take() else {
                if queue.closed {
                    return;
                }
                queue = self.wait(queue);
                continue;
            };
            queue.writing = true;
            let log = queue.log.as_ref().map(File::try_clone);
            drop(queue);
            // A checkpoint is written even if the log could not be synced.
            let synced = log.map_or(Ok(()), |log| log.and_then(|log| log.sync_data()));
            let written = self.write_one(run, &state);
            queue = self.lock();
            queue.writing = false;
            if let (Err(error), None) = (synced, &queue.log_error) {
                queue.log_error = Some(format!("the log: {error}"));
            }
            match written {
                Ok(path) => {
                    queue.written[run] = Some(path);
                    queue.errors[run] = None;
                }
                Err(error) => {
                    let error = format!("checkpoint: {error}");
                    if queue.errors[run].is_none() {
                        output::note(&format!(
                            "warning: {error}: training continues, and the next checkpoint is tried"
                        ));
                    }
                    queue.errors[run] = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    fn write_one(&self, run: usize, state: &RunState) -> Result<PathBuf, CheckpointError> {
        let RunKey { name, plan, configuration } = &self.runs[run];
        let write = |files: &dyn Files, path: &Path| {
            state.write(files, path, plan, configuration, &self.made_by)
        };
        self.checkpoints.save(name, state.progress.update, write)
    }
}

/// The latest checkpoint of a run, with notes about it.
fn latest(
    checkpoints: &Checkpoints,
    run: &RunKey,
    made_by: &Provenance,
) -> Result<Option<RunState>, Failure> {
    let read = |path: &Path, bytes: &[u8]| RunState::read(path, bytes, &run.plan, &run.configuration);
    let Some(found) = checkpoints.latest(&run.name, read)? else { return Ok(None) };
    let (state, made_there) = found.checkpoint;
    found.damaged.iter().for_each(|error| output::note(&format!("warning: {error}")));
    output::note(&format!(
        "Resuming after update {} of {}",
        state.progress.update,
        found.path.display()
    ));
    if made_there != *made_by {
        output::note(&format!(
            "warning: version {} on {} wrote it, and version {} on {} resumes it: the bits may differ",
            made_there.version, made_there.device, made_by.version, made_by.device
        ));
    }
    Ok(Some(state))
}
