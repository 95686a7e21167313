//! Training: a [`Trainer`] runs a [`TrainPlan`] over the rows of a problem on a [`Backend`].

mod batches;
mod cause;
#[cfg(feature = "files")]
mod checkpoint;
mod clock;
mod cpu;
mod epochs;
mod error;
mod gpu;
mod gpu_data;
mod gpu_descent;
mod gpu_evaluation;
mod gpu_small_batch;
mod gpu_state;
mod host;
mod losses;
mod memory;
mod observer;
mod pace;
mod plan;
mod report;
mod run;
mod snapshots;
mod state;
mod stopping;
mod submissions;
mod trainer;
mod training_data;
#[cfg(all(test, feature = "verify"))]
mod verdict;
mod worker;

pub use batches::{Batches, Shuffle};
pub use cause::Cause;
#[cfg(feature = "files")]
pub use checkpoint::{Configuration, Provenance};
pub use cpu::{CpuWorker, Float};
pub use error::{PlacementError, TrainError};
pub use gpu::GpuWorker;
pub use gpu_data::{GpuData, Placement, StreamTimes};
pub use host::HostRows;
pub use memory::{CHUNK, Memory, MemoryError, MemoryFootprint, MemoryPlan, MemoryPlanner};
pub use observer::{MemoryRetry, Observer};
pub use plan::{Recipe, TrainPlan, VerifyEvery};
pub use report::{Progress, Report};
pub use snapshots::CheckpointPolicy;
pub use state::{Best, LoopState, NonFiniteCount, Numbers, RunState, WorkerState};
pub use stopping::{Basis, Criterion, EarlyStopping, Undefined, score};
pub use submissions::{SubmissionQueue, Submissions, ThroughputEstimate};
pub use trainer::{Outcome, Trainer};
pub use training_data::{Backend, DataPlacement, Location, TrainingData};
pub use worker::{GradientSums, Reduce, ResultFuture, SplitUpdate, Worker};
