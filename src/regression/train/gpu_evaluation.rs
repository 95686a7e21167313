//! The evaluation of a model over all rows of a problem on a device.

use super::Batches;
use super::gpu_data::GpuData;
use super::submissions::ThroughputEstimate;
use crate::gpu::{ReadBack, Span};
use crate::regression::Batch;
use crate::regression::ProblemError;
use crate::regression::kernels::{Evaluator, GradientLayout, Purpose, RowKernel, most_segments};
use crate::{Error, Evaluation, Model};
use std::ops::Range;

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
        let sums = RowKernel::bytes_of(shape, most_segments(shape, max_batch, cut), &purpose, false);
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
        let segment = self.evaluator.kernel().shape().segment_rows();
        let batches = parts(self.rows, segment, first..end);
        let mut all = Evaluation { shift, ..Evaluation::default() };
        for batches in batches.chunks(AT_ONCE as usize) {
            self.evaluator.prepare(&data.gpu.queue, batches, shift as f32)?;
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

/// Rows in parts of `together` rows, counted from row 0, and where they begin within a part, from the next segment of it
/// on: so chunks, which begin with a part or with a segment of one, cut no segment of rows that begin anywhere.
fn parts(together: u64, segment: u64, rows: Range<u64>) -> Vec<Batch> {
    let part = rows.start / together * together;
    let within = part + (rows.start - part).next_multiple_of(segment);
    let within = Some(within).filter(|&at| at > rows.start && at < part + together);
    let next = (1..).map(|i| part + i * together);
    let starts = [rows.start].into_iter().chain(within).chain(next);
    let starts: Vec<u64> = starts.take_while(|&at| at < rows.end).collect();
    let ends = starts.iter().copied().skip(1).chain([rows.end]);
    starts.iter().zip(ends).map(|(&at, end)| Batch::new(at, end - at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_where_chunks_do() {
        let of = |together, segment, rows| -> Vec<(u64, u64)> {
            parts(together, segment, rows).iter().map(|part| (part.first, part.rows)).collect()
        };
        assert_eq!(of(100, 500, 0..250), [(0, 100), (100, 100), (200, 50)]);
        assert_eq!(of(100, 500, 130..250), [(130, 70), (200, 50)]);
        assert_eq!(of(100, 40, 0..150), [(0, 100), (100, 50)]);
        assert_eq!(of(100, 40, 130..250), [(130, 10), (140, 60), (200, 50)]);
        assert_eq!(of(100, 40, 190..250), [(190, 10), (200, 50)]);
        assert_eq!(of(100, 40, 130..135), [(130, 5)]);
        assert_eq!(of(100, 40, 130..130), []);
    }
}
