//! The interface of every kernel over the rows of prepared batches: the segments of a batch, each recorded in slices,
//! and the dispatch that adds up their partial sums.

use super::GradientLayout;
use super::row_sums::{RowSums, Sizes};
use super::segments::{PreparedBatches, Purpose, RowSegment};
use crate::Error;
use crate::gpu::bindings::{BufferAccess, check_limit, group, layout, pipeline_over};
use crate::gpu::shader::Module;
use crate::gpu::span::{Limits, Span};
use crate::gpu::steps::SLOT;
use crate::regression::{Batch, nodes};
use std::ops::Range;
use wgpu::{
    BindGroup, BindGroupLayout, Buffer, BufferUsages, ComputePass, ComputePipeline, Device, Queue,
};

/// A kernel over the rows of prepared batches: [`Gradient`](super::Gradient), [`Descent`](super::Descent) and
/// [`Evaluator`](super::Evaluator) have one each.
///
/// A batch consists of segments, each within one chunk of the data. All slices of all segments of a batch are recorded
/// in order; the last one completes the batch. Callers that stream chunks, or that bound the time of a submission,
/// record slices; others record whole batches.
#[derive(Debug)]
pub struct RowKernel {
    sums: RowSums,
    sum: ComputePipeline,
    bindings: BindGroup,
    /// A slot for every batch.
    step_bindings: Option<BindGroup>,
    losses: Buffer,
    /// The sums over the segments of a batch so far: a plane for every level of the tree.
    so_far: Buffer,
}

