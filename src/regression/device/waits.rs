//! The waits for a device, one future for each kind.
//!
//! Natively a future blocks in `device.poll` when it is polled: it is ready at once, and costs what the call costs. In
//! the browser, where nothing may block, it is pending until the browser calls back.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
use browser as platform;
#[cfg(not(target_arch = "wasm32"))]
use native as platform;

#[cfg(not(target_arch = "wasm32"))]
pub use native::block_on;
pub(crate) use platform::{Submission, turn};

use super::Gpu;
use crate::Error;
use wgpu::CommandEncoder;

impl Gpu {
    /// Submits commands, and waits until the device has completed them. Natively the future is ready at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn submit(&self, encoder: CommandEncoder) -> Result<(), Error> {
        self.complete(&self.launch(encoder)).await
    }

    /// Submits commands.
    pub(crate) fn launch(&self, encoder: CommandEncoder) -> Submission {
        let index = self.queue.submit([encoder.finish()]);
        Submission::new(&self.queue, index)
    }

    /// Waits until the device has completed a submission.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub(crate) async fn complete(&self, submission: &Submission) -> Result<(), Error> {
        platform::complete(self, submission).await
    }

    /// Whether the device has completed a submission, as far as it has said.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub(crate) fn is_complete(&self, submission: &Submission) -> Result<bool, Error> {
        platform::is_complete(self, submission)
    }

    /// Waits for a read-back. Natively the future is ready at once.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; errors of the read-back.
    pub async fn wait<T>(&self, reading: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let result = platform::read(self, reading).await?;
        self.check()?;
        result.map_err(|error| match error {
            Error::ReadBack(reason) => self.failed(reason),
            other => other,
        })
    }

    /// Allocates `what` by `make`, and waits until the device has accepted or refused it. `make` does not wait: scopes
    /// of errors are a stack, and the caller may push others meanwhile.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the device has refused; the errors of `make`.
    pub(crate) async fn allocate<T, E: From<Error>>(
        &self,
        what: &'static str,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let made = make();
        match scope.pop().await {
            Some(error) => Err(Error::OutOfMemory { what, reason: error.to_string() }.into()),
            None => made,
        }
    }
}
