//! Updates on a GPU, many in one dispatch: of a small model, from resident rows, where one update takes less time than
//! a dispatch.

use super::ResultFuture;
use super::gpu::Updates;
use super::gpu_data::GpuData;
use super::gpu_state::{GpuState, widen};
use super::submissions::{SubmissionQueue, ThroughputEstimate};
use crate::Error;
use crate::cpu::StepState;
use crate::gpu::Span;
use crate::regression::Batch;
use crate::regression::kernels::{DescentOptions, SmallBatchKernel};
use crate::regression::verification::{ObservedGradient, ObservedStep};

/// The most updates in one submission, and the least, however many elements of parameters are traced.
const MAX_UPDATES: u64 = 4096;
const MIN_UPDATES: u64 = 64;
const MAX_TRACE: u64 = 1 << 20;

/// Updates in one submission, for parameters of `len` elements.
pub fn max_updates(len: u64) -> u64 {
    (MAX_TRACE / len).clamp(MIN_UPDATES, MAX_UPDATES)
}

/// A [`SmallBatchKernel`].
#[derive(Debug)]
pub struct SmallBatchUpdates {
    kernel: SmallBatchKernel,
    rate: ThroughputEstimate,
}

impl SmallBatchUpdates {
    /// # Errors
    /// [`Error`] if the rows are not resident or the device's limits are too low.
    pub fn new(data: &GpuData, params: &Span, options: DescentOptions) -> Result<Self, Error> {
        let Some(samples) = data.rows.samples() else {
            let (what, range) = ("the number of chunks of the data", "1");
            return Err(Error::Shape { what, value: 0, range });
        };
        let kernel = SmallBatchKernel::new(&data.gpu.device, samples, params, options, true)?;
        Ok(SmallBatchUpdates { kernel, rate: ThroughputEstimate::default() })
    }

    /// Records all prepared updates. The unit of work is a row.
    async fn record(&self, work: &mut SubmissionQueue<'_>, batches: &[Batch]) -> Result<(), Error> {
        let parts = batches.chunks(self.kernel.updates_at_once() as usize);
        for (part, batches) in parts.enumerate() {
            let encoder = work.encoder(batches.iter().map(|batch| batch.rows).sum()).await?;
            self.kernel.record_part(&mut encoder.begin_compute_pass(&Default::default()), part);
        }
        Ok(())
    }
}

impl Updates for SmallBatchUpdates {
    fn run<'a>(
        &'a mut self,
        state: &'a mut GpuState,
        batches: &'a [Batch],
        learning_rates: &'a [f32],
        trace: Option<&'a mut Vec<Vec<f64>>>,
    ) -> ResultFuture<'a, Vec<f64>> {
        Box::pin(async move {
            self.kernel.prepare(&state.data.gpu.queue, batches, learning_rates)?;
            let mut work = state.data.work(&self.rate);
            self.record(&mut work, batches).await?;
            let updates = batches.len() as u64;
            let losses = Span { len: updates, ..self.kernel.losses() };
            work.copy(&mut state.read_back, &losses).await?;
            if let (Some(_), Some(traced)) = (&trace, self.kernel.trace()) {
                let len = updates * state.params.len;
                work.copy(&mut state.read_back, &Span { len, ..traced }).await?;
            }
            let values = work.read(&mut state.read_back).await?;
            let (losses, params) = values.split_at(batches.len());
            if let Some(trace) = trace {
                trace.extend(state.parts(params).map(widen));
            }
            Ok(widen(losses.to_vec()))
        })
    }

    /// A batch is so small that it is checked whole: there is no gradient of a sample.
    fn run_observed<'a>(
        &'a mut self,
        state: &'a mut GpuState,
        batch: Batch,
        lr: f64,
        _: Option<Batch>,
    ) -> ResultFuture<'a, ObservedStep> {
        Box::pin(async move {
            let data = state.data;
            self.kernel.prepare(&data.gpu.queue, &[batch], &[lr as f32])?;
            let mut work = data.work(&self.rate);
            state.copy(&mut work).await?;
            self.record(&mut work, &[batch]).await?;
            state.copy(&mut work).await?;
            work.copy(&mut state.read_back, &self.kernel.gradient()).await?;
            work.copy(&mut state.read_back, &Span { len: 1, ..self.kernel.losses() }).await?;
            let mut values = work.read(&mut state.read_back).await?;

            let loss = values.pop().unwrap_or(f32::NAN);
            let mut parts = state.parts(&values);
            let before = state.snapshot(&mut parts);
            let after = state.snapshot(&mut parts);
            let grads = parts.next().unwrap_or_default();
            let gradient = ObservedGradient { batch, depths: self.kernel.depths(batch), grads, loss };
            Ok(ObservedStep { t: self.kernel.step_state().t, lr, before, gradient, sample: None, after })
        })
    }

    fn state(&self) -> Vec<Span> {
        self.kernel.state()
    }

    fn step_state(&self) -> StepState {
        self.kernel.step_state()
    }

    fn set_step_state(&mut self, step: StepState) {
        self.kernel.set_step_state(step);
    }
}
