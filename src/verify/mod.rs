//! The verification suite: every kernel on one device with inputs of every kind, compared with the f64 definition
//! within derived bounds, and bit for bit where every order of operations gives the same bits.

mod check;
mod conditioning;
mod data;
mod descents;
mod evaluations;
mod exhaustive;
#[cfg(not(target_arch = "wasm32"))]
mod faults;
mod gradients;
mod nonfinite;
mod primitives;
mod rig;
mod state;
mod steps;
mod synthetic;
mod trajectories;
mod twin;
mod values;
mod variants;

pub use check::{Bound, Check, Compared, Element};
#[cfg(not(target_arch = "wasm32"))]
pub use faults::{FAULTS, Fault, FaultOutcome, FaultSeeder};
pub use primitives::{SelfTest, self_test};
pub use rig::{Random, Rig};

use crate::Arithmetic;
use crate::regression::ProblemError;
use crate::regression::device::Gpu;
use crate::regression::train::{ResultFuture, TrainError};

/// The extent of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Only the cases of a seeded fault: variants and conditionings whose name contains `cases`.
    Least {
        /// A part of the names.
        cases: &'static str,
    },
    /// Every kernel and rule on some sizes: half a minute on a software adapter.
    Quick,
    /// The whole suite: some minutes.
    Full,
    /// The whole suite, with every root and 2^30 quotients of strict arithmetic.
    Exhaustive,
}

/// The error of a case that failed to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// An error of the device or of the library.
    #[error(transparent)]
    Device(#[from] crate::Error),
    /// Rows could not be read.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// A training run failed.
    #[error(transparent)]
    Train(#[from] TrainError),
}

/// A group of checks.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The subject.
    pub name: &'static str,
    /// Runs the checks. A case that fails to run becomes a failed check.
    pub run: for<'a> fn(&'a Rig<'a>, &'a mut Vec<Check>) -> ResultFuture<'a, (), SuiteError>,
}

/// The suite, in order.
pub const GROUPS: &[Group] = &[
    steps::GROUP,
    state::GROUP,
    conditioning::GROUP,
    gradients::GROUP,
    evaluations::GROUP,
    synthetic::GROUP,
    descents::GROUP,
    trajectories::GROUP,
];

/// The groups of the suite that compare strict arithmetic with the processor's, bit for bit.
pub const SAME_BITS: &[Group] =
    &[primitives::GROUP, exhaustive::GROUP, steps::GROUP, state::GROUP, conditioning::GROUP];

/// Runs one group on a device. With another arithmetic than [`Arithmetic::Fast`], the group is one of [`SAME_BITS`].
pub async fn run(
    group: &Group,
    gpu: &Gpu,
    (depth, seed): (Depth, u64),
    arithmetic: Arithmetic,
) -> Vec<Check> {
    run_on(&Rig { gpu, depth, seed, arithmetic }, group).await
}