/// The kernel that adds up the partial sums of a segment, composed with `shaders/gradient/reduce.wgsl`.
pub struct SumKernel<'a> {
    pub label: &'static str,
    pub module: Module,
    pub constants: Vec<(&'static str, f64)>,
    /// The gradient in memory.
    pub grads: Option<&'a Span>,
    /// The step of a rule: the layout, and a slot for every batch.
    pub step: Option<(&'a BindGroupLayout, BindGroup)>,
    /// Whether sums can leave the device before the step, and return.
    pub split: bool,
}

impl RowKernel {
    /// # Errors
    /// [`Error::Limit`].
    pub(super) fn new(device: &Device, sums: RowSums, sum: SumKernel) -> Result<Self, Error> {
        let SumKernel { label, module, constants, grads, step, split } = sum;
        let (shape, purpose) = (sums.shape(), sums.purpose());
        let (limit, available) = ("max_storage_buffer_binding_size", Limits::of(device).max_binding);
        let so_far = so_far_bytes(shape, purpose, sums.batches.most_segments(), split);
        check_limit(limit, available, so_far, " for the sums of a batch")?;
        let buffer = |label, size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | usage,
                mapped_at_creation: false,
            })
        };
        let returning = if split { BufferUsages::COPY_DST } else { BufferUsages::empty() };
        let so_far = buffer("sums of a batch", so_far, returning);
        let losses = buffer("losses", loss_bytes(purpose), BufferUsages::empty());
        use BufferAccess::{DynamicUniform, Read, Write};
        let mut uses = vec![DynamicUniform, Read, Write, Write];
        uses.extend(grads.map(|_| Write));
        let layout = layout(device, label, &uses);
        let mut resources = vec![
            sums.batches.binding(),
            sums.partials.as_entire_binding(),
            losses.as_entire_binding(),
            so_far.as_entire_binding(),
        ];
        resources.extend(grads.map(Span::whole_binding));
        let bindings = group(device, label, &layout, resources);
        let mut layouts = vec![Some(&layout)];
        layouts.extend(step.as_ref().map(|&(layout, _)| Some(layout)));
        let constants = module.declared(constants);
        let sum = pipeline_over(device, &module, "main", &layouts, &constants);
        let step_bindings = step.map(|(_, bindings)| bindings);
        Ok(RowKernel { sums, sum, bindings, step_bindings, losses, so_far })
    }

    /// Bytes of all buffers but those of a [`SumKernel`], if a batch has at most `most_segments` segments.
    pub(crate) fn bytes_of(
        shape: &GradientLayout,
        most_segments: u64,
        purpose: &Purpose,
        split: bool,
    ) -> u64 {
        let Sizes { partials, scores } = Sizes::new(shape, purpose);
        partials
            + scores
            + PreparedBatches::bytes_of(shape, most_segments, purpose)
            + so_far_bytes(shape, purpose, most_segments, split)
            + loss_bytes(purpose)
    }

    pub(super) fn prepare(&mut self, queue: &Queue, batches: &[Batch], shift: f32) -> Result<(), Error> {
        self.sums.batches.prepare(queue, batches, shift)
    }

    /// Prepares a share of a batch, whose [sums](Self::sums) are not scaled.
    pub(super) fn prepare_sums(&mut self, queue: &Queue, share: &Batch) -> Result<(), Error> {
        self.sums.batches.prepare_sums(queue, share)
    }

    /// Prepares the sums over all `rows` rows of a batch, as [`sums`](Self::sums) has them: recorded next, they are
    /// scaled like those of a prepared batch.
    pub(super) fn prepare_total(&mut self, queue: &Queue, rows: u64, sums: &[f32]) {
        queue.write_buffer(&self.so_far, 0, bytemuck::cast_slice(sums));
        self.sums.batches.prepare_total(queue, rows);
    }

    /// The segments of the `index`-th prepared batch, in order; none if there is no such batch.
    pub fn segments(&self, index: usize) -> &[RowSegment] {
        self.sums.batches.segments(index)
    }

    /// Records the `index`-th prepared batch; nothing if there is no such batch.
    pub fn record(&self, pass: &mut ComputePass, index: usize) {
        for (i, segment) in self.segments(index).iter().enumerate() {
            self.record_slices(pass, index, i, 0..segment.slices);
        }
    }

    /// Records some slices of a segment of the `index`-th prepared batch; nothing if there is no such segment. The
    /// chunk of the segment must be on the device when the pass runs.
    pub fn record_slices(
        &self,
        pass: &mut ComputePass,
        index: usize,
        segment: usize,
        slices: Range<usize>,
    ) {
        let Some(segment) = self.segments(index).get(segment) else { return };
        self.sums.record_slices(pass, segment, slices.clone());
        if slices.end < segment.slices {
            return;
        }
        pass.set_pipeline(&self.sum);
        pass.set_bind_group(0, &self.bindings, &[segment.offset(0)]);
        if let Some(bindings) = &self.step_bindings {
            pass.set_bind_group(1, bindings, &[index as u32 * SLOT as u32]);
        }
        let [x, y, z] = self.sums.sum_grid();
        pass.dispatch_workgroups(x, y, z);
    }

    pub(super) fn losses(&self) -> &Buffer {
        &self.losses
    }

    /// The sums of the `index`-th prepared batch after its last segment, until the next batch.
    pub(super) fn sums(&self, index: usize) -> Option<Span> {
        let columns = u64::from(self.shape().partial_vectors(self.sums.purpose().metrics));
        let last = self.segments(index).len().checked_sub(1)? as u64;
        let plane = u64::from(nodes::completed_level(last));
        Some(Span::new(&self.so_far, plane * columns * 16, columns * 4))
    }

    /// The layout of rows and parameters, and of the sums.
    pub fn shape(&self) -> &GradientLayout {
        self.sums.shape()
    }

    /// The longest chains of additions behind an element of the sums of `batch` and behind a score, for error
    /// bounds.
    pub fn depths(&self, batch: Batch) -> (u32, u32) {
        let shape = self.shape();
        (shape.depth(&self.sums.batches.segment_rows(&batch)), shape.dot_depth())
    }
}

/// A loss for every batch. An evaluation has one, which is not read.
fn loss_bytes(purpose: &Purpose) -> u64 {
    if purpose.metrics { 4 } else { 4 * u64::from(purpose.max_batches) }
}

fn so_far_bytes(shape: &GradientLayout, purpose: &Purpose, most_segments: u64, split: bool) -> u64 {
    if most_segments <= 1 && !purpose.metrics && !split {
        // A binding cannot be empty.
        return 16;
    }
    u64::from(nodes::levels(most_segments)) * u64::from(shape.partial_vectors(purpose.metrics)) * 16
}
