//! Checkpoints of runs: crash safety, damage, and mismatches.

use crate::{common, memory_files, training};

use common::Random;
use memory_files::{Fault, MemoryFiles};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use wgpu_optim::checkpoint::{CheckpointError, Checkpoints, Disk, Files};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::reference::synthetic::Options;
use wgpu_optim::regression::train::{
    Configuration, CpuWorker, EarlyStopping, HostRows, Keep, Plan, Provenance, Recipe, RunState,
    Shuffle, train_keeping,
};
use wgpu_optim::{Adam, Loss, Model, Penalty, RmsProp};

const FOLDER: &str = "/checkpoints";
const RUN: &str = "1-adam";

/// A small run that uses every feature.
fn small() -> (Problem, Plan) {
    let options = Options { features: 3, noise: 0.5, seed: 4, ..Options::default() };
    let problem = Problem::synthetic(50, &options).unwrap();
    let recipe = Recipe {
        penalty: Penalty::l1(1e-3),
        average: Some(0.9),
        ..Recipe::new(Model::new(3, Loss::Mse), Adam { lr: 0.1, ..Adam::default() }.into())
    };
    let plan =
        Plan { stopping: Some(EarlyStopping::default()), ..training::plan(&problem, recipe, 20, 12) };
    (problem, plan)
}

/// The states of a run after every update.
fn states(problem: &Problem, plan: &Plan) -> Vec<RunState> {
    let mut states = Vec::new();
    let mut save = |state: &RunState| {
        states.push(state.clone());
        Ok(())
    };
    let mut keep = Keep::new(&mut save);
    keep.every = Some(1);
    let start = vec![0.0; plan.recipe.model.params()];
    let mut worker = CpuWorker::<f32>::new(HostRows::OnDemand(problem), &plan.recipe, &start).unwrap();
    train_keeping(problem, plan, &mut worker, &AtomicBool::new(false), &mut |_| Ok(()), &mut keep)
        .unwrap();
    states
}

/// Writes and reads the states of a run.
struct Kept {
    plan: Plan,
    configuration: Configuration,
    states: Vec<RunState>,
}

impl Kept {
    fn new() -> Self {
        let (problem, plan) = small();
        let configuration = Configuration::new(&problem, &plan).unwrap();
        Kept { states: states(&problem, &plan), plan, configuration }
    }

    fn open(files: &MemoryFiles) -> Checkpoints {
        Checkpoints::open(Arc::new(files.clone()), Path::new(FOLDER), 2).unwrap()
    }

    fn write(&self, files: &dyn Files, path: &Path, state: &RunState) -> Result<(), CheckpointError> {
        state.write(files, path, &self.plan, &self.configuration, &Provenance::default())
    }

    fn save(&self, to: &Checkpoints, state: &RunState) -> Result<(), CheckpointError> {
        let write = |files: &dyn Files, path: &Path| self.write(files, path, state);
        to.save(RUN, state.progress.update, write).map(drop)
    }

    fn read(&self, path: &Path, bytes: &[u8]) -> Result<RunState, CheckpointError> {
        RunState::read(path, bytes, &self.plan, &self.configuration).map(|(state, _)| state)
    }

    /// The update of the latest intact checkpoint, after a check that it has the written state.
    fn latest(&self, from: &Checkpoints) -> Option<u64> {
        let found = from.latest(RUN, |path, bytes| self.read(path, bytes)).unwrap()?;
        let update = found.checkpoint.progress.update;
        same(&found.checkpoint, &self.states[update as usize - 1]);
        Some(update)
    }

    fn bytes(&self, state: &RunState) -> Vec<u8> {
        let files = MemoryFiles::default();
        self.write(&files, Path::new("/a"), state).unwrap();
        files.all().remove(0).1
    }
}

#[track_caller]
fn same(a: &RunState, b: &RunState) {
    assert_eq!(a.worker, b.worker);
    // A loss may be NaN, which is not equal to itself.
    assert_eq!(format!("{:?}", a.progress), format!("{:?}", b.progress));
}

#[test]
fn states_survive_a_file_to_the_bit() {
    let kept = Kept::new();
    for state in &kept.states {
        let mut state = state.clone();
        state.progress.batch_loss = f64::NAN;
        state.progress.initial_loss = f64::INFINITY;
        let bytes = kept.bytes(&state);
        assert_eq!(bytes, kept.bytes(&state));
        same(&kept.read(Path::new("/a"), &bytes).unwrap(), &state);
    }
}

