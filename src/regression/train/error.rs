//! Why a run fails.

use super::{Cause, MemoryError};
use crate::Error;
use crate::regression::ProblemError;
use crate::regression::device::OpenError;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A loss is not finite, or has grown so much that it does not come back.
    #[error(
        "diverged at update {update}: the loss is {loss:e}, and was {initial_loss:e} at the start{cause}"
    )]
    Diverged {
        /// The first update, from 1, whose batch has such a loss.
        update: u64,
        /// Its loss.
        loss: f64,
        /// The loss over all rows at the start.
        initial_loss: f64,
        /// Why, as far as the data tell.
        cause: Cause,
    },
    /// A parameter or a moment is not finite.
    #[error("diverged at update {update}: a parameter or a moment is not finite{cause}")]
    Overflow {
        /// The last update made.
        update: u64,
        /// Why, as far as the data tell.
        cause: Cause,
    },
    /// As many consecutive updates as [`TrainPlan::max_skips`](super::TrainPlan::max_skips) were not finite.
    #[error("{skips} consecutive non-finite updates skipped, the last one update {update}{cause}")]
    Skipped {
        /// The last one of them.
        update: u64,
        /// Their number.
        skips: u32,
        /// Why, as far as the data tell.
        cause: Cause,
    },
    /// The loss is not finite before the first update.
    #[error("the loss is {loss:e} before the first update{cause}")]
    NotFinite {
        /// The loss over all rows.
        loss: f64,
        /// Why, as far as the data tell.
        cause: Cause,
    },
    /// All rows to train on have weight 0.
    #[error("every row to train on has weight 0")]
    NoWeight,
    /// The stop flag was set.
    #[error("interrupted after update {update}")]
    Interrupted {
        /// The last update made.
        update: u64,
    },
    /// The observer returned an error.
    #[error("{0}")]
    Observer(String),
    /// The worker cannot make an update in two halves, between which gradients are summed.
    #[error("this worker has no gradient that several processes could sum")]
    NoSplit,
    /// The gradients of several processes could not be summed.
    #[error("gradients of several processes: {0}")]
    Reduce(String),
    /// The device failed, or rows could not be read.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// The device failed, or the plan is not valid.
    #[error(transparent)]
    Device(#[from] Error),
    /// Rows or model could not be placed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The device was lost too often without an update in between; this is the last error.
    #[error(transparent)]
    Lost(Box<TrainError>),
    /// A lost device could not be opened again.
    #[error(transparent)]
    Reopen(OpenError),
}

/// Why rows or model cannot be placed, on a device or in host memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// They do not fit, as counted before anything is allocated.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The device refused the smallest chunks too.
    #[error(
        "{error}; the fit needs {needed} bytes on the device{}",
        .available.map_or(String::new(), |available| format!(", and {available} are available"))
    )]
    OutOfMemory {
        /// The refused allocation.
        error: Error,
        /// Bytes on the device that the last attempt needs.
        needed: u64,
        /// Bytes that there are, as far as is known.
        available: Option<u64>,
    },
    /// Rows cannot be read, or exceed a limit of the device.
    #[error(transparent)]
    Problem(#[from] ProblemError),
}

impl From<Error> for PlacementError {
    fn from(error: Error) -> Self {
        PlacementError::Problem(error.into())
    }
}
