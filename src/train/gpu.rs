//! Training on a GPU.

use super::gpu_data::GpuData;
use super::gpu_evaluation::Evaluating;
use super::{Batches, Recipe, Worker};
use crate::batch::Batch;
use crate::gpu::{Descending, Descent, Gpu, Gradient, ReadBack, Shape, Span};
use crate::regression::ProblemError;
use crate::verify::{ObservedGradient, ObservedStep, Snapshot};
use crate::{Error, Evaluation};
use wgpu::{BufferUsages, CommandEncoder};

/// Updates in one submission: as many, and fewer where so many traces of parameters would take memory or so
/// many runs would be described.
const MAX_UPDATES: u64 = 256;
const MIN_UPDATES: u64 = 4;
const TRACE: u64 = 1 << 22;
const MAX_RUNS: u64 = 1 << 14;

/// Training on a device: every update is recorded ahead, none waits for the host.
#[derive(Debug)]
pub struct GpuWorker<'a> {
    data: &'a GpuData<'a>,
    recipe: Recipe,
    shape: Shape,
    descent: Descent,
    /// Checks are made apart from what is trained.
    gradient: Gradient,
    evaluating: Evaluating,
    params: Span,
    grads: Span,
    read_back: ReadBack,
    max_updates: usize,
}

impl<'a> GpuWorker<'a> {
    /// A model that starts at `params`, as [`Model::params`](crate::Model::params) counts them, for these batches.
    ///
    /// # Errors
    /// [`Error`] if the recipe is not valid or the device's limits are too low.
    pub fn new(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
    ) -> Result<Self, Error> {
        Self::with_rule_file(data, recipe, params, batches, None)
    }

    /// [`new`](Self::new) with another shader file in the place of the rule's.
    pub(crate) fn with_rule_file(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
        rule_file: Option<&'static str>,
    ) -> Result<Self, Error> {
        recipe.validate()?;
        let Gpu { device, queue, .. } = data.gpu;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let Recipe { model, rule, penalty, average } = *recipe;
        let shape = Shape::new(&model)?;
        let padded = shape.padded_len();
        let buffer = |label| {
            Span::whole(&device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: padded * 4,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }))
        };
        let (params_span, grads) = (buffer("params"), buffer("grads"));
        let start: Vec<f32> = params.iter().map(|&p| p as f32).collect();
        queue.write_buffer(&params_span.buffer, 0, bytemuck::cast_slice(&shape.pad(&start)));

        let (max_batch, shuffled) = (batches.max_rows(), batches.shuffled());
        let runs = data.rows.most_runs(max_batch);
        let max_updates = (TRACE / padded).min(MAX_RUNS / runs).clamp(MIN_UPDATES, MAX_UPDATES);
        let max_batches = max_updates as u32;
        let options = Descending { model, rule, penalty, average, max_batch, max_batches, shuffled };
        let descent = Descent::with_rule_file(device, &data.rows, &params_span, options, rule_file)?;
        let spans = (&params_span, &grads);
        let gradient = Gradient::new(device, &data.rows, &model, spans, (max_batch, 2), shuffled)?;
        let evaluating = Evaluating::new(data, &model, &params_span, batches)?;
        let states = 2 * (1 + rule.moments().len() as u64) + 2;
        let bytes = 4 * (max_updates * (padded + 1)).max(states * padded + 3);
        let read_back = ReadBack::new(device, bytes)?;
        if let Some(error) = pollster::block_on(memory.pop()) {
            let (what, reason) = ("the model and its gradient", error.to_string());
            return Err(Error::OutOfMemory { what, reason });
        }
        Ok(GpuWorker {
            data,
            recipe: *recipe,
            shape,
            descent,
            gradient,
            evaluating,
            params: params_span,
            grads,
            read_back,
            max_updates: max_updates as usize,
        })
    }

    fn encoder(&self) -> CommandEncoder {
        self.data.gpu.device.create_command_encoder(&Default::default())
    }

    /// Records the `index`-th prepared update.
    fn record(&self, encoder: &mut CommandEncoder, index: usize) -> Result<(), ProblemError> {
        for run in 0..self.descent.runs(index) {
            let chunk = self.descent.chunk(index, run);
            self.data.on_chunk(encoder, chunk, |pass| self.descent.record_run(pass, index, run))?;
        }
        Ok(())
    }

    /// Records the `index`-th prepared gradient of a check.
    fn record_gradient(&self, encoder: &mut CommandEncoder, index: usize) -> Result<(), ProblemError> {
        for run in 0..self.gradient.runs(index) {
            let chunk = self.gradient.chunk(index, run);
            self.data.on_chunk(encoder, chunk, |pass| self.gradient.record_run(pass, index, run))?;
        }
        Ok(())
    }

    /// The moments without the average.
    fn moment_spans(&self) -> Vec<Span> {
        let mut state = self.descent.state();
        state.truncate(self.recipe.rule.moments().len());
        state
    }

    fn copy_state(&mut self, encoder: &mut CommandEncoder) -> Result<(), Error> {
        self.read_back.copy(encoder, &self.params)?;
        for moment in self.moment_spans() {
            self.read_back.copy(encoder, &moment)?;
        }
        Ok(())
    }

    fn read(&mut self, encoder: CommandEncoder) -> Result<Vec<f32>, Error> {
        self.data.gpu.submit(encoder)?;
        self.data.gpu.wait(self.read_back.read())
    }

    fn unpadded(&self, values: &[f32]) -> Vec<f64> {
        self.shape.unpad(values).into_iter().map(f64::from).collect()
    }
}

