//! The regressions: gradients, data, training, and runs that are resumed. Without the feature `files`, what needs none.

#[cfg(feature = "files")]
mod checkpoint;
#[path = "../common/mod.rs"]
mod common;
mod epochs;
mod futures;
mod gradient;
#[cfg(feature = "files")]
#[path = "../common/memory_files.rs"]
mod memory_files;
#[cfg(feature = "files")]
mod metrics;
mod penalty;
#[cfg(feature = "files")]
mod placement;
#[cfg(feature = "files")]
#[path = "../common/regressions.rs"]
mod regressions;
#[cfg(feature = "files")]
mod resume;
#[cfg(feature = "files")]
mod solvers;
mod stopping;
mod sums;
mod synthetic;
mod trainer;
#[path = "../common/training.rs"]
mod training;
