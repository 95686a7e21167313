//! Training on a GPU.

use super::gpu_data::GpuData;
use super::gpu_evaluation::DeviceEvaluator;
use super::gpu_state::{GpuState, buffer, start, widen};
use super::submissions::{SubmissionQueue, ThroughputEstimate};
use super::{Batches, Recipe, Worker, WorkerState};
use crate::gpu::Span;
use crate::regression::Batch;
use crate::regression::ProblemError;
use crate::regression::kernels::{Descent, DescentOptions, Gradient, GradientLayout};
use crate::regression::verification::{ObservedGradient, ObservedStep};
use crate::{Error, Evaluation};

/// Updates in one submission: as many, and fewer where so many traces of parameters would take memory or so
/// many runs would be described.
const MAX_UPDATES: u64 = 256;
const MIN_UPDATES: u64 = 1;
const TRACE: u64 = 1 << 22;
const MAX_RUNS: u64 = 1 << 10;

/// Updates of one submission of parameters of this length, where a batch comes in so many runs.
pub fn max_updates(params: u64, runs: u64) -> u64 {
    (TRACE / params).min(MAX_RUNS / runs).clamp(MIN_UPDATES, MAX_UPDATES)
}

/// Training on a device: every update is recorded ahead, none waits for the host.
#[derive(Debug)]
pub struct GpuWorker<'a> {
    state: GpuState<'a>,
    descent: Descent,
    /// Checks are made apart from what is trained.
    gradient: Gradient,
    grads: Span,
    evaluating: DeviceEvaluator,
    rate: ThroughputEstimate,
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

    /// [`new`](Self::new) with another shader file in the place of the rule's, which defines the same functions.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn with_rule_file(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
        rule_file: Option<&'static str>,
    ) -> Result<Self, Error> {
        recipe.validate()?;
        let device = &data.gpu.device;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let Recipe { model, rule, penalty, average } = *recipe;
        let shape = GradientLayout::new(&model)?;
        let (params, grads) = (start(data, &shape, params)?, buffer(data, &shape, "grads")?);

        let (max_batch, shuffled) = (batches.max_rows(), batches.shuffled());
        let runs = data.rows.most_runs(max_batch);
        let max_updates = max_updates(params.len, runs);
        let max_batches = max_updates as u32;
        let options = DescentOptions { model, rule, penalty, average, max_batch, max_batches, shuffled };
        let descent = Descent::with_rule_file(device, &data.rows, &params, options, rule_file)?;
        let spans = (&params, &grads);
        let gradient = Gradient::new(device, &data.rows, &model, spans, (max_batch, 2), shuffled)?;
        let evaluating = DeviceEvaluator::new(data, &model, &params, batches)?;
        let planes = (descent.state(), rule.moments().len());
        let state = GpuState::new(data, shape, params, planes, max_updates)?;
        if let Some(error) = pollster::block_on(memory.pop()) {
            let (what, reason) = ("the model and its gradient", error.to_string());
            return Err(Error::OutOfMemory { what, reason });
        }
        let max_updates = max_updates as usize;
        Ok(GpuWorker {
            state,
            descent,
            gradient,
            grads,
            evaluating,
            rate: ThroughputEstimate::default(),
            max_updates,
        })
    }

    /// Records the `index`-th prepared update.
    fn record(&self, work: &mut SubmissionQueue, index: usize) -> Result<(), ProblemError> {
        let (data, descent) = (self.state.data, &self.descent);
        for run in 0..descent.runs(index) {
            let cost = (descent.bytes(index, run), descent.steps(index, run));
            data.on_chunk(work, descent.chunk(index, run), cost, |pass, steps| {
                descent.record_steps(pass, index, run, steps);
            })?;
        }
        Ok(())
    }

    /// Records the `index`-th prepared gradient of a check.
    fn record_gradient(&self, work: &mut SubmissionQueue, index: usize) -> Result<(), ProblemError> {
        let (data, gradient) = (self.state.data, &self.gradient);
        for run in 0..gradient.runs(index) {
            let cost = (gradient.bytes(index, run), gradient.steps(index, run));
            data.on_chunk(work, gradient.chunk(index, run), cost, |pass, steps| {
                gradient.record_steps(pass, index, run, steps);
            })?;
        }
        Ok(())
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
        self.descent.prepare(&self.state.data.gpu.queue, batches, &rates)?;
        let mut work = self.state.data.work(&self.rate);
        for index in 0..batches.len() {
            self.record(&mut work, index)?;
            if trace.is_some() {
                work.copy(&mut self.state.read_back, &self.state.params)?;
            }
        }
        let losses = Span::new(self.descent.losses(), 0, batches.len() as u64);
        work.copy(&mut self.state.read_back, &losses)?;
        let values = work.read(&mut self.state.read_back)?;
        let (params, losses) = values.split_at(values.len() - batches.len());
        if let Some(trace) = trace {
            trace.extend(self.state.parts(params).map(widen));
        }
        Ok(widen(losses.to_vec()))
    }

    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> Result<ObservedStep, ProblemError> {
        let queue = &self.state.data.gpu.queue;
        // The gradient that the update applies is never in memory: the same kernels make it once more.
        let batches: Vec<Batch> = std::iter::once(batch).chain(sample).collect();
        self.gradient.prepare(queue, &batches)?;
        self.descent.prepare(queue, &[batch], &[lr as f32])?;
        let mut work = self.state.data.work(&self.rate);
        self.state.copy(&mut work)?;
        for index in 0..batches.len() {
            self.record_gradient(&mut work, index)?;
            work.copy(&mut self.state.read_back, &self.grads)?;
        }
        self.record(&mut work, 0)?;
        self.state.copy(&mut work)?;
        let losses = Span::new(self.gradient.losses(), 0, batches.len() as u64);
        work.copy(&mut self.state.read_back, &losses)?;
        work.copy(&mut self.state.read_back, &Span::new(self.descent.losses(), 0, 1))?;
        let mut values = work.read(&mut self.state.read_back)?;

        let losses = values.split_off(values.len() - batches.len() - 1);
        let mut parts = self.state.parts(&values);
        let before = self.state.snapshot(&mut parts);
        let mut observed = |batch: Batch, loss| ObservedGradient {
            batch,
            depths: self.gradient.depths(batch),
            grads: parts.next().unwrap_or_default(),
            loss,
        };
        // The loss is that of the update itself.
        let gradient = observed(batch, losses[losses.len() - 1]);
        let sample = sample.map(|batch| observed(batch, losses[1]));
        let after = self.state.snapshot(&mut parts);
        Ok(ObservedStep { t: self.descent.step_state().t, lr, before, gradient, sample, after })
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
        Ok(self.state.save(self.descent.step_state())?)
    }

    fn restore(&mut self, state: &WorkerState) -> Result<(), ProblemError> {
        self.state.restore(state)?;
        self.descent.set_step_state(state.step);
        Ok(())
    }
}