impl Worker for GpuWorker<'_> {
    fn run(
        &mut self,
        batches: &[Batch],
        learning_rates: &[f64],
        trace: Option<&mut Vec<Vec<f64>>>,
    ) -> Result<Vec<f64>, ProblemError> {
        let rates: Vec<f32> = learning_rates.iter().map(|&lr| lr as f32).collect();
        self.descent.prepare(&self.data.gpu.queue, batches, &rates)?;
        let mut encoder = self.encoder();
        for index in 0..batches.len() {
            self.record(&mut encoder, index)?;
            if trace.is_some() {
                self.read_back.copy(&mut encoder, &self.params)?;
            }
        }
        let losses = Span::new(self.descent.losses(), 0, batches.len() as u64);
        self.read_back.copy(&mut encoder, &losses)?;
        let values = self.read(encoder)?;
        let (params, losses) = values.split_at(values.len() - batches.len());
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
        sample: Option<Batch>,
    ) -> Result<ObservedStep, ProblemError> {
        let queue = &self.data.gpu.queue;
        // The gradient that the update applies is never in memory: the same kernels make it once more.
        let batches: Vec<Batch> = std::iter::once(batch).chain(sample).collect();
        self.gradient.prepare(queue, &batches)?;
        self.descent.prepare(queue, &[batch], &[lr as f32])?;
        let mut encoder = self.encoder();
        self.copy_state(&mut encoder)?;
        for index in 0..batches.len() {
            self.record_gradient(&mut encoder, index)?;
            self.read_back.copy(&mut encoder, &self.grads)?;
        }
        self.record(&mut encoder, 0)?;
        self.copy_state(&mut encoder)?;
        let losses = Span::new(self.gradient.losses(), 0, batches.len() as u64);
        self.read_back.copy(&mut encoder, &losses)?;
        self.read_back.copy(&mut encoder, &Span::new(self.descent.losses(), 0, 1))?;
        let mut values = self.read(encoder)?;

        let losses = values.split_off(values.len() - batches.len() - 1);
        let mut parts = values.chunks(self.params.len as usize).map(|part| self.shape.unpad(part));
        let mut next = || parts.next().unwrap_or_default();
        let moments = self.recipe.rule.moments().len();
        let mut snapshot =
            || Snapshot { params: next(), moments: (0..moments).map(|_| next()).collect() };
        let before = snapshot();
        let observed = |batch: Batch, grads, loss| ObservedGradient {
            batch,
            depths: self.gradient.depths(batch),
            grads,
            loss,
        };
        let mut next = || parts.next().unwrap_or_default();
        // The loss is that of the update itself.
        let gradient = observed(batch, next(), losses[losses.len() - 1]);
        let sample = sample.map(|batch| observed(batch, next(), losses[1]));
        let mut snapshot =
            || Snapshot { params: next(), moments: (0..moments).map(|_| next()).collect() };
        let after = snapshot();
        Ok(ObservedStep { t: self.descent.step_state().t, lr, before, gradient, sample, after })
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
        let Some(average) = self.descent.state().into_iter().nth(moments) else { return Ok(()) };
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
