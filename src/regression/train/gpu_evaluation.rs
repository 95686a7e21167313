//! The evaluation of a model over all rows of a problem on a device.

use super::Batches;
use super::gpu_data::GpuData;
use super::submissions::ThroughputEstimate;
use crate::gpu::{ReadBack, Span};
use crate::regression::Batch;
use crate::regression::ProblemError;
use crate::regression::kernels::{Evaluator, GradientLayout, Purpose, RowKernel, most_segments};
use crate::{Error, Evaluation, Model};

/// Batches whose sums are read at a time.
const AT_ONCE: u32 = 16;
/// Rows of such a batch, unless one to train on is larger.
const MOST: u64 = 1 << 16;

/// Rows that are summed together on the device, in whole batches or windows. If chunks of the data hold a multiple of
/// them, the bits do not depend on the chunks.
pub fn together(shape: &GradientLayout, batches: &Batches) -> u64 {
    let unit = batches.unit();
    (shape.segment_rows().min(MOST) / unit).max(1) * unit
}

fn read_back_bytes(shape: &GradientLayout) -> u64 {
    u64::from(AT_ONCE) * 16 * (u64::from(shape.outputs) + 1)
}

/// The sums over batches of rows, which are added on the host in f64.
#[derive(Debug)]
pub struct DeviceEvaluator {
    evaluator: Evaluator,
    read_back: ReadBack,
    rate: ThroughputEstimate,
    /// Rows of a batch.
    rows: u64,
}

impl DeviceEvaluator {
    /// Of the model in `params`, as they lie on the device.
    pub fn new(data: &GpuData, model: &Model, params: &Span, batches: &Batches) -> Result<Self, Error> {
        let shape = GradientLayout::new(model)?;
        let rows = together(&shape, batches);
        let device = &data.gpu.device;
        let evaluator = Evaluator::new(device, &data.rows, model, params, (rows, AT_ONCE))?;
        let read_back = ReadBack::new(device, read_back_bytes(&shape))?;
        Ok(DeviceEvaluator { evaluator, read_back, rate: ThroughputEstimate::default(), rows })
    }

    /// Bytes of all buffers for sums, and of those for reading back, if rows lie in chunks of `cut` rows.
    pub fn bytes_of(
        shape: &GradientLayout,
        batches: &Batches,
        rows: u64,
        cut: Option<u32>,
    ) -> (u64, u64) {
        let max_batch = together(shape, batches).clamp(1, rows.max(1));
        let purpose = Purpose { metrics: true, shuffled: false, max_batch, max_batches: AT_ONCE };
        let sums = RowKernel::bytes_of(shape, most_segments(shape, max_batch, cut), &purpose);
        (sums, read_back_bytes(shape))
    }

    /// The evaluation over `rows` rows from `first` on.
    pub async fn evaluate(
        &mut self,
        data: &GpuData,
        first: u64,
        rows: u64,
        shift: f64,
    ) -> Result<Evaluation, ProblemError> {
        let end = first + rows;
        let starts: Vec<u64> = (first..end).step_by(self.rows as usize).collect();
        let mut all = Evaluation { shift, ..Evaluation::default() };
        for starts in starts.chunks(AT_ONCE as usize) {
            let batch = |&at: &u64| Batch::new(at, self.rows.min(end - at));
            let batches: Vec<Batch> = starts.iter().map(batch).collect();
            self.evaluator.prepare(&data.gpu.queue, &batches, shift as f32)?;
            let mut work = data.work(&self.rate);
            let mut width = 1;
            for index in 0..batches.len() {
                data.record(&mut work, self.evaluator.kernel(), index).await?;
                let Some(sums) = self.evaluator.sums(index) else { continue };
                width = sums.len as usize;
                work.copy(&mut self.read_back, &sums).await?;
            }
            let values = work.read(&mut self.read_back).await?;
            for sums in values.chunks(width) {
                all.add(&Evaluation { shift, ..self.evaluator.read(sums) });
            }
        }
        Ok(all)
    }
}
