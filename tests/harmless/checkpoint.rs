//! Checkpoints of a small run that uses every feature.

use super::checksummed;
use std::sync::LazyLock;
use wgpu_optim::checkpoint::{CheckpointError, Disk};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::reference::synthetic::Options;
use wgpu_optim::regression::train::{
    Backend, Batches, CheckpointPolicy, Configuration, EarlyStopping, Observer, Provenance, Recipe,
    RunState, Shuffle, TrainPlan, Trainer, VerifyEvery,
};
use wgpu_optim::{Adam, Loss, Model, Penalty, Schedule};

/// The run, and the bytes of a checkpoint in the middle of it.
struct Run {
    problem: Problem,
    plan: TrainPlan,
    configuration: Configuration,
    whole: Vec<u8>,
}

static RUN: LazyLock<Run> = LazyLock::new(|| {
    let options = Options { features: 2, noise: 0.5, seed: 4, ..Options::default() };
    let problem = Problem::synthetic(20, &options).unwrap();
    let rule = Adam { lr: 0.1, ..Adam::default() }.into();
    let recipe = Recipe {
        penalty: Penalty::l1(1e-3),
        average: Some(0.9),
        ..Recipe::new(Model::new(2, Loss::Mse), rule)
    };
    let shuffle = Some(Shuffle { seed: 3, window: 8 });
    let plan = TrainPlan {
        recipe,
        learning_rate: Schedule::constant(0.1).unwrap(),
        batches: Batches::Epochs { rows: 16, size: 5, updates: 12, shuffle },
        rows: 16,
        stopping: Some(EarlyStopping { validation_rows: 4, adaptive: true, ..EarlyStopping::default() }),
        verify: VerifyEvery::Updates(3),
        eval_every: 2,
        trace: false,
        max_skips: 3,
    };
    let configuration = Configuration::new(&problem, &plan).unwrap();
    let mut run = Run { problem, plan, configuration, whole: Vec::new() };
    let mut states = run.resume(Backend::Cpu, None).into_iter();
    let state = states.find(|state| state.progress.update == 6).unwrap();
    run.whole = run.written(&state, &Provenance { version: "1".into(), device: "a processor".into() });
    run
});

/// Every state of a run that was saved.
struct States(Vec<RunState>);

impl Observer for States {
    fn save(&mut self, state: &RunState) -> Result<(), String> {
        self.0.push(state.clone());
        Ok(())
    }
}

impl Run {
    /// Resumes the run from a state, and returns the later states.
    fn resume(&self, backend: Backend, from: Option<RunState>) -> Vec<RunState> {
        let mut states = States(Vec::new());
        let trainer = Trainer::new(&self.problem, &self.plan, backend).resume(from);
        let _ = trainer.checkpoints(CheckpointPolicy::every(1)).observer(&mut states).run();
        states.0
    }

    fn written(&self, state: &RunState, made_by: &Provenance) -> Vec<u8> {
        super::with_file("checkpoint", b"", |path| {
            state.write(&Disk, path, &self.plan, &self.configuration, made_by).unwrap();
            std::fs::read(path).unwrap()
        })
    }

    fn read(&self, bytes: &[u8]) -> Result<(RunState, Provenance), CheckpointError> {
        checksummed::read(bytes, |path| RunState::read(path, bytes, &self.plan, &self.configuration))
    }
}

/// The bytes of a valid checkpoint.
pub fn whole() -> &'static [u8] {
    &RUN.whole
}

/// Reads these bytes as a checkpoint, and resumes from it if it is valid.
pub fn check(bytes: &[u8]) -> Result<RunState, CheckpointError> {
    if let Some((state, made_by)) = checksummed::with_corrected_checksums(bytes, |bytes| RUN.read(bytes))
    {
        let again = RUN.read(&RUN.written(&state, &made_by)).unwrap();
        // A loss may be NaN, which is not equal to itself.
        assert_eq!(format!("{again:?}"), format!("{:?}", (&state, made_by)));
        RUN.resume(Backend::Cpu, Some(state.clone()));
        RUN.resume(Backend::F64, Some(state));
    }
    RUN.read(bytes).map(|(state, _)| state)
}
