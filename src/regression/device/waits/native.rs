//! Waits that block in `device.poll`.

use crate::Error;
use crate::regression::device::Gpu;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use wgpu::{PollError, PollStatus, PollType, Queue, SubmissionIndex};

/// Blocks the thread until a future is ready. The futures of this crate are ready at once, except those that wait for
/// a future of the caller's.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

/// A submission that the device may not have completed.
#[derive(Clone, Debug)]
pub struct Submission(SubmissionIndex);

impl Submission {
    pub fn new(_: &Queue, index: SubmissionIndex) -> Self {
        Submission(index)
    }

    fn poll(&self, timeout: Option<Duration>) -> PollType {
        PollType::Wait { submission_index: Some(self.0.clone()), timeout }
    }
}

pub async fn complete(gpu: &Gpu, submission: &Submission) -> Result<(), Error> {
    gpu.poll(submission.poll(None)).map(drop)
}

pub fn is_complete(gpu: &Gpu, submission: &Submission) -> Result<bool, Error> {
    Ok(gpu.poll(submission.poll(Some(Duration::ZERO)))?.is_some())
}

pub async fn read<T>(gpu: &Gpu, reading: impl Future<Output = T>) -> Result<T, Error> {
    let mut reading = pin!(reading);
    let mut context = Context::from_waker(Waker::noop());
    // The first poll of the future requests the mapping; polling the device completes it.
    loop {
        if let Poll::Ready(read) = reading.as_mut().poll(&mut context) {
            return Ok(read);
        }
        gpu.poll(PollType::wait_indefinitely())?;
    }
}

/// Nobody but the caller uses this thread: there is nothing to let run.
pub async fn turn() {}

impl Gpu {
    /// Polls the device; returns `None` after a timeout. Converts wgpu's panics on driver failures to errors.
    fn poll(&self, poll: PollType) -> Result<Option<PollStatus>, Error> {
        self.polled(|| self.device.poll(poll))
    }

    fn polled(
        &self,
        poll: impl FnOnce() -> Result<PollStatus, PollError>,
    ) -> Result<Option<PollStatus>, Error> {
        // After a panic the device counts as lost.
        let polled = catch_unwind(AssertUnwindSafe(poll)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            self.failed(text.unwrap_or("a wait failed").into())
        })?;
        self.check()?;
        match polled {
            Ok(status) => Ok(Some(status)),
            Err(PollError::Timeout) => Ok(None),
            Err(error) => Err(self.failed(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::{AdapterInfo, Backend, Device, DeviceType};

    #[test]
    fn a_wait_that_panics_is_a_device_that_is_lost() {
        let (device, queue) = Device::noop(&Default::default());
        let info =
            AdapterInfo { name: "noop".into(), ..AdapterInfo::new(DeviceType::Other, Backend::Noop) };
        let gpu = Gpu::new(device, queue, info);
        assert!(gpu.poll(PollType::Poll).unwrap().is_some());
        assert_eq!(gpu.polled(|| Err(PollError::Timeout)), Ok(None));
        assert_eq!(gpu.lost(), None);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let error = gpu.polled(|| panic!("error code {}", -4)).unwrap_err();
        std::panic::set_hook(hook);
        assert_eq!(error, Error::DeviceLost("error code -4".into()));
        assert_eq!(gpu.lost(), Some("error code -4"));
        gpu.poll(PollType::Poll).unwrap_err();
    }
}
