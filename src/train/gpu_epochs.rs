//! Training a small problem on a GPU: many updates in one dispatch.

use super::gpu_data::GpuData;
use super::gpu_evaluation::Evaluating;
use super::{Batches, Recipe, Worker};
use crate::batch::Batch;
use crate::gpu::{Descending, Epochs, Gpu, ReadBack, Shape, Span};
use crate::regression::ProblemError;
use crate::verify::{ObservedGradient, ObservedStep, Snapshot};
use crate::{Error, Evaluation};
use wgpu::{BufferUsages, CommandEncoder};

/// Updates in one submission at most, and at least where so many traces of parameters would take memory.
const MAX_UPDATES: u64 = 4096;
const MIN_UPDATES: u64 = 64;
const TRACE: u64 = 1 << 20;

/// Training on a device where an update takes less time than a dispatch.
#[derive(Debug)]
pub struct EpochsWorker<'a> {
    data: &'a GpuData<'a>,
    recipe: Recipe,
    epochs: Epochs,
    evaluating: Evaluating,
    params: Span,
    read_back: ReadBack,
    max_updates: usize,
}

impl<'a> EpochsWorker<'a> {
    /// Whether this is the way for a problem: whatever else, the same one for all devices and wherever its
    /// rows are, because its sums have another order than those of a [`GpuWorker`](super::GpuWorker).
    pub fn fits(problem: &crate::regression::Problem, recipe: &Recipe, batches: &Batches) -> bool {
        problem.is_small() && Epochs::fits(&recipe.model, batches.max_rows())
    }

    /// A model that starts at `params`, as [`Model::params`](crate::Model::params) counts them, on resident
    /// rows.
    ///
    /// # Errors
    /// [`Error`] if the recipe is not valid, the rows are not resident, or the device's limits are too low.
    pub fn new(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
    ) -> Result<Self, Error> {
        recipe.validate()?;
        let Gpu { device, queue, .. } = data.gpu;
        let Recipe { model, rule, penalty, average } = *recipe;
        let shape = Shape::new(&model)?;
        let padded = shape.padded_len();
        let params_span = Span::whole(&device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: padded * 4,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }));
        let start: Vec<f32> = params.iter().map(|&p| p as f32).collect();
        queue.write_buffer(&params_span.buffer, 0, bytemuck::cast_slice(&shape.pad(&start)));
        let (max_batch, shuffled) = (batches.max_rows(), batches.shuffled());
        let max_updates = (TRACE / padded).clamp(MIN_UPDATES, MAX_UPDATES);
        let options = Descending {
            model,
            rule,
            penalty,
            average,
            max_batch,
            max_batches: max_updates as u32,
            shuffled,
        };
        let Some(samples) = data.rows.samples() else {
            let (what, range) = ("the number of chunks of the data", "1");
            return Err(Error::Shape { what, value: 0, range });
        };
        let epochs = Epochs::new(device, samples, &params_span, options, true)?;
        let evaluating = Evaluating::new(data, &model, &params_span, batches)?;
        let states = 2 * (1 + rule.moments().len() as u64) + 1;
        let bytes = 4 * (max_updates * (padded + 1)).max(states * padded + 1);
        Ok(EpochsWorker {
            data,
            recipe: *recipe,
            epochs,
            evaluating,
            params: params_span,
            read_back: ReadBack::new(device, bytes)?,
            max_updates: max_updates as usize,
        })
    }

    fn encoder(&self) -> CommandEncoder {
        self.data.gpu.device.create_command_encoder(&Default::default())
    }

    fn copy_state(&mut self, encoder: &mut CommandEncoder) -> Result<(), Error> {
        self.read_back.copy(encoder, &self.params)?;
        let moments = self.recipe.rule.moments().len();
        for moment in &self.epochs.state()[..moments] {
            self.read_back.copy(encoder, moment)?;
        }
        Ok(())
    }

    fn read(&mut self, encoder: CommandEncoder) -> Result<Vec<f32>, Error> {
        self.data.gpu.submit(encoder)?;
        self.data.gpu.wait(self.read_back.read())
    }

    fn unpadded(&self, values: &[f32]) -> Vec<f64> {
        self.epochs.shape().unpad(values).into_iter().map(f64::from).collect()
    }
}

