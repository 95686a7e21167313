//! `--checkpoint` and `--resume`: runs that are saved as they go, and gone on with.

use super::Fit;
use super::arguments::KeepingArguments;
use crate::command::{Failure, output};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wgpu_optim::checkpoint::{CheckpointError, Checkpoints, Disk, Files};
use wgpu_optim::regression::train::{Configuration, Provenance, RunState, TrainPlan};

/// How long after one checkpoint the next one is made, where nothing else is asked for.
const AFTER: Duration = Duration::from_secs(60);

/// The checkpoints of a fit.
pub struct CheckpointWriter {
    pub every: Option<u64>,
    pub after: Option<Duration>,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// One optimizer's run, as its checkpoints know it.
pub struct RunKey {
    pub name: String,
    pub plan: TrainPlan,
    pub configuration: Configuration,
}

struct Shared {
    checkpoints: Checkpoints,
    kept: Vec<RunKey>,
    made_by: Provenance,
    desk: Mutex<WriteQueue>,
    /// Something on the desk is another.
    changed: Condvar,
}

/// What lies between training and the thread that writes.
#[derive(Default)]
struct WriteQueue {
    /// What is to be written next: of states that came faster than a disk the last one.
    waiting: Option<(usize, RunState)>,
    writing: bool,
    closed: bool,
    /// Why the last checkpoint of each run is not written, where it is not.
    errors: Vec<Option<String>>,
    /// Why the log was not brought to the disk ahead of a checkpoint.
    log_error: Option<String>,
    /// The last file of each run that was written.
    written: Vec<Option<PathBuf>>,
    /// What is brought to the disk ahead of a checkpoint, so that it is not behind it.
    log: Option<File>,
}

impl CheckpointWriter {
    /// Opens the folder. Where runs are to be gone on with their states are returned, else there must be none.
    pub fn open(
        fit: &Fit,
        folder: &Path,
        arguments: &KeepingArguments,
        device: String,
    ) -> Result<(Self, Vec<Option<RunState>>), Failure> {
        let most = fit.plans.iter().map(RunState::most_bytes).max().unwrap_or(u64::MAX);
        let checkpoints = Checkpoints::open(Arc::new(Disk), folder, arguments.keep as usize)?;
        let checkpoints = checkpoints.with_max_bytes(most);
        let kept = fit.plans.iter().enumerate().map(|(i, plan)| {
            let configuration = Configuration::new(&fit.problem, plan)?;
            Ok(RunKey {
                name: format!("{}-{}", i + 1, plan.recipe.rule.name()),
                plan: plan.clone(),
                configuration,
            })
        });
        let kept = kept.collect::<Result<Vec<RunKey>, Failure>>()?;
        let made_by = Provenance { version: env!("CARGO_PKG_VERSION").into(), device };
        let there = checkpoints.runs()?;
        let of = folder.display();
        if let (false, Some(_)) = (arguments.resume, there.first()) {
            return Err(Failure::Input(format!(
                "{of} already contains checkpoints: pass --resume to continue, or use an empty directory"
            )));
        }
        if let Some(other) = there.iter().find(|name| kept.iter().all(|run| run.name != **name)) {
            let here: Vec<_> = kept.iter().map(|run| &*run.name).collect();
            let here = here.join(", ");
            return Err(Failure::Input(format!(
                "{of}: optimizer {other} is there, and here are {here}"
            )));
        }
        for (i, run) in kept.iter().enumerate() {
            let rule = |run: &RunKey| run.plan.recipe.rule.name();
            if kept[..i].iter().any(|other| rule(other) == rule(run)) {
                let message = format!(
                    "--optimizer {} given twice: checkpointed runs are keyed by optimizer name",
                    rule(run)
                );
                return Err(Failure::Input(message));
            }
        }
        let mut states = Vec::new();
        for run in &kept {
            states.push(if arguments.resume { latest(&checkpoints, run, &made_by)? } else { None });
        }
        if arguments.resume && states.iter().all(Option::is_none) {
            output::note(&format!("{} holds no checkpoint yet: the run begins.", folder.display()));
        }
        let written = vec![None; kept.len()];
        let desk =
            Mutex::new(WriteQueue { errors: vec![None; kept.len()], written, ..WriteQueue::default() });
        let shared = Arc::new(Shared { checkpoints, kept, made_by, desk, changed: Condvar::new() });
        let writer = {
            let shared = shared.clone();
            std::thread::Builder::new().name("checkpoints".into()).spawn(move || shared.write())
        };
        let writer = writer.map_err(|error| Failure::Input(format!("a thread: {error}")))?;
        let after = arguments.checkpoint_seconds.map(Duration::from_secs_f64);
        let keeping = CheckpointWriter {
            every: arguments.checkpoint_every,
            after: after.or((arguments.checkpoint_every.is_none()).then_some(AFTER)),
            shared,
            writer: Some(writer),
        };
        Ok((keeping, states))
    }

