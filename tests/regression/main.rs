//! The regressions: gradients, data, training, and runs that are resumed.

mod checkpoint;
#[path = "../common/mod.rs"]
mod common;
mod epochs;
mod gradient;
#[path = "../common/memory_files.rs"]
mod memory_files;
mod metrics;
mod penalty;
mod placement;
#[path = "../common/regressions.rs"]
mod regressions;
mod resume;
mod solvers;
mod stopping;
mod sums;
mod synthetic;
mod trainer;
#[path = "../common/training.rs"]
mod training;