#[test]
fn other_programs_can_read_the_tensors() {
    let kept = Kept::new();
    let bytes = kept.bytes(&kept.states[5]);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(names, ["average", "exp_avg", "exp_avg_sq", "params"]);
    assert_eq!(file.tensor("exp_avg").unwrap().shape(), [4]);
}

#[test]
fn only_the_last_few_are_kept() {
    let (files, kept) = (MemoryFiles::default(), Kept::new());
    let checkpoints = Kept::open(&files);
    assert_eq!(kept.latest(&checkpoints), None);
    for state in &kept.states {
        kept.save(&checkpoints, state).unwrap();
        assert_eq!(kept.latest(&checkpoints), Some(state.progress.update));
    }
    let names: Vec<_> = files.all().into_iter().map(|(path, _)| path).collect();
    let expected = [11, 12].map(|update| Path::new(FOLDER).join(format!("{RUN}-{update}.safetensors")));
    assert_eq!(names, expected);
}

#[test]
fn a_failed_operation_is_named_and_earlier_checkpoints_remain() {
    let kept = Kept::new();
    let mut failures = Vec::new();
    for at in 1.. {
        let files = MemoryFiles::default();
        let checkpoints = Kept::open(&files);
        kept.states[..3].iter().for_each(|state| kept.save(&checkpoints, state).unwrap());
        files.arm(at, Fault::Fails);
        let Err(error) = kept.save(&checkpoints, &kept.states[3]) else { break };
        let CheckpointError::File { operation, .. } = &error else { panic!("{error}") };
        let text = error.to_string();
        assert!(text.contains(FOLDER) && text.ends_with("injected"), "{text}");
        failures.push(*operation);
        // The new checkpoint was complete before the old one was removed.
        let expected =
            if failures.ends_with(&["removing"]) || operation.contains("directory") { 4 } else { 3 };
        assert_eq!(kept.latest(&checkpoints), Some(expected), "{text}");
        let unfinished =
            |(path, _): &(std::path::PathBuf, _)| path.to_string_lossy().contains(".wgpu-optim-");
        assert!(!files.all().iter().any(unfinished), "{text}");
        kept.save(&checkpoints, &kept.states[4]).unwrap();
        assert_eq!(kept.latest(&checkpoints), Some(5));
    }
    failures.dedup();
    assert_eq!(failures, ["writing", "syncing", "renaming to", "syncing the directory", "removing"]);
}

#[test]
fn a_machine_that_stops_at_any_operation_leaves_the_old_checkpoint_or_the_new_one() {
    let kept = Kept::new();
    let mut random = Random(7);
    let mut found = [0; 2];
    for at in 1.. {
        let files = MemoryFiles::default();
        let checkpoints = Kept::open(&files);
        kept.states[..3].iter().for_each(|state| kept.save(&checkpoints, state).unwrap());
        files.arm(at, Fault::Crashes);
        if kept.save(&checkpoints, &kept.states[3]).is_ok() {
            break;
        }
        for _ in 0..100 {
            let after = files.after_crash(&mut random);
            let checkpoints = Kept::open(&after);
            let update = kept.latest(&checkpoints).unwrap();
            assert!(update == 3 || update == 4, "operation {at}: {update}");
            found[update as usize - 3] += 1;
            assert!(
                after.all().iter().all(|(path, _)| !path.to_string_lossy().contains(".wgpu-optim-"))
            );
        }
    }
    assert!(found.iter().all(|&times| times > 50), "{found:?}");
}

#[test]
fn every_flipped_bit_is_found_and_named() {
    let kept = Kept::new();
    let good = kept.bytes(&kept.states[6]);
    let mut named = std::collections::BTreeSet::new();
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match kept.read(Path::new("/a"), &bytes) {
            Err(CheckpointError::Damaged { part, .. }) => named.insert(part),
            other => panic!("bit {bit}: {other:?}"),
        };
    }
    let named: Vec<_> = named.iter().map(String::as_str).collect();
    assert_eq!(named, ["average", "exp_avg", "exp_avg_sq", "params", "the header"]);
}