    /// Every run and its configuration.
    pub fn kept(&self) -> &[RunKey] {
        &self.shared.kept
    }

    /// Has the log brought to the disk ahead of every checkpoint.
    pub fn with_log(&self, log: File) {
        self.shared.desk().log = Some(log);
    }

    /// Has a state written while training goes on. A checkpoint that cannot be written does not end a run: it is told
    /// once, the next one is tried again, and [`finish`](Self::finish) says whether the last one is there.
    pub fn save(&self, run: usize, state: &RunState) {
        self.shared.desk().waiting = Some((run, state.clone()));
        self.shared.changed.notify_all();
    }

    /// Waits until what was to be written is. The error is that of the last checkpoint of this run.
    pub fn finish(&self, run: usize) -> Result<(), Failure> {
        let mut desk = self.shared.desk();
        while desk.waiting.is_some() || desk.writing {
            desk = self.shared.wait(desk);
        }
        desk.errors[run].clone().map_or(Ok(()), |error| Err(Failure::Input(error)))
    }

    /// Why the log may not be on the disk, if it may not.
    pub fn log_error(&self) -> Option<Failure> {
        self.shared.desk().log_error.clone().map(Failure::Input)
    }

    /// The last file that was written of a run.
    pub fn last(&self, run: usize) -> Option<PathBuf> {
        self.shared.desk().written[run].clone()
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        self.shared.desk().closed = true;
        self.shared.changed.notify_all();
        if let Some(writer) = self.writer.take() {
            // It has said what it had to say.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, WriteQueue> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, desk: MutexGuard<'a, WriteQueue>) -> MutexGuard<'a, WriteQueue> {
        self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes whatever is to be written, until there will be nothing more.
    fn write(&self) {
        let mut desk = self.desk();
        loop {
            let Some((run, state)) = desk.waiting.take() else {
                if desk.closed {
                    return;
                }
                desk = self.wait(desk);
                continue;
            };
            desk.writing = true;
            let log = desk.log.as_ref().map(File::try_clone);
            drop(desk);
            // A checkpoint is worth more than the log, which may be behind it then.
            let synced = log.map_or(Ok(()), |log| log.and_then(|log| log.sync_data()));
            let written = self.write_one(run, &state);
            desk = self.desk();
            desk.writing = false;
            if let (Err(error), None) = (synced, &desk.log_error) {
                desk.log_error = Some(format!("the log: {error}"));
            }
            match written {
                Ok(path) => {
                    desk.written[run] = Some(path);
                    desk.errors[run] = None;
                }
                Err(error) => {
                    let error = format!("checkpoint: {error}");
                    if desk.errors[run].is_none() {
                        output::note(&format!("warning: {error}: the run goes on, and tries again"));
                    }
                    desk.errors[run] = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    fn write_one(&self, run: usize, state: &RunState) -> Result<PathBuf, CheckpointError> {
        let RunKey { name, plan, configuration } = &self.kept[run];
        let write = |files: &dyn Files, path: &Path| {
            state.write(files, path, plan, configuration, &self.made_by)
        };
        self.checkpoints.save(name, state.progress.update, write)
    }
}

/// Where a run stands, and what is to be said about it.
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
        "Going on after update {} of {}",
        state.progress.update,
        found.path.display()
    ));
    if made_there != *made_by {
        output::note(&format!(
            "warning: it was made by version {} on {}, and goes on with version {} on {}: to bits that may differ",
            made_there.version, made_there.device, made_by.version, made_by.device
        ));
    }
    Ok(Some(state))
}
