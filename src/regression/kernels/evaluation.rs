//! The evaluation of a model: sums over rows on the device.

use super::RowSource;
use super::row_kernel::{RowKernel, SumKernel};
use super::row_sums::{RowSums, constants};
use super::segments::Purpose;
use super::shader;
use crate::gpu::span::Span;
use crate::regression::Batch;
use crate::{Error, Evaluation, Model};
use wgpu::{ComputePass, Device, Queue};

/// The sums behind loss and metrics over batches of rows, by the same pass over X as a gradient.
#[derive(Debug)]
pub struct Evaluator {
    kernel: RowKernel,
    model: Model,
    shift: f32,
}

impl Evaluator {
    /// Over `rows` of the model in `params`, as [`Gradient::new`](super::Gradient::new) takes them.
    ///
    /// # Errors
    /// Those of [`Gradient::new`](super::Gradient::new).
    pub fn new(
        device: &Device,
        rows: impl Into<RowSource>,
        model: &Model,
        params: &Span,
        (max_batch, max_batches): (u64, u32),
    ) -> Result<Self, Error> {
        let rows = rows.into();
        let shape = rows.check(model)?;
        let purpose = Purpose { metrics: true, shuffled: false, max_batch, max_batches };
        let sums = RowSums::new(device, &rows, model, params, purpose)?;
        let sum = SumKernel {
            label: "evaluation sum",
            module: shader::evaluation_sum(),
            constants: constants(&shape, model, purpose),
            grads: None,
            step: None,
            split: false,
        };
        Ok(Evaluator { kernel: RowKernel::new(device, sums, sum)?, model: *model, shift: 0.0 })
    }

    /// Describes the batches that are to be evaluated next; `shift` is near the targets' mean.
    ///
    /// # Errors
    /// Those of [`Gradient::prepare`](super::Gradient::prepare).
    pub fn prepare(&mut self, queue: &Queue, batches: &[Batch], shift: f32) -> Result<(), Error> {
        self.shift = shift;
        self.kernel.prepare(queue, batches, shift)
    }

    /// Records the evaluation of the `index`-th prepared batch, and returns the place of its sums until the next
    /// one: [`read`](Self::read) makes an [`Evaluation`] of them. Nothing if there is no such batch.
    pub fn record(&self, pass: &mut ComputePass, index: usize) -> Option<Span> {
        self.kernel.record(pass, index);
        self.sums(index)
    }

    /// The segments of each batch, which can be recorded by themselves.
    pub fn kernel(&self) -> &RowKernel {
        &self.kernel
    }

    /// The sums of the `index`-th prepared batch after its last segment, until the next batch.
    pub fn sums(&self, index: usize) -> Option<Span> {
        self.kernel.sums(index)
    }

    /// The evaluation of a batch, from the values of the span of its sums.
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
