//! The rows of a problem on a device.

use super::Batches;
use super::clock::Instant;
use super::gpu_evaluation::together;
use super::submissions::{SubmissionQueue, Submissions, ThroughputEstimate};
use crate::Model;
use crate::regression::Batch;
use crate::regression::device::{Gpu, Submission};
use crate::regression::kernels::{DeviceDataset, GradientLayout, RowKernel, RowSource, SyntheticRows};
use crate::regression::{Problem, ProblemError};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Bytes of rows that a submission brings to the device at most.
const CHUNK: u64 = 1 << 26;
/// The name of what is staged on the host, in errors.
const UPLOADED: &str = "rows on their way to the device";
/// Bytes of resident rows that the host reads at a time.
pub const UPLOAD: u64 = 1 << 24;

/// Where the rows of a problem are while it is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All of them on the device.
    Resident,
    /// Nowhere: the kernels that read them generate them. For synthetic problems.
    Virtual,
    /// On the device in two buffers, one of which is written while the other is read (double buffering).
    Streamed {
        /// Bytes of a chunk. It has at least a batch or a window of rows, or where these are larger 64 MiB of
        /// them.
        chunk: u64,
    },
}

/// The cut of the rows into chunks: the rows that belong together, and the most bytes of a chunk. No segment of a batch is
/// cut if a binding holds one, which needs half of WebGPU's least limit.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub unit: u64,
    pub chunk: u64,
    /// Chunks that have buffers of their own.
    pub resident: usize,
}

impl Cut {
    pub fn new(
        limits: &wgpu::Limits,
        shape: &GradientLayout,
        rows: u64,
        batches: &Batches,
        placement: Placement,
    ) -> Self {
        let (unit, together) = (batches.unit(), together(shape, batches).min(rows));
        let limit = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        let (most, chunk, resident) = match placement {
            Placement::Streamed { chunk } => {
                // A segment lies in one chunk, or the bits would depend on the chunks.
                let least = unit.min(shape.segment_rows()).min(rows);
                let chunk = chunk.max(Self::bytes_of(shape, least));
                (chunk, chunk, 2)
            }
            _ => (limit, u64::MAX, usize::MAX),
        };
        let unit = if Self::bytes_of(shape, together) <= most { together } else { unit };
        Cut { unit, chunk, resident }
    }

    /// Bytes of the larger buffer of a chunk of `rows` rows.
    pub fn bytes_of(shape: &GradientLayout, rows: u64) -> u64 {
        shape.x_bytes(rows).max(rows * u64::from(shape.aux_columns) * 4)
    }
}

/// A problem's rows on a device, to be trained on any number of times. One worker at a time uses rows that are streamed.
#[derive(Debug)]
pub struct GpuData {
    pub(super) gpu: Gpu,
    pub(super) problem: Problem,
    pub(super) rows: RowSource,
    stream: Option<Stream>,
    submissions: Cell<Submissions>,
}

/// Rows that are streamed through the two buffers of chunks.
#[derive(Debug)]
struct Stream {
    samples: DeviceDataset,
    buffers: RefCell<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    /// The chunk whose rows are in each of them, all of them.
    held: [Option<usize>; 2],
    /// The last submission that reads each of them.
    last: [Option<Submission>; 2],
    x: Vec<f32>,
    aux: Vec<f32>,
    times: StreamTimes,
}

/// The cost of streaming so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamTimes {
    /// Time spent reading or making rows and handing them over.
    pub loading: Duration,
    /// Of that, while the device had nothing to compute.
    pub exposed: Duration,
    /// Time spent waiting for the device before a chunk's place was free.
    pub waiting: Duration,
    /// Bytes of rows that were handed over.
    pub bytes: u64,
}

impl StreamTimes {
    /// The times since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        StreamTimes {
            loading: self.loading - before.loading,
            exposed: self.exposed - before.exposed,
            waiting: self.waiting - before.waiting,
            bytes: self.bytes - before.bytes,
        }
    }
}

impl GpuData {
    /// Makes or uploads the rows, for batches as they are to come.
    ///
    /// # Errors
    /// [`ProblemError`] if the problem does not fit the device's limits, or cannot be read.
    pub async fn new(
        gpu: &Gpu,
        problem: &Problem,
        model: &Model,
        batches: &Batches,
        placement: Placement,
    ) -> Result<Self, ProblemError> {
        let shape = GradientLayout::new(model)?;
        let device = &gpu.device;
        let mut stream = None;
        let cut = Cut::new(&device.limits(), &shape, problem.rows, batches, placement);
        let rows = gpu.allocate("the rows", || match (placement, problem.generator()) {
            (Placement::Virtual, Some(generator)) => {
                Ok(RowSource::unstored(device, shape, generator, problem.rows)?)
            }
            (Placement::Virtual, None) => {
                let reason = "rows that are not stored are made, and these are not synthetic".into();
                Err(ProblemError::Targets { name: problem.name.clone(), reason })
            }
            (Placement::Streamed { .. }, _) => {
                let Cut { unit, chunk, .. } = cut;
                let samples = DeviceDataset::in_turns(device, shape, problem.rows, unit, chunk)?;
                let rows = RowSource::from(&samples);
                stream = Some(Stream { samples, buffers: RefCell::default() });
                Ok(rows)
            }
            (Placement::Resident, _) => {
                Ok(RowSource::from(&DeviceDataset::new(device, shape, problem.rows, cut.unit)?))
            }
        });
        let rows = rows.await?;
        let (gpu, problem) = (gpu.clone(), problem.clone());
        let data = GpuData { gpu, problem, rows, stream, submissions: Cell::default() };
        if placement == Placement::Resident {
            data.fill().await?;
        }
        Ok(data)
    }

