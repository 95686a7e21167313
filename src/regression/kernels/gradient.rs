//! The recorded gradient of a model's mean loss.

use super::row_sums::Sizes;
use super::row_sums::{Purpose, RowSums, check_params, constants};
use super::shader;
use super::{GradientLayout, Rows};
use crate::gpu::bindings::{BufferAccess, check_limit, group, layout, pipeline};
use crate::gpu::span::{Limits, Span};
use crate::regression::Batch;
use crate::{Error, Model};
use std::ops::Range;
use wgpu::{BindGroup, Buffer, BufferUsages, ComputePass, ComputePipeline, Device, Queue};

/// The gradient of a model's mean loss over batches of rows, and the loss.
///
/// X is read once up to 4096 weights, and at most twice for up to four outputs beyond. Sums have a fixed
/// shape: the same device, driver and batch give the same bits, however the rows are cut into buffers.
#[derive(Debug)]
pub struct Gradient {
    sums: RowSums,
    reduce: ComputePipeline,
    bindings: BindGroup,
    losses: Buffer,
}

impl Gradient {
    /// The gradient over `rows` of the model in `params`, written to `grads`: both are
    /// [`GradientLayout::padded_len`] long and lie as [`GradientLayout::pad`] has them.
    ///
    /// Up to `max_batches` batches of at most `max_batch` rows can be prepared at a time, with `shuffled`
    /// also those of a [`Window`](crate::Window).
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::OutOfBounds`], [`Error::Misaligned`], [`Error::MissingUsage`] and
    /// [`Error::Overlap`] for the spans; [`Error::Limit`] for what the device does not offer; those of
    /// [`Model::validate`].
    pub fn new(
        device: &Device,
        rows: impl Into<Rows>,
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
        let losses = losses(device, max_batches);
        use BufferAccess::{DynamicUniform, Read, Write};
        let layout = layout(device, "gradient sum", &[DynamicUniform, Read, Write, Write, Write]);
        let so_far = so_far(device, &shape, false, sums.most_runs())?;
        let resources = vec![
            sums.run_binding(),
            sums.partials.as_entire_binding(),
            losses.as_entire_binding(),
            so_far.as_entire_binding(),
            grads.whole_binding(),
        ];
        let bindings = group(device, "gradient sum", &layout, resources);
        let module = shader::gradient_reduce();
        let constants = module.declared(constants(&shape, model, purpose));
        let reduce = pipeline(device, &module, "main", &layout, &constants);
        Ok(Gradient { sums, reduce, bindings, losses })
    }

    /// Bytes of what is allocated for so many batches, where one comes in at most so many runs.
    pub(crate) fn bytes_of(shape: &GradientLayout, most_runs: u64, purpose: &Purpose) -> u64 {
        let losses = 4 * u64::from(purpose.max_batches);
        Sizes::new(shape, most_runs, purpose).total()
            + so_far_bytes(shape, purpose.metrics, most_runs)
            + losses
    }

    /// Describes the batches that are to be recorded next, in place of the last ones. The queue makes
    /// the copy ahead of its next submission, so the last ones must have been submitted.
    ///
    /// # Errors
    /// [`Error::Shape`] for too many batches, or for one that is empty, too long, past the data's end, or in
    /// a window that is not within one chunk.
    pub fn prepare(&mut self, queue: &Queue, batches: &[Batch]) -> Result<(), Error> {
        self.sums.prepare(queue, batches, 0.0)
    }

    /// Records the gradient of the `index`-th prepared batch; nothing if there is none.
    pub fn record(&self, pass: &mut ComputePass, index: usize) {
        (0..self.runs(index)).for_each(|run| self.record_run(pass, index, run));
    }

    /// The runs of rows that the `index`-th prepared batch is summed by, one after the other.
    pub fn runs(&self, index: usize) -> usize {
        self.sums.runs(index).len()
    }

    /// The chunk of the data that one of them lies in.
    pub fn chunk(&self, index: usize, run: usize) -> usize {
        self.sums.chunk(index, run)
    }

    /// About how many bytes one of them reads and writes: what its share of the time is.
    pub fn bytes(&self, index: usize, run: usize) -> u64 {
        self.sums.bytes(index, run)
    }

    /// Records one of them: the last one writes the gradient. For callers whose chunks take turns on the
    /// device.
    pub fn record_run(&self, pass: &mut ComputePass, index: usize, run: usize) {
        self.record_steps(pass, index, run, 0..self.steps(index, run));
    }

    /// How many steps a run can be recorded in, so that no submission need be longer than one of them.
    pub fn steps(&self, index: usize, run: usize) -> usize {
        self.sums.steps(index, run)
    }

    /// Records some of a run's steps; they follow on one another.
    pub fn record_steps(&self, pass: &mut ComputePass, index: usize, run: usize, steps: Range<usize>) {
        let (last, Some(run)) = (self.steps(index, run), self.sums.runs(index).get(run)) else { return };
        self.sums.record_steps(pass, run, steps.clone());
        if steps.end < last {
            return;
        }
        pass.set_pipeline(&self.reduce);
        pass.set_bind_group(0, &self.bindings, &[run.offset]);
        let [x, y, z] = self.sums.sum_grid();
        pass.dispatch_workgroups(x, y, z);
    }

    /// The loss of each prepared batch after its gradient has run, one f32 each; usage `COPY_SRC`.
    pub fn losses(&self) -> &Buffer {
        &self.losses
    }

    /// The longest chains of additions behind an element of the gradient of `batch` and behind a
    /// score, for error bounds.
    pub fn depths(&self, batch: Batch) -> (u32, u32) {
        let shape = self.sums.shape();
        (shape.depth(&self.sums.run_lengths(&batch)), shape.dot_depth())
    }
}

/// A loss for every prepared batch.
pub(super) fn losses(device: &Device, max_batches: u32) -> Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("losses"),
        size: u64::from(max_batches.max(1)) * 4,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// What a batch's runs add up to; two planes where there are several.
pub(super) fn so_far(
    device: &Device,
    shape: &GradientLayout,
    metrics: bool,
    most_runs: u64,
) -> Result<Buffer, Error> {
    let (limit, available) = ("max_storage_buffer_binding_size", Limits::of(device).max_binding);
    let size = so_far_bytes(shape, metrics, most_runs);
    check_limit(limit, available, size, " for the sums of a batch")?;
    Ok(device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("sums of a batch"),
        size,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    }))
}

pub(crate) fn so_far_bytes(shape: &GradientLayout, metrics: bool, most_runs: u64) -> u64 {
    let vectors = if most_runs > 1 || metrics { 2 * shape.partial_vectors(metrics) } else { 1 };
    u64::from(vectors) * 16
}
