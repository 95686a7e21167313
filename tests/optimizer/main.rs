//! The optimizers: their rules, schedules and conditioning, on the device and on the processor.

mod arena;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod conditioning;
mod errors;
mod examples;
#[path = "../common/golden.rs"]
mod golden;
mod goldens;
mod groups;
mod interop;
mod linear_regression;
mod parallel;
mod readme;
mod schedule;
mod snapshots;
mod step;
mod step_state;
mod strict;
