//! Every kernel on one device, on inputs of every kind: against the definition in f64 within bounds that
//! follow from the operations, and bit for bit where every order of them gives the same bits.

mod check;
mod data;
mod evaluations;
mod gradients;
mod rig;
#[allow(dead_code)]
mod variants;

pub use check::{Bound, Check, Element, Quantity};
pub use rig::{Random, Rig};

use crate::gpu::Gpu;
use crate::regression::ProblemError;
use crate::train::TrainError;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every kernel and rule on some sizes: half a minute on a software adapter.
    Quick,
    /// All of it: some minutes.
    Full,
}

/// Why a case could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// The device, or what the library says of it.
    #[error(transparent)]
    Device(#[from] crate::Error),
    /// Rows that cannot be read.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// A training run that failed.
    #[error(transparent)]
    Train(#[from] TrainError),
}

/// Checks that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// What they are about.
    pub name: &'static str,
    /// Runs them. What cannot be run is an error, and then a check that failed.
    pub run: fn(&Rig, &mut Vec<Check>) -> Result<(), SuiteError>,
}

/// The suite, in order.
pub const GROUPS: &[Group] = &[gradients::GROUP, evaluations::GROUP];

/// Runs one group on a device.
pub fn run(group: &Group, gpu: &Gpu, depth: Depth, seed: u64) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Err(error) = (group.run)(&Rig { gpu, depth, seed }, &mut checks) {
        checks.push(Check::failed(group.name, "run", error));
    }
    checks
}