    /// Makes or uploads all rows.
    async fn fill(&self) -> Result<(), ProblemError> {
        let Some(samples) = self.rows.samples() else { return Ok(()) };
        let rate = ThroughputEstimate::default();
        let mut work = self.work(&rate).uploading(UPLOADED);
        if let Some(generator) = self.problem.generator() {
            let make = || SyntheticRows::new(&self.gpu.device, samples, generator);
            let rows = self.gpu.allocate(UPLOADED, make).await?;
            for part in 0..rows.parts() {
                let encoder = work.encoder(1).await?;
                rows.record(&mut encoder.begin_compute_pass(&Default::default()), part);
            }
            return Ok(work.finish().await?);
        }
        let shape = samples.shape();
        let row_bytes = shape.row_bytes() + u64::from(shape.aux_columns) * 4;
        let most = (UPLOAD / row_bytes).max(1);
        for (i, chunk) in samples.chunks().iter().enumerate() {
            for at in (0..chunk.rows).step_by(most as usize) {
                let rows = most.min((chunk.rows - at).into());
                let (x, aux) =
                    self.problem.rows_of(&Batch::new(chunk.first_row + u64::from(at), rows))?;
                let write = || samples.write_part(&self.gpu.queue, i, at, &x, &aux);
                self.gpu.allocate(UPLOADED, write).await?;
                // The queue copies before the next submission.
                work.copying(rows * row_bytes).await?;
                work.submit().await?;
            }
        }
        Ok(work.finish().await?)
    }

    /// Work to record, of a kind whose rate is known or is to be learned.
    pub(super) fn work<'b>(&'b self, rate: &'b ThroughputEstimate) -> SubmissionQueue<'b> {
        SubmissionQueue::new(&self.gpu, &self.submissions, rate)
    }

    /// The submissions since the last call.
    pub fn take_submissions(&self) -> Submissions {
        self.submissions.take()
    }

    /// The cost of streaming so far, if rows are streamed.
    pub fn stream_times(&self) -> Option<StreamTimes> {
        self.stream.as_ref().map(|stream| stream.buffers.borrow().times)
    }

    /// Records the `index`-th prepared batch of a kernel, segment by segment, each in as few submissions as the budget
    /// allows. The unit of work is a byte. If the chunk of a segment is not on the device, it is loaded after the work
    /// before it is submitted.
    pub(super) async fn record(
        &self,
        work: &mut SubmissionQueue<'_>,
        kernel: &RowKernel,
        index: usize,
    ) -> Result<(), ProblemError> {
        for (i, segment) in kernel.segments(index).iter().enumerate() {
            if let Some(stream) = &self.stream {
                stream.hold(self, segment.chunk, work).await?;
            }
            let slice_bytes = (segment.bytes / segment.slices.max(1) as u64).max(1);
            let mut done = 0;
            while done < segment.slices {
                let left = (segment.slices - done) as u64;
                let now = (work.room() / slice_bytes).clamp(1, left) as usize;
                let encoder = work.encoder(now as u64 * slice_bytes).await?;
                let mut pass = encoder.begin_compute_pass(&Default::default());
                kernel.record_slices(&mut pass, index, i, done..done + now);
                done += now;
            }
        }
        Ok(())
    }
}