async fn run_on(rig: &Rig<'_>, group: &Group) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Err(error) = (group.run)(rig, &mut checks).await {
        checks.push(Check::failed(group.name, "run", error));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regression::device::block_on;

    /// The adapter. `None` only if there is none and `WGPU_OPTIM_SKIP_GPU_TESTS=1` allows that.
    fn adapter() -> Option<Gpu> {
        let skip = std::env::var("WGPU_OPTIM_SKIP_GPU_TESTS").is_ok_and(|value| value == "1");
        match block_on(Gpu::open(None)) {
            Err(error) if !skip => panic!("{error}"),
            gpu => gpu.ok(),
        }
    }

    #[track_caller]
    fn passing(group: &Group, arithmetic: Arithmetic) -> Vec<Check> {
        let Some(gpu) = adapter() else { return Vec::new() };
        let started = std::time::Instant::now();
        let checks = block_on(run(group, &gpu, (Depth::Quick, 1), arithmetic));
        eprintln!("{}: {} checks in {:?}", group.name, checks.len(), started.elapsed());
        let failed: Vec<&Check> = checks.iter().filter(|check| !check.pass).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        checks
    }

    /// Every check of the group passes, and its bounds are no wider than they must be.
    #[track_caller]
    fn assert_passes(group: &Group) {
        let checks = passing(group, Arithmetic::Fast);
        let derived = checks.iter().filter(|check| check.bound == Bound::Derived);
        let largest = derived.map(|check| check.worst_ratio).reduce(f64::max);
        assert!(largest.is_none_or(|largest| largest > 0.1), "{largest:?}");
    }

    #[test]
    fn primitives_have_the_bits_of_the_processor() {
        passing(&primitives::GROUP, Arithmetic::Strict);
        passing(&primitives::GROUP, Arithmetic::Exact);
    }

    #[test]
    fn samples_of_all_roots_and_of_quotients_have_the_bits_of_the_processor() {
        passing(&exhaustive::GROUP, Arithmetic::Strict);
    }

    #[test]
    fn updates_have_the_bits_of_the_processor() {
        passing(&steps::GROUP, Arithmetic::Strict);
    }

    #[test]
    fn step_states_have_the_bits_of_the_processor() {
        passing(&state::GROUP, Arithmetic::Strict);
    }

    #[test]
    fn conditioning_has_the_bits_of_the_processor() {
        passing(&conditioning::GROUP, Arithmetic::Strict);
    }

    #[test]
    fn updates() {
        assert_passes(&steps::GROUP);
    }

    #[test]
    fn step_state() {
        assert_passes(&state::GROUP);
    }

    #[test]
    fn conditioning() {
        assert_passes(&conditioning::GROUP);
    }

    #[test]
    fn gradients() {
        assert_passes(&gradients::GROUP);
    }

    #[test]
    fn evaluations() {
        assert_passes(&evaluations::GROUP);
    }

    #[test]
    fn synthetic() {
        assert_passes(&synthetic::GROUP);
    }

    #[test]
    fn descents() {
        assert_passes(&descents::GROUP);
    }

    #[test]
    fn trajectories() {
        assert_passes(&trajectories::GROUP);
    }

    /// The groups in which faults show: one test each, so that they run side by side.
    const SHOWING: [&str; 7] =
        ["primitives", "updates", "step state", "conditioning", "gradients", "synthetic", "descents"];

    /// Every fault that is seeded into the kernels of a group is caught.
    #[track_caller]
    fn assert_caught(group: &str) {
        let Some(gpu) = adapter() else { return };
        let mut seeding = FaultSeeder::new(&gpu, 1);
        let mut seeded = FAULTS.iter().filter(|fault| fault.group == group).peekable();
        assert!(seeded.peek().is_some() && SHOWING.contains(&group), "{group}");
        for fault in seeded {
            let caught = seeding.seed(fault);
            assert!(!caught.caught_by.is_empty(), "{}", fault.name);
        }
    }

    #[test]
    fn every_seeded_fault_shows_in_a_group_that_is_tested() {
        let missed = FAULTS.iter().find(|fault| !SHOWING.contains(&fault.group));
        assert!(missed.is_none(), "{missed:?}");
    }

    #[test]
    fn faults_of_primitives_are_caught() {
        assert_caught("primitives");
    }

    #[test]
    fn faults_of_updates_are_caught() {
        assert_caught("updates");
    }

    #[test]
    fn faults_of_the_step_state_are_caught() {
        assert_caught("step state");
    }

    #[test]
    fn faults_of_conditioning_are_caught() {
        assert_caught("conditioning");
    }

    #[test]
    fn faults_of_gradients_are_caught() {
        assert_caught("gradients");
    }

    #[test]
    fn faults_of_synthetic_rows_are_caught() {
        assert_caught("synthetic");
    }

    #[test]
    fn faults_of_descents_are_caught() {
        assert_caught("descents");
    }
}