#[test]
fn every_shorter_and_every_longer_file_is_refused() {
    let kept = Kept::new();
    let good = kept.bytes(&kept.states[6]);
    let refused = |bytes: &[u8]| {
        let error = kept.read(Path::new("/a"), bytes).unwrap_err();
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{} bytes: {error}", bytes.len());
    };
    (0..good.len()).for_each(|length| refused(&good[..length]));
    for garbage in [&b"\0"[..], b" ", b"{}", &good[..9], &good] {
        refused(&[&good, garbage].concat());
        refused(&[garbage, &good].concat());
    }
}

#[test]
fn a_damaged_checkpoint_is_skipped_and_reported() {
    let (files, kept) = (MemoryFiles::default(), Kept::new());
    let checkpoints = Kept::open(&files);
    kept.states[..2].iter().for_each(|state| kept.save(&checkpoints, state).unwrap());
    let newest = Path::new(FOLDER).join(format!("{RUN}-2.safetensors"));
    let mut bytes = files.read(&newest, u64::MAX).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    files.put(&newest, &bytes);
    let read = |path: &Path, bytes: &[u8]| kept.read(path, bytes);
    let found = checkpoints.latest(RUN, read).unwrap().unwrap();
    assert_eq!(found.checkpoint.progress.update, 1);
    let told = found.damaged[0].to_string();
    assert!(told.contains("-2.safetensors: is damaged: params: its checksum is"), "{told}");
    files.put(&Path::new(FOLDER).join(format!("{RUN}-1.safetensors")), b"");
    let error = checkpoints.latest(RUN, read).unwrap_err();
    assert!(matches!(&error, CheckpointError::NoneGood { errors, .. } if errors.len() == 2), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_renamed_once_there_is_a_newer_one() {
    let (files, kept) = (MemoryFiles::default(), Kept::new());
    let checkpoints = Checkpoints::open(Arc::new(files.clone()), Path::new(FOLDER), 1).unwrap();
    kept.save(&checkpoints, &kept.states[3]).unwrap();
    files.put(&Path::new(FOLDER).join(format!("{RUN}-9.safetensors")), b"damaged");
    assert_eq!(kept.latest(&checkpoints), Some(4));
    assert_eq!(files.all().len(), 2);
    kept.save(&checkpoints, &kept.states[5]).unwrap();
    assert_eq!(kept.latest(&checkpoints), Some(6));
    let names: Vec<_> = files.all().into_iter().map(|(path, _)| path).collect();
    let expected = ["6.safetensors", "9.safetensors.damaged"];
    assert_eq!(names, expected.map(|name| Path::new(FOLDER).join(format!("{RUN}-{name}"))));
    assert!(checkpoints.runs().unwrap().into_iter().eq([RUN]));
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_an_error_and_nothing_is_changed() {
    let (files, kept) = (MemoryFiles::default(), Kept::new());
    let checkpoints = Kept::open(&files);
    kept.states[..2].iter().for_each(|state| kept.save(&checkpoints, state).unwrap());
    let newest = Path::new(FOLDER).join(format!("{RUN}-2.safetensors"));
    files.set_readable(&newest, false);
    let before = files.all();
    let error = checkpoints.latest(RUN, |path, bytes| kept.read(path, bytes)).unwrap_err();
    assert!(matches!(&error, CheckpointError::File { path, .. } if *path == newest), "{error}");
    assert_eq!(files.all(), before);
    files.set_readable(&newest, true);
    assert_eq!(kept.latest(&checkpoints), Some(2));
}

#[test]
fn a_newer_checkpoint_that_nobody_found_damaged_is_never_removed() {
    let (files, kept) = (MemoryFiles::default(), Kept::new());
    let checkpoints = Checkpoints::open(Arc::new(files.clone()), Path::new(FOLDER), 1).unwrap();
    kept.save(&checkpoints, &kept.states[8]).unwrap();
    kept.save(&checkpoints, &kept.states[3]).unwrap();
    assert_eq!(checkpoints.list(RUN).unwrap().len(), 2);
    assert_eq!(kept.latest(&checkpoints), Some(9));
}

#[test]
fn a_file_longer_than_a_checkpoint_can_be_is_refused_unread() {
    let (files, kept) = (MemoryFiles::default(), Kept::new());
    let checkpoints = Kept::open(&files).with_max_bytes(10_000);
    kept.save(&checkpoints, &kept.states[3]).unwrap();
    files.put(&Path::new(FOLDER).join(format!("{RUN}-9.safetensors")), &[0; 10_001]);
    let read = |path: &Path, bytes: &[u8]| {
        assert!(bytes.len() <= 10_000);
        kept.read(path, bytes)
    };
    let error = checkpoints.latest(RUN, read).unwrap_err().to_string();
    assert!(error.starts_with("reading /checkpoints/1-adam-9.safetensors: "), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::TempDir::new().unwrap();
    let (kept, path) = (Kept::new(), folder.path().join("a"));
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    kept.write(&Disk, &path, &kept.states[0]).unwrap();
    std::fs::write(folder.path().join("new"), "").unwrap();
    let default = std::fs::metadata(folder.path().join("new")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), default);
    for other in [0o600, 0o664] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(other)).unwrap();
        kept.write(&Disk, &path, &kept.states[1]).unwrap();
        assert_eq!(mode(), other);
    }
}

#[cfg(unix)]
#[test]
fn only_unfinished_files_whose_writer_is_gone_are_removed() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut written = Disk.begin(folder.path()).unwrap();
    std::fs::write(folder.path().join(".wgpu-optim-left"), "by a program that was killed").unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path().join(".wgpu-optim-link")).unwrap();
    drop(Checkpoints::open(Arc::new(Disk), folder.path(), 2).unwrap());
    let names = || -> Vec<String> {
        let entries = folder.path().read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert!(!names().contains(&".wgpu-optim-left".into()));
    assert_eq!(names().iter().filter(|name| name.starts_with(".wgpu-optim-")).count(), 2);
    std::io::Write::write_all(&mut written, b"whole").unwrap();
    written.rename(&folder.path().join("a")).unwrap();
    assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"whole");
}