impl Stream {
    /// Loads a chunk, unless one of the buffers holds it. The work so far is the last that reads the other buffer; it
    /// is submitted and runs meanwhile.
    async fn hold(
        &self,
        data: &GpuData,
        chunk: usize,
        work: &mut SubmissionQueue<'_>,
    ) -> Result<(), ProblemError> {
        let place = chunk % 2;
        if self.buffers.borrow().held[place] == Some(chunk) {
            return Ok(());
        }
        let shape = *self.samples.shape();
        let part = &self.samples.chunks()[chunk];
        let (first, rows) = (part.first_row, part.rows as usize);
        let ahead = work.submit().await?;
        let (mut x, mut aux, last) = self.buffers.borrow_mut().vacate(place, ahead.clone());
        let started = Instant::now();
        x.resize(rows * shape.features as usize, 0.0);
        aux.resize(rows * shape.aux_columns as usize, 0.0);
        data.problem.fill(first, &mut x, &mut aux)?;
        let filled = Instant::now();
        // Rows are staged on the host: not more than two chunks at a time.
        if let Some(last) = last {
            data.gpu.complete(&last).await?;
        }
        let free = Instant::now();
        // Whether the device still computes tells whether it was kept waiting.
        let idle = data.gpu.is_complete(&ahead)?;
        let (features, aux_columns) = (shape.features as usize, shape.aux_columns as usize);
        let row_bytes = shape.row_bytes() + u64::from(shape.aux_columns) * 4;
        let most = (CHUNK / row_bytes).max(1) as usize;
        let parts = x.chunks(most * features).zip(aux.chunks(most * aux_columns));
        for (i, (x, aux)) in parts.enumerate() {
            if i > 0 {
                // The part before, by itself; the last one goes ahead of the next work.
                work.copying(most as u64 * row_bytes).await?;
                work.make_room().await?;
            }
            let write = || {
                if i > 0 {
                    work.launch();
                }
                self.samples.write_part(&data.gpu.queue, chunk, (i * most) as u32, x, aux)
            };
            data.gpu.allocate(UPLOADED, write).await?;
        }
        let loading = (filled - started) + free.elapsed();
        let mut buffers = self.buffers.borrow_mut();
        buffers.times.loading += loading;
        buffers.times.waiting += free - filled;
        buffers.times.exposed += if idle { loading } else { Duration::ZERO };
        buffers.times.bytes += rows as u64 * (shape.row_bytes() + u64::from(shape.aux_columns) * 4);
        buffers.held[place] = Some(chunk);
        (buffers.x, buffers.aux) = (x, aux);
        Ok(())
    }
}

impl Buffers {
    /// Prepares to load another chunk into a place, after a submission that reads the other one: returns the memory
    /// for its rows, and the last submission that reads the place. Until all rows are loaded, the place holds none.
    fn vacate(&mut self, place: usize, ahead: Submission) -> (Vec<f32>, Vec<f32>, Option<Submission>) {
        self.held[place] = None;
        self.last[1 - place] = Some(ahead);
        (std::mem::take(&mut self.x), std::mem::take(&mut self.aux), self.last[place].take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loss;
    use crate::regression::kernels::Layout;
    use crate::regression::train::Shuffle;
    use proptest::prelude::*;

    /// Batches of an epoch, in order or shuffled.
    fn epochs() -> impl Strategy<Value = Batches> {
        let shuffle = prop::option::of(1..400_000u64);
        (1..2_000_000u64, 0.0..1.0, shuffle).prop_map(|(rows, share, window): (u64, f64, _)| {
            let size = ((rows as f64).powf(share) as u64).clamp(1, rows);
            let shuffle = window.map(|window| Shuffle { seed: 1, window });
            Batches::Epochs { rows, size, updates: rows.div_ceil(size), shuffle }
        })
    }

    /// Widths and outputs with segments of one row to the most.
    fn model() -> impl Strategy<Value = Model> {
        (0..18u32, 0..10u32).prop_map(|(width, outputs)| {
            let outputs = 1 << outputs;
            Model { outputs, ..Model::new((1 << width) + 3, Loss::Mse) }
        })
    }

    proptest! {
        /// The units of every batch begin at fixed rows of it, whatever the chunks are.
        #[test]
        fn no_chunk_cuts_a_segment(
            batches in epochs(),
            model in model(),
            more in 0..1000u64,
            chunk in 0..28u32,
            streamed: bool,
        ) {
            let limits = wgpu::Limits::default();
            let shape = GradientLayout::new(&model).unwrap();
            // Rows behind those of the epoch are held out.
            let Batches::Epochs { rows, .. } = batches else { unreachable!("epochs") };
            let rows = rows + more;
            prop_assume!(shape.row_bytes() * rows < 1 << 40);
            let placement = match streamed {
                true => Placement::Streamed { chunk: 1 << chunk },
                false => Placement::Resident,
            };
            let Cut { unit, chunk, resident } = Cut::new(&limits, &shape, rows, &batches, placement);
            let layout = Layout::new(&limits, shape, (rows, unit), chunk, resident).unwrap();
            let in_one = |first: u64, rows: u64| {
                let next = layout.cuts.partition_point(|&(start, _)| start <= first);
                let (start, held) = layout.cuts[next - 1];
                first + rows <= start + u64::from(held)
            };
            let updates = batches.updates();
            for update in (0..updates).step_by((updates / 50).max(1) as usize).chain([updates - 1]) {
                // Those of a window are within it, which lies in one chunk or is refused.
                let batch = batches.get(update);
                if batch.window.is_some() {
                    continue;
                }
                let segment = shape.segment_rows();
                for at in (0..batch.rows).step_by(segment as usize) {
                    let rows = segment.min(batch.rows - at);
                    prop_assert!(in_one(batch.first + at, rows), "{:?}, {} in {:?}", batch, at, layout);
                }
            }
        }
    }
}
