//! The state of a worker on a device, and its copies on the host.

use super::gpu_data::GpuData;
use super::state::{Numbers, WorkerState};
use super::submissions::{SubmissionQueue, ThroughputEstimate};
use crate::Error;
use crate::cpu::StepState;
use crate::gpu::span::Limits;
use crate::gpu::{ReadBack, Span};
use crate::regression::kernels::GradientLayout;
use crate::regression::verification::Snapshot;
use wgpu::BufferUsages;

/// Parameters, moments and average of a worker.
#[derive(Debug)]
pub struct GpuState<'a> {
    pub data: &'a GpuData,
    pub shape: GradientLayout,
    pub params: Span,
    /// In the order of [`Rule::moments`](crate::Rule::moments).
    moments: Vec<Span>,
    average: Option<Span>,
    pub read_back: ReadBack,
}

/// A buffer like the parameters'.
///
/// # Errors
/// [`Error::Limit`] if it is more than a binding.
pub fn buffer(data: &GpuData, shape: &GradientLayout, label: &str) -> Result<Span, Error> {
    let device = &data.gpu.device;
    let (needed, hint) = (shape.padded_len() * 4, " for the model's parameters");
    let (limit, available) = ("max_storage_buffer_binding_size", Limits::of(device).max_binding);
    if needed > available {
        return Err(Error::Limit { limit, available, needed, hint });
    }
    Ok(Span::whole(&device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: needed,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })))
}

/// A model that starts at `params`, as [`Model::params`](crate::Model::params) counts them.
pub fn start(data: &GpuData, shape: &GradientLayout, params: &[f64]) -> Result<Span, Error> {
    let span = buffer(data, shape, "params")?;
    let start: Vec<f32> = params.iter().map(|&p| p as f32).collect();
    data.gpu.queue.write_buffer(&span.buffer, 0, bytemuck::cast_slice(&shape.pad(&start)));
    Ok(span)
}

/// Room for parameters and loss after each of `updates` updates; or for a state before and after one, two gradients,
/// and three losses.
pub fn read_back_bytes(params: u64, moments: u64, updates: u64) -> u64 {
    let states = 2 * (1 + moments) + 2;
    4 * (updates * (params + 1)).max(states * params + 3)
}

impl<'a> GpuState<'a> {
    /// `state` are `moments` moments, and then the average if there is one; traces of parameters and losses are read
    /// for up to `updates` updates at a time.
    pub fn new(
        data: &'a GpuData,
        shape: GradientLayout,
        params: Span,
        (mut state, moments): (Vec<Span>, usize),
        updates: u64,
    ) -> Result<Self, Error> {
        let average = state.drain(moments.min(state.len())..).next();
        let bytes = read_back_bytes(params.len, moments as u64, updates);
        let read_back = ReadBack::new(&data.gpu.device, bytes)?;
        Ok(GpuState { data, shape, params, moments: state, average, read_back })
    }

    /// Copies parameters and moments to be read.
    pub async fn copy(&mut self, work: &mut SubmissionQueue<'_>) -> Result<(), Error> {
        work.copy(&mut self.read_back, &self.params).await?;
        for moment in &self.moments {
            work.copy(&mut self.read_back, moment).await?;
        }
        Ok(())
    }

    /// The values that were read in parts, each as long as the parameters, in the order of a model.
    pub fn parts<'b>(&self, values: &'b [f32]) -> impl Iterator<Item = Vec<f32>> + use<'b> {
        let shape = self.shape;
        values.chunks(self.params.len as usize).map(move |part| shape.unpad(part))
    }

    /// Parameters and moments, which are the next parts.
    pub fn snapshot(&self, parts: &mut impl Iterator<Item = Vec<f32>>) -> Snapshot {
        let params = parts.next().unwrap_or_default();
        Snapshot { params, moments: parts.take(self.moments.len()).collect() }
    }

    /// The parameters and every moment.
    pub async fn all(&mut self) -> Result<Vec<Vec<f64>>, Error> {
        let rate = ThroughputEstimate::default();
        let mut work = self.data.work(&rate);
        self.copy(&mut work).await?;
        let values = work.read(&mut self.read_back).await?;
        Ok(self.parts(&values).map(widen).collect())
    }

    /// Everything, with the step that the caller counts.
    pub async fn save(&mut self, step: StepState) -> Result<WorkerState, Error> {
        let rate = ThroughputEstimate::default();
        let mut work = self.data.work(&rate);
        self.copy(&mut work).await?;
        if let Some(average) = &self.average {
            work.copy(&mut self.read_back, average).await?;
        }
        let values = work.read(&mut self.read_back).await?;
        let mut parts = self.parts(&values).map(Numbers::Single);
        let mut next = || parts.next().unwrap_or(Numbers::Single(Vec::new()));
        Ok(WorkerState {
            params: next(),
            moments: self.moments.iter().map(|_| next()).collect(),
            average: self.average.as_ref().map(|_| next()),
            step,
        })
    }

    /// Writes everything but the step.
    pub async fn restore(&mut self, state: &WorkerState) -> Result<(), Error> {
        state.check(self.shape.params(), self.moments.len(), self.average.is_some())?;
        let spans = std::iter::once(&self.params).chain(&self.moments).chain(&self.average);
        for (span, values) in spans.zip(state.vectors()) {
            let values = self.shape.pad(&values.singles());
            let queue = &self.data.gpu.queue;
            queue.write_buffer(&span.buffer, span.offset, bytemuck::cast_slice(&values));
            // Each is staged on the host only until it is there.
            let rate = ThroughputEstimate::default();
            let mut work = self.data.work(&rate);
            work.copying(span.len * 4).await?;
            work.finish().await?;
        }
        Ok(())
    }

    /// Puts the average in the parameters' place.
    pub async fn take_average(&mut self) -> Result<(), Error> {
        let Some(Span { buffer, offset, len }) = &self.average else { return Ok(()) };
        let rate = ThroughputEstimate::default();
        let mut work = self.data.work(&rate);
        let encoder = work.copying(len * 4).await?;
        encoder.copy_buffer_to_buffer(buffer, *offset, &self.params.buffer, 0, len * 4);
        work.finish().await
    }
}

pub fn widen(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}