#[test]
fn a_checkpoint_of_something_else_is_refused_by_the_field() {
    let kept = Kept::new();
    let bytes = kept.bytes(&kept.states[3]);
    let (problem, plan) = small();
    let refused = |problem: &Problem, plan: &Plan| {
        let configuration = Configuration::new(problem, plan).unwrap();
        match RunState::read(Path::new("/a"), &bytes, plan, &configuration) {
            Err(error @ CheckpointError::Mismatch { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        refused(&problem, &plan)
    };
    let adam = |adam: Adam| with(&|plan| plan.recipe.rule = adam.into());
    assert_eq!(
        adam(Adam { lr: 0.1, eps: 1e-7, ..Adam::default() }),
        "/a: configuration mismatch: rule.Adam.eps was 1e-8 in the checkpoint and is 1e-7 now"
    );
    assert!(
        with(&|plan| plan.recipe.rule = RmsProp::default().into())
            .contains("optimizer was \"adam\" in the checkpoint")
    );
    assert!(
        with(&|plan| plan.recipe.penalty = Penalty::l1(2e-3))
            .contains("penalty.alpha was 0.001 in the checkpoint")
    );
    assert!(
        with(&|plan| plan.recipe.average = None)
            .contains("average was 0.9 in the checkpoint and is null now")
    );
    assert!(
        with(&|plan| plan.recipe.model.intercept = false)
            .contains("model.intercept was true in the checkpoint")
    );
    assert!(
        with(&|plan| plan.learning_rate = training::annealed(&plan.recipe.rule, 12))
            .contains("schedule was")
    );
    assert!(with(&|plan| plan.max_skips = 1).contains("max_skips was 0 in the checkpoint"));
    assert!(
        with(&|plan| plan.stopping = None)
            .contains("stopping was nothing in the checkpoint and is null now")
    );
    let batches = |size, updates, shuffle| wgpu_optim::regression::train::Batches::Epochs {
        rows: 50,
        size,
        updates,
        shuffle,
    };
    assert!(
        with(&|plan| plan.batches = batches(10, 12, None))
            .contains("batch_size was 20 in the checkpoint and is 10 now")
    );
    let shuffle = Some(Shuffle { seed: 1, window: 64 });
    assert!(
        with(&|plan| plan.batches = batches(20, 12, shuffle))
            .contains("shuffle was null in the checkpoint")
    );
    assert!(
        with(&|plan| plan.batches = batches(20, 2, None))
            .contains("update was 4 in the checkpoint and is at most 2 now")
    );
    let options = |seed| Options { features: 3, noise: 0.5, seed, ..Options::default() };
    let other = Problem::synthetic(50, &options(5)).unwrap();
    assert!(refused(&other, &plan).contains("data.synthetic.seed was 4 in the checkpoint and is 5 now"));
    let (x, y) = problem.materialize::<f64>().unwrap();
    let table = Problem::table("t", 3, x, y);
    assert!(refused(&table, &plan).contains("data.kind was \"synthetic\" in the checkpoint"));
    // An extension of a run counts as the same run.
    let longer = Plan { batches: batches(20, 100, None), ..plan.clone() };
    let configuration = Configuration::new(&problem, &longer).unwrap();
    RunState::read(Path::new("/a"), &bytes, &longer, &configuration).unwrap();
}

#[test]
fn one_number_of_the_data_makes_another_problem() {
    let checksum = |problem: &Problem| problem.identity().unwrap()["checksum"].clone();
    let y: Vec<f64> = (0..40).map(f64::from).collect();
    let x: Vec<f64> = (0..80).map(f64::from).collect();
    let of = |x: &[f64], y: &[f64]| checksum(&Problem::table("t", 2, x.to_vec(), y.to_vec()));
    let first = of(&x, &y);
    assert!(first.as_str().unwrap().starts_with("crc32 "));
    assert_eq!(first, of(&x, &y));
    for i in [0, 41, 79] {
        let mut other = x.clone();
        other[i] += 1.0;
        assert_ne!(first, of(&other, &y));
    }
    let mut other = y.clone();
    other[39] = -1.0;
    assert_ne!(first, of(&x, &other));
}

#[test]
fn other_kinds_of_files_are_no_checkpoints() {
    let kept = Kept::new();
    let read = |bytes: &[u8]| kept.read(Path::new("/a"), bytes).unwrap_err().to_string();
    assert!(read(b"").starts_with("/a: is damaged: the header: "));
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap();
    let bytes = safetensors::serialize([("params", view)], None).unwrap();
    assert_eq!(read(&bytes), "/a: is damaged: the header: it has no checksum");
    let saved = std::fs::read("tests/data/README.md").unwrap();
    assert!(read(&saved).starts_with("/a: is damaged: the header: "));
}

#[test]
fn a_folder_has_one_user_at_a_time() {
    let folder = tempfile::TempDir::new().unwrap();
    let open = || Checkpoints::open(Arc::new(Disk), folder.path(), 2);
    let first = open().unwrap();
    let error = open().unwrap_err();
    assert!(matches!(error, CheckpointError::InUse { .. }), "{error}");
    drop(first);
    open().unwrap();
}

#[test]
fn writers_of_one_file_leave_one_of_the_whole_versions() {
    let folder = tempfile::TempDir::new().unwrap();
    let (kept, path) = (Kept::new(), folder.path().join("a"));
    let versions = [&kept.states[2], &kept.states[9]];
    std::thread::scope(|scope| {
        for state in versions {
            let (kept, path) = (&kept, &path);
            scope.spawn(move || (0..50).for_each(|_| kept.write(&Disk, path, state).unwrap()));
        }
        for _ in 0..200 {
            if let Ok(bytes) = std::fs::read(&path) {
                let state = kept.read(&path, &bytes).unwrap();
                assert!(versions.iter().any(|version| version.worker == state.worker));
            }
        }
    });
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), length in 0u64..400) {
        let kept = KEPT.get_or_init(Kept::new);
        prop_assert!(kept.read(Path::new("/a"), &bytes).is_err());
        let header = [&length.to_le_bytes(), &b"{"[..], &bytes].concat();
        prop_assert!(kept.read(Path::new("/a"), &header).is_err());
    }

    #[test]
    fn spliced_files_are_refused(from in 0.0..1.0, to in 0.0..1.0, at in 0.0..1.0) {
        let kept = KEPT.get_or_init(Kept::new);
        let good = kept.bytes(&kept.states[6]);
        let place = |share: f64| (share * good.len() as f64) as usize;
        let (from, to) = (place(from).min(place(to)), place(from).max(place(to)));
        let mut bytes = good.clone();
        bytes.splice(place(at)..place(at), good[from..to].iter().copied());
        prop_assert!(from == to || kept.read(Path::new("/a"), &bytes).is_err());
    }
}

static KEPT: std::sync::OnceLock<Kept> = std::sync::OnceLock::new();
