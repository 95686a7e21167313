//! Events of a run, for the program that started it.

use super::{DataPlacement, Progress, RunState, TrainError};
use crate::regression::device::Gpu;

/// Receives the events of a run. Every method has a default that does nothing; a closure over [`Progress`] is an
/// observer of that alone. The message of an error ends the run with
/// [`TrainError::Observer`](super::TrainError::Observer).
pub trait Observer {
    /// The rows are about to be placed: in host memory, or on a device.
    fn placed(&mut self, placement: &DataPlacement) {
        let _ = placement;
    }

    /// The device refused an allocation: the run is tried again with smaller chunks.
    fn retrying(&mut self, retry: &MemoryRetry) {
        let _ = retry;
    }

    /// Rows and model are in place, and updates follow; `gpu` is the device that computes them, unless the processor
    /// does. After a lost device the run starts again.
    ///
    /// # Errors
    /// Ends the run.
    fn started(&mut self, gpu: Option<&Gpu>) -> Result<(), String> {
        let _ = gpu;
        Ok(())
    }

    /// An update was made. After a lost device, updates since the last snapshot are made again, and reported again.
    ///
    /// # Errors
    /// Ends the run.
    fn progress(&mut self, progress: Progress) -> Result<(), String> {
        let _ = progress;
        Ok(())
    }

    /// A state is due to be saved by the [`CheckpointPolicy`](super::CheckpointPolicy): finite, and between two
    /// updates or after the last one.
    ///
    /// # Errors
    /// Ends the run.
    fn save(&mut self, state: &RunState) -> Result<(), String> {
        let _ = state;
        Ok(())
    }

    /// The device was lost. Unless this happens too often without an update in between, it is opened again.
    /// [`Gpu::lost`] has the reason, `error` is what became of the run.
    fn device_lost(&mut self, gpu: &Gpu, error: &TrainError) {
        let _ = (gpu, error);
    }

    /// The device was opened again, and the run resumes after this update.
    fn device_reopened(&mut self, gpu: &Gpu, update: u64) {
        let _ = (gpu, update);
    }
}

/// Observes nothing.
impl Observer for () {}

impl<F: FnMut(Progress) -> Result<(), String>> Observer for F {
    fn progress(&mut self, progress: Progress) -> Result<(), String> {
        self(progress)
    }
}

/// A retry after an allocation that the device refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRetry {
    /// Bytes on the device that the refused attempt needs.
    pub needed: u64,
    /// Bytes of each of the two chunks of the next attempt.
    pub chunk: u64,
}
