//! Updates on a GPU, each recorded by itself: of any model, from rows anywhere.

use super::gpu::Updates;
use super::gpu_data::GpuData;
use super::gpu_state::{GpuState, buffer, widen};
use super::submissions::ThroughputEstimate;
use super::{GradientSums, Numbers, ResultFuture};
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

/// Elements of the vector that has the loss and the weight of sums.
const VECTOR: usize = 4;

/// Updates in one submission, for parameters of `len` elements and batches of at most `segments` segments.
pub fn max_updates(len: u64, segments: u64) -> u64 {
    (MAX_TRACE / len).min(MAX_SEGMENTS / segments).clamp(1, MAX_UPDATES)
}

/// A [`Descent`], and for observed updates a [`Gradient`].
#[derive(Debug)]
pub struct DescentUpdates {
    descent: Descent,
    /// Whether the descent's updates can be made in two halves.
    split: bool,
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
        split: bool,
    ) -> Result<Self, Error> {
        let device = &data.gpu.device;
        let DescentOptions { model, max_batch, shuffled, .. } = options;
        let grads = buffer(data, &GradientLayout::new(&model)?, "grads")?;
        let descent = Descent::with(device, &data.rows, params, options, rule_file, split)?;
        let spans = (params, &grads);
        let gradient = Gradient::new(device, &data.rows, &model, spans, (max_batch, 2), shuffled)?;
        let rate = ThroughputEstimate::default();
        Ok(DescentUpdates { descent, split, gradient, grads, rate })
    }
}

/// The halves of an update, in the order of sums of a whole one.
impl DescentUpdates {
    /// See [`SplitUpdate::gradient`](super::SplitUpdate::gradient).
    pub async fn gradient(
        &mut self,
        state: &mut GpuState<'_>,
        share: Batch,
    ) -> Result<GradientSums, ProblemError> {
        let data = state.data;
        let padded = state.params.len as usize;
        let mut sums = vec![0.0; padded + VECTOR];
        if share.rows > 0 {
            self.descent.prepare_sums(&data.gpu.queue, &share)?;
            let mut work = data.work(&self.rate);
            data.record(&mut work, self.descent.kernel(), 0).await?;
            if let Some(span) = self.descent.sums() {
                work.copy(&mut state.read_back, &span).await?;
            }
            sums = work.read(&mut state.read_back).await?;
        }
        let (params, totals) = sums.split_at(padded);
        let mut sums = state.shape.unpad(params);
        // Loss and weight.
        sums.extend(&totals[..2]);
        Ok(GradientSums { rows: share.rows, sums: Numbers::Single(sums) })
    }

    /// See [`SplitUpdate::apply`](super::SplitUpdate::apply).
    pub async fn apply(
        &mut self,
        state: &mut GpuState<'_>,
        gradient: &GradientSums,
        lr: f32,
    ) -> Result<f64, ProblemError> {
        let data = state.data;
        let sums = gradient.sums.singles();
        let (params, totals) = sums.split_at(state.shape.params());
        let mut sums = state.shape.pad(params);
        sums.extend_from_slice(totals);
        sums.resize(state.params.len as usize + VECTOR, 0.0);
        self.descent.prepare_step(&data.gpu.queue, gradient.rows, &sums, lr);
        let mut work = data.work(&self.rate);
        let encoder = work.encoder(1).await?;
        self.descent.record(&mut encoder.begin_compute_pass(&Default::default()), 0);
        work.copy(&mut state.read_back, &Span::new(self.descent.losses(), 0, 1)).await?;
        let losses = work.read(&mut state.read_back).await?;
        Ok(losses.first().map_or(f64::NAN, |&loss| loss.into()))
    }
}

impl Updates for DescentUpdates {
    fn run<'a>(
        &'a mut self,
        state: &'a mut GpuState,
        batches: &'a [Batch],
        learning_rates: &'a [f32],
        trace: Option<&'a mut Vec<Vec<f64>>>,
    ) -> ResultFuture<'a, Vec<f64>> {
        Box::pin(async move {
            let data = state.data;
            self.descent.prepare(&data.gpu.queue, batches, learning_rates)?;
            let mut work = data.work(&self.rate);
            for index in 0..batches.len() {
                data.record(&mut work, self.descent.kernel(), index).await?;
                if trace.is_some() {
                    work.copy(&mut state.read_back, &state.params).await?;
                }
            }
            let losses = Span::new(self.descent.losses(), 0, batches.len() as u64);
            work.copy(&mut state.read_back, &losses).await?;
            let values = work.read(&mut state.read_back).await?;
            let (params, losses) = values.split_at(values.len() - batches.len());
            if let Some(trace) = trace {
                trace.extend(state.parts(params).map(widen));
            }
            Ok(widen(losses.to_vec()))
        })
    }

    fn run_observed<'a>(
        &'a mut self,
        state: &'a mut GpuState,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> ResultFuture<'a, ObservedStep> {
        Box::pin(async move {
            let data = state.data;
            let queue = &data.gpu.queue;
            // The gradient that the update applies is never in memory: the same kernels compute it once more.
            let batches: Vec<Batch> = std::iter::once(batch).chain(sample).collect();
            self.gradient.prepare(queue, &batches)?;
            self.descent.prepare(queue, &[batch], &[lr as f32])?;
            let mut work = data.work(&self.rate);
            state.copy(&mut work).await?;
            for index in 0..batches.len() {
                data.record(&mut work, self.gradient.kernel(), index).await?;
                work.copy(&mut state.read_back, &self.grads).await?;
            }
            data.record(&mut work, self.descent.kernel(), 0).await?;
            state.copy(&mut work).await?;
            let losses = Span::new(self.gradient.losses(), 0, batches.len() as u64);
            work.copy(&mut state.read_back, &losses).await?;
            work.copy(&mut state.read_back, &Span::new(self.descent.losses(), 0, 1)).await?;
            let mut values = work.read(&mut state.read_back).await?;

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
        })
    }

    fn state(&self) -> Vec<Span> {
        self.descent.state()
    }

    fn split(&mut self) -> Option<&mut DescentUpdates> {
        self.split.then_some(self)
    }

    fn step_state(&self) -> StepState {
        self.descent.step_state()
    }

    fn set_step_state(&mut self, step: StepState) {
        self.descent.set_step_state(step);
    }
}
