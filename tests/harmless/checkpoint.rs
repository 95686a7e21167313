//! Checkpoints of a small run that uses every feature.

use super::checksummed;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use wgpu_optim::checkpoint::{CheckpointError, Disk};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::reference::synthetic::Options;
use wgpu_optim::regression::train::{
    Batches, Configuration, CpuWorker, EarlyStopping, Float, HostRows, Keep, Plan, Provenance, Recipe,
    RunState, Shuffle, VerifyEvery, train_keeping,
};
use wgpu_optim::{Adam, Loss, Model, Penalty, Schedule};

/// The run, and the bytes of a checkpoint in the middle of it.
struct Run {
    problem: Problem,
    plan: Plan,
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
    let plan = Plan {
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
    let mut states = run.go_on::<f32>(None).into_iter();
    let state = states.find(|state| state.progress.update == 6).unwrap();
    run.whole = run.written(&state, &Provenance { version: "1".into(), device: "a processor".into() });
    run
});

impl Run {
    /// Resumes the run from a state, and returns the later states.
    fn go_on<R: Float>(&self, from: Option<RunState>) -> Vec<RunState> {
        let mut states = Vec::new();
        let mut save = |state: &RunState| {
            states.push(state.clone());
            Ok(())
        };
        let mut keep = Keep::new(&mut save);
        (keep.state, keep.every) = (from, Some(1));
        let Run { problem, plan, .. } = self;
        let start = vec![0.0; plan.recipe.model.params()];
        let mut worker = CpuWorker::<R>::new(HostRows::OnDemand(problem), &plan.recipe, &start).unwrap();
        let stop = AtomicBool::new(false);
        let _ = train_keeping(problem, plan, &mut worker, &stop, &mut |_| Ok(()), &mut keep);
        states
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
        RUN.go_on::<f32>(Some(state.clone()));
        RUN.go_on::<f64>(Some(state));
    }
    RUN.read(bytes).map(|(state, _)| state)
}