impl Worker for EpochsWorker<'_> {
    fn run(
        &mut self,
        batches: &[Batch],
        learning_rates: &[f64],
        trace: Option<&mut Vec<Vec<f64>>>,
    ) -> Result<Vec<f64>, ProblemError> {
        let rates: Vec<f32> = learning_rates.iter().map(|&lr| lr as f32).collect();
        self.epochs.prepare(&self.data.gpu.queue, batches, &rates)?;
        let mut encoder = self.encoder();
        self.epochs.record(&mut encoder.begin_compute_pass(&Default::default()));
        let updates = batches.len() as u64;
        let losses = Span { len: updates, ..self.epochs.losses() };
        self.read_back.copy(&mut encoder, &losses)?;
        if let (Some(_), Some(traced)) = (&trace, self.epochs.trace()) {
            let len = updates * self.params.len;
            self.read_back.copy(&mut encoder, &Span { len, ..traced })?;
        }
        let values = self.read(encoder)?;
        let (losses, params) = values.split_at(batches.len());
        if let Some(trace) = trace {
            let params = params.chunks(self.params.len as usize);
            trace.extend(params.map(|params| self.unpadded(params)));
        }
        Ok(losses.iter().map(|&loss| loss.into()).collect())
    }

    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        _: Option<Batch>,
    ) -> Result<ObservedStep, ProblemError> {
        // A batch that fits here is checked whole.
        self.epochs.prepare(&self.data.gpu.queue, &[batch], &[lr as f32])?;
        let mut encoder = self.encoder();
        self.copy_state(&mut encoder)?;
        self.epochs.record(&mut encoder.begin_compute_pass(&Default::default()));
        self.copy_state(&mut encoder)?;
        self.read_back.copy(&mut encoder, &self.epochs.gradient())?;
        self.read_back.copy(&mut encoder, &Span { len: 1, ..self.epochs.losses() })?;
        let mut values = self.read(encoder)?;

        let loss = values.pop().unwrap_or(f32::NAN);
        let shape = self.epochs.shape();
        let mut parts = values.chunks(self.params.len as usize).map(|part| shape.unpad(part));
        let mut next = || parts.next().unwrap_or_default();
        let moments = self.recipe.rule.moments().len();
        let mut snapshot =
            || Snapshot { params: next(), moments: (0..moments).map(|_| next()).collect() };
        let (before, after) = (snapshot(), snapshot());
        let depths = self.epochs.depths(batch);
        let gradient = ObservedGradient { batch, depths, grads: next(), loss };
        Ok(ObservedStep { t: self.epochs.step_state().t, lr, before, gradient, sample: None, after })
    }

    fn params(&mut self) -> Result<Vec<f64>, ProblemError> {
        let mut encoder = self.encoder();
        self.read_back.copy(&mut encoder, &self.params)?;
        let values = self.read(encoder)?;
        Ok(self.unpadded(&values))
    }

    fn moments(&mut self) -> Result<Vec<Vec<f64>>, ProblemError> {
        let mut encoder = self.encoder();
        self.copy_state(&mut encoder)?;
        let values = self.read(encoder)?;
        let moments = values.chunks(self.params.len as usize).skip(1);
        Ok(moments.map(|values| self.unpadded(values)).collect())
    }

    fn take_average(&mut self) -> Result<(), ProblemError> {
        let moments = self.recipe.rule.moments().len();
        let Some(average) = self.epochs.state().into_iter().nth(moments) else { return Ok(()) };
        let mut encoder = self.encoder();
        let Span { buffer, offset, len } = average;
        encoder.copy_buffer_to_buffer(&buffer, offset, &self.params.buffer, 0, len * 4);
        self.data.gpu.submit(encoder)?;
        Ok(())
    }

    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> Result<Evaluation, ProblemError> {
        self.evaluating.evaluate(self.data, first, rows, shift)
    }

    fn max_updates(&self) -> usize {
        self.max_updates
    }
}
