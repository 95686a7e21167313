//! What evaluates a model, summed on the device.

use super::Rows;
use super::gradient::{losses, so_far};
use super::row_sums::{Purpose, RowSums, constants};
use super::shader;
use crate::gpu::bindings::{BufferAccess, group, layout, pipeline};
use crate::gpu::span::Span;
use crate::regression::Batch;
use crate::{Error, Evaluation, Model};
use std::ops::Range;
use wgpu::{BindGroup, Buffer, ComputePass, ComputePipeline, Device, Queue};

/// The sums behind loss and metrics over batches of rows, by the same pass over X as a gradient.
#[derive(Debug)]
pub struct Evaluator {
    sums: RowSums,
    model: Model,
    kernel: ComputePipeline,
    bindings: BindGroup,
    so_far: Buffer,
    shift: f32,
}

impl Evaluator {
    /// Over `rows` of the model in `params`, as [`Gradient::new`](super::Gradient::new) takes them.
    ///
    /// # Errors
    /// Those of [`Gradient::new`](super::Gradient::new).
    pub fn new(
        device: &Device,
        rows: impl Into<Rows>,
        model: &Model,
        params: &Span,
        (max_batch, max_batches): (u64, u32),
    ) -> Result<Self, Error> {
        let rows = rows.into();
        let shape = rows.check(model)?;
        let purpose = Purpose { metrics: true, shuffled: false, max_batch, max_batches };
        let sums = RowSums::new(device, &rows, model, params, purpose)?;
        use BufferAccess::{DynamicUniform, Read, Write};
        let layout = layout(device, "evaluation sum", &[DynamicUniform, Read, Write, Write]);
        let so_far = so_far(device, &shape, true, sums.most_runs())?;
        let losses = losses(device, 1);
        let resources = vec![
            sums.run_binding(),
            sums.partials.as_entire_binding(),
            losses.as_entire_binding(),
            so_far.as_entire_binding(),
        ];
        let bindings = group(device, "evaluation sum", &layout, resources);
        let module = shader::evaluation_sum();
        let constants = module.declared(constants(&shape, model, purpose));
        let kernel = pipeline(device, &module, "main", &layout, &constants);
        Ok(Evaluator { sums, model: *model, kernel, bindings, so_far, shift: 0.0 })
    }

    /// Describes the batches that are to be evaluated next; `shift` is near the targets' mean.
    ///
    /// # Errors
    /// Those of [`Gradient::prepare`](super::Gradient::prepare).
    pub fn prepare(&mut self, queue: &Queue, batches: &[Batch], shift: f32) -> Result<(), Error> {
        self.shift = shift;
        self.sums.prepare(queue, batches, shift)
    }

    /// Records the evaluation of the `index`-th prepared batch, and returns where its sums are until the
    /// next one: [`read`](Self::read) makes sense of them. Nothing if there is none.
    pub fn record(&self, pass: &mut ComputePass, index: usize) -> Option<Span> {
        (0..self.runs(index)).for_each(|run| self.record_run(pass, index, run));
        self.sums(index)
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

    /// Records one of them. For callers whose chunks take turns on the device.
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
        let [x, y, z] = self.sums.sum_grid();
        pass.set_pipeline(&self.kernel);
        pass.set_bind_group(0, &self.bindings, &[run.offset]);
        pass.dispatch_workgroups(x, y, z);
    }

    /// Where the sums of the `index`-th prepared batch are after its last run, and until the next batch.
    pub fn sums(&self, index: usize) -> Option<Span> {
        let columns = u64::from(self.sums.shape().partial_vectors(true));
        let odd = self.runs(index).checked_sub(1)? as u64 % 2;
        Some(Span::new(&self.so_far, odd * columns * 16, columns * 4))
    }

    /// What has been read from the span of one batch's sums.
    pub fn read(&self, values: &[f32]) -> Evaluation {
        let widen = |sums: &[f32; 4]| sums.map(f64::from);
        let (vectors, _) = values.as_chunks::<4>();
        let Some((totals, outputs)) = vectors.split_last() else { return Evaluation::default() };
        let [loss, weight, correct, saturated] = widen(totals);
        let loss = loss * self.model.loss.factors().0;
        let outputs = outputs.iter().map(widen).collect();
        Evaluation { loss, weight, correct, saturated, outputs, shift: self.shift.into() }
    }
}
