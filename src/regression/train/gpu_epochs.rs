//! Training a small problem on a GPU: many updates in one dispatch.

use super::gpu_data::GpuData;
use super::gpu_evaluation::DeviceEvaluator;
use super::gpu_state::{GpuState, start, widen};
use super::submissions::{SubmissionQueue, ThroughputEstimate};
use super::{Batches, Recipe, Worker, WorkerState};
use crate::gpu::Span;
use crate::regression::Batch;
use crate::regression::kernels::{DescentOptions, GradientLayout, SmallBatchKernel};
use crate::regression::verification::{ObservedGradient, ObservedStep};
use crate::regression::{Problem, ProblemError};
use crate::{Error, Evaluation};

/// Updates in one submission at most, and at least where so many traces of parameters would take memory.
const MAX_UPDATES: u64 = 4096;
const MIN_UPDATES: u64 = 64;
const TRACE: u64 = 1 << 20;

/// Updates of one submission of parameters of this length.
pub fn max_updates(params: u64) -> u64 {
    (TRACE / params).clamp(MIN_UPDATES, MAX_UPDATES)
}

/// Training on a device where an update takes less time than a dispatch.
#[derive(Debug)]
pub struct SmallBatchWorker<'a> {
    state: GpuState<'a>,
    epochs: SmallBatchKernel,
    evaluating: DeviceEvaluator,
    rate: ThroughputEstimate,
    max_updates: usize,
}

impl<'a> SmallBatchWorker<'a> {
    /// Whether this is the way for a problem: whatever else, the same one for all devices and wherever its
    /// rows are, because its sums have another order than those of a [`GpuWorker`](super::GpuWorker).
    pub fn fits(problem: &Problem, recipe: &Recipe, batches: &Batches) -> bool {
        problem.is_small() && SmallBatchKernel::fits(&recipe.model, batches.max_rows())
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
        let device = &data.gpu.device;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let Recipe { model, rule, penalty, average } = *recipe;
        let shape = GradientLayout::new(&model)?;
        let params = start(data, &shape, params)?;
        let (max_batch, shuffled) = (batches.max_rows(), batches.shuffled());
        let max_updates = max_updates(params.len);
        let max_batches = max_updates as u32;
        let options = DescentOptions { model, rule, penalty, average, max_batch, max_batches, shuffled };
        let Some(samples) = data.rows.samples() else {
            let (what, range) = ("the number of chunks of the data", "1");
            return Err(Error::Shape { what, value: 0, range });
        };
        let epochs = SmallBatchKernel::new(device, samples, &params, options, true)?;
        let evaluating = DeviceEvaluator::new(data, &model, &params, batches)?;
        let planes = (epochs.state(), rule.moments().len());
        let state = GpuState::new(data, shape, params, planes, max_updates)?;
        if let Some(error) = pollster::block_on(memory.pop()) {
            let (what, reason) = ("the model and its updates", error.to_string());
            return Err(Error::OutOfMemory { what, reason });
        }
        let (rate, max_updates) = (ThroughputEstimate::default(), max_updates as usize);
        Ok(SmallBatchWorker { state, epochs, evaluating, rate, max_updates })
    }

    /// Records all prepared updates, a unit a row.
    fn record(&self, work: &mut SubmissionQueue, batches: &[Batch]) -> Result<(), Error> {
        let parts = batches.chunks(self.epochs.updates_at_once() as usize);
        for (part, batches) in parts.enumerate() {
            let encoder = work.encoder(batches.iter().map(|batch| batch.rows).sum())?;
            self.epochs.record_part(&mut encoder.begin_compute_pass(&Default::default()), part);
        }
        Ok(())
    }
}

impl Worker for SmallBatchWorker<'_> {
    fn run(
        &mut self,
        batches: &[Batch],
        learning_rates: &[f64],
        trace: Option<&mut Vec<Vec<f64>>>,
    ) -> Result<Vec<f64>, ProblemError> {
        let rates: Vec<f32> = learning_rates.iter().map(|&lr| lr as f32).collect();
        self.epochs.prepare(&self.state.data.gpu.queue, batches, &rates)?;
        let mut work = self.state.data.work(&self.rate);
        self.record(&mut work, batches)?;
        let updates = batches.len() as u64;
        let losses = Span { len: updates, ..self.epochs.losses() };
        work.copy(&mut self.state.read_back, &losses)?;
        if let (Some(_), Some(traced)) = (&trace, self.epochs.trace()) {
            let len = updates * self.state.params.len;
            work.copy(&mut self.state.read_back, &Span { len, ..traced })?;
        }
        let values = work.read(&mut self.state.read_back)?;
        let (losses, params) = values.split_at(batches.len());
        if let Some(trace) = trace {
            trace.extend(self.state.parts(params).map(widen));
        }
        Ok(widen(losses.to_vec()))
    }

    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        _: Option<Batch>,
    ) -> Result<ObservedStep, ProblemError> {
        // A batch that fits here is checked whole.
        self.epochs.prepare(&self.state.data.gpu.queue, &[batch], &[lr as f32])?;
        let mut work = self.state.data.work(&self.rate);
        self.state.copy(&mut work)?;
        self.record(&mut work, &[batch])?;
        self.state.copy(&mut work)?;
        work.copy(&mut self.state.read_back, &self.epochs.gradient())?;
        work.copy(&mut self.state.read_back, &Span { len: 1, ..self.epochs.losses() })?;
        let mut values = work.read(&mut self.state.read_back)?;

        let loss = values.pop().unwrap_or(f32::NAN);
        let mut parts = self.state.parts(&values);
        let before = self.state.snapshot(&mut parts);
        let after = self.state.snapshot(&mut parts);
        let grads = parts.next().unwrap_or_default();
        let gradient = ObservedGradient { batch, depths: self.epochs.depths(batch), grads, loss };
        Ok(ObservedStep { t: self.epochs.step_state().t, lr, before, gradient, sample: None, after })
    }

    fn params(&mut self) -> Result<Vec<f64>, ProblemError> {
        Ok(self.state.all()?.swap_remove(0))
    }

    fn moments(&mut self) -> Result<Vec<Vec<f64>>, ProblemError> {
        Ok(self.state.all()?.split_off(1))
    }

    fn take_average(&mut self) -> Result<(), ProblemError> {
        Ok(self.state.take_average()?)
    }

    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> Result<Evaluation, ProblemError> {
        self.evaluating.evaluate(self.state.data, first, rows, shift)
    }

    fn max_updates(&self) -> usize {
        self.max_updates
    }

    fn save(&mut self) -> Result<WorkerState, ProblemError> {
        Ok(self.state.save(self.epochs.step_state())?)
    }

    fn restore(&mut self, state: &WorkerState) -> Result<(), ProblemError> {
        self.state.restore(state)?;
        self.epochs.set_step_state(state.step);
        Ok(())
    }
}
