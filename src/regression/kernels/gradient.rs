//! The recorded gradient of a model's mean loss.

use super::RowSource;
use super::row_kernel::{RowKernel, SumKernel};
use super::row_sums::{RowSums, check_params, constants};
use super::segments::Purpose;
use super::shader;
use crate::gpu::span::{Limits, Span};
use crate::regression::Batch;
use crate::{Error, Model};
use wgpu::{Buffer, ComputePass, Device, Queue};

/// The gradient of a model's mean loss over batches of rows, and the loss.
///
/// X is read once up to 4096 weights, and at most twice for up to four outputs beyond. Sums have a fixed
/// shape: the same device, driver and batch give the same bits, however the rows are cut into buffers.
#[derive(Debug)]
pub struct Gradient {
    kernel: RowKernel,
}

impl Gradient {
    /// The gradient over `rows` of the model in `params`, written to `grads`: both are
    /// [`padded_len`](super::GradientLayout::padded_len) long, in the order of [`pad`](super::GradientLayout::pad).
    ///
    /// Up to `max_batches` batches of at most `max_batch` rows can be prepared at a time, with `shuffled`
    /// also those of a [`Window`](crate::Window).
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::OutOfBounds`], [`Error::Misaligned`], [`Error::MissingUsage`] and
    /// [`Error::Overlap`] for the spans; [`Error::Limit`] for the limits of the device; those of
    /// [`Model::validate`].
    pub fn new(
        device: &Device,
        rows: impl Into<RowSource>,
        model: &Model,
        (params, grads): (&Span, &Span),
        (max_batch, max_batches): (u64, u32),
        shuffled: bool,
    ) -> Result<Self, Error> {
        let limits = Limits::of(device);
        let rows = rows.into();
        let shape = rows.check(model)?;
        check_params("grads", &shape, grads, &limits)?;
        if params.overlaps(grads) {
            return Err(Error::Overlap { first: "params".into(), second: "grads".into() });
        }
        let purpose = Purpose { metrics: false, shuffled, max_batch, max_batches };
        let sums = RowSums::new(device, &rows, model, params, purpose)?;
        let sum = SumKernel {
            label: "gradient sum",
            module: shader::gradient_reduce(),
            constants: constants(&shape, model, purpose),
            grads: Some(grads),
            step: None,
            split: false,
        };
        Ok(Gradient { kernel: RowKernel::new(device, sums, sum)? })
    }

    /// Describes the batches that are to be recorded next, in place of the last ones. The queue copies
    /// them before its next submission, so the last ones must have been submitted.
    ///
    /// # Errors
    /// [`Error::Shape`] for too many batches, or for one that is empty, too long, past the data's end, or in
    /// a window that is not within one chunk.
    pub fn prepare(&mut self, queue: &Queue, batches: &[Batch]) -> Result<(), Error> {
        self.kernel.prepare(queue, batches, 0.0)
    }

    /// Records the gradient of the `index`-th prepared batch; nothing if there is none.
    pub fn record(&self, pass: &mut ComputePass, index: usize) {
        self.kernel.record(pass, index);
    }

    /// The segments of each batch, which can be recorded by themselves: the last one writes the gradient.
    pub fn kernel(&self) -> &RowKernel {
        &self.kernel
    }

    /// The loss of each prepared batch after its gradient has run, one f32 each; usage `COPY_SRC`.
    pub fn losses(&self) -> &Buffer {
        self.kernel.losses()
    }

    /// The longest chains of additions behind an element of the gradient of `batch` and behind a
    /// score, for error bounds.
    pub fn depths(&self, batch: Batch) -> (u32, u32) {
        self.kernel.depths(batch)
    }
}
