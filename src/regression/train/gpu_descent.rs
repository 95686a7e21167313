//! Updates on a GPU, each recorded by itself: of any model, from rows anywhere.

use super::gpu::Updates;
use super::gpu_data::GpuData;
use super::gpu_state::{GpuState, buffer, widen};
use super::submissions::ThroughputEstimate;
use crate::Error;
use crate::cpu::StepState;
use crate::gpu::Span;
use crate::regression::kernels::{Descent, DescentOptions, Gradient, GradientLayout};
use crate::regression::verification::{ObservedGradient, ObservedStep};
use crate::regression::{Batch, ProblemError};

/// The most updates in one submission, and the most elements of traced parameters and the most segments in it.
const MAX_UPDATES: u64 = 256;
const MAX_TRACE: u64 = 1 << 22;
const MAX_SEGMENTS: u64 = 1 << 10;

/// Updates in one submission, for parameters of `len` elements and batches of at most `segments` segments.
pub fn max_updates(len: u64, segments: u64) -> u64 {
    (MAX_TRACE / len).min(MAX_SEGMENTS / segments).clamp(1, MAX_UPDATES)
}

/// A [`Descent`], and for observed updates a [`Gradient`].
#[derive(Debug)]
pub struct DescentUpdates {
    descent: Descent,
    gradient: Gradient,
    grads: Span,
    rate: ThroughputEstimate,
}

impl DescentUpdates {
    /// # Errors
    /// [`Error`] if the device's limits are too low.
    pub fn new(
        data: &GpuData,
        params: &Span,
        options: DescentOptions,
        rule_file: Option<&'static str>,
    ) -> Result<Self, Error> {
        let device = &data.gpu.device;
        let DescentOptions { model, max_batch, shuffled, .. } = options;
        let grads = buffer(data, &GradientLayout::new(&model)?, "grads")?;
        let descent = Descent::with_rule_file(device, &data.rows, params, options, rule_file)?;
        let spans = (params, &grads);
        let gradient = Gradient::new(device, &data.rows, &model, spans, (max_batch, 2), shuffled)?;
        Ok(DescentUpdates { descent, gradient, grads, rate: ThroughputEstimate::default() })
    }
}

impl Updates for DescentUpdates {
    fn run(
        &mut self,
        state: &mut GpuState,
        batches: &[Batch],
        learning_rates: &[f32],
        trace: Option<&mut Vec<Vec<f64>>>,
    ) -> Result<Vec<f64>, ProblemError> {
        let data = state.data;
        self.descent.prepare(&data.gpu.queue, batches, learning_rates)?;
        let mut work = data.work(&self.rate);
        for index in 0..batches.len() {
            data.record(&mut work, self.descent.kernel(), index)?;
            if trace.is_some() {
                work.copy(&mut state.read_back, &state.params)?;
            }
        }
        let losses = Span::new(self.descent.losses(), 0, batches.len() as u64);
        work.copy(&mut state.read_back, &losses)?;
        let values = work.read(&mut state.read_back)?;
        let (params, losses) = values.split_at(values.len() - batches.len());
        if let Some(trace) = trace {
            trace.extend(state.parts(params).map(widen));
        }
        Ok(widen(losses.to_vec()))
    }

    fn run_observed(
        &mut self,
        state: &mut GpuState,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> Result<ObservedStep, ProblemError> {
        let data = state.data;
        let queue = &data.gpu.queue;
        // The gradient that the update applies is never in memory: the same kernels compute it once more.
        let batches: Vec<Batch> = std::iter::once(batch).chain(sample).collect();
        self.gradient.prepare(queue, &batches)?;
        self.descent.prepare(queue, &[batch], &[lr as f32])?;
        let mut work = data.work(&self.rate);
        state.copy(&mut work)?;
        for index in 0..batches.len() {
            data.record(&mut work, self.gradient.kernel(), index)?;
            work.copy(&mut state.read_back, &self.grads)?;
        }
        data.record(&mut work, self.descent.kernel(), 0)?;
        state.copy(&mut work)?;
        let losses = Span::new(self.gradient.losses(), 0, batches.len() as u64);
        work.copy(&mut state.read_back, &losses)?;
        work.copy(&mut state.read_back, &Span::new(self.descent.losses(), 0, 1))?;
        let mut values = work.read(&mut state.read_back)?;

        let losses = values.split_off(values.len() - batches.len() - 1);
        let mut parts = state.parts(&values);
        let before = state.snapshot(&mut parts);
        let mut observed = |batch: Batch, loss| ObservedGradient {
            batch,
            depths: self.gradient.depths(batch),
            grads: parts.next().unwrap_or_default(),
            loss,
        };
        // The loss is that of the update itself.
        let gradient = observed(batch, losses[losses.len() - 1]);
        let sample = sample.map(|batch| observed(batch, losses[1]));
        let after = state.snapshot(&mut parts);
        Ok(ObservedStep { t: self.descent.step_state().t, lr, before, gradient, sample, after })
    }

    fn state(&self) -> Vec<Span> {
        self.descent.state()
    }

    fn step_state(&self) -> StepState {
        self.descent.step_state()
    }

    fn set_step_state(&mut self, step: StepState) {
        self.descent.set_step_state(step);
    }
}
