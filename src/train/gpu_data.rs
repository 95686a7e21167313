//! The rows of a problem on a device.

use super::Batches;
use super::gpu_evaluation::together;
use crate::batch::Batch;
use crate::gpu::{Gpu, Rows, Samples, Shape, SyntheticRows};
use crate::regression::{Problem, ProblemError};
use crate::{Error, Model};
use std::cell::RefCell;
use std::time::{Duration, Instant};
use wgpu::{CommandEncoder, ComputePass, PollType, SubmissionIndex};

/// Where the rows of a problem are while it is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All of them on the device.
    Resident,
    /// Nowhere: they are made inside the kernels that read them. For synthetic problems.
    Virtual,
    /// On the device in two chunks of about so many bytes, one of which is written while the other is
    /// computed with.
    Streamed {
        /// Bytes of a chunk. It has at least a batch or a window of rows, or where these are larger 64 MiB of
        /// them.
        chunk: u64,
    },
}

/// A problem's rows on a device, to be trained on any number of times.
#[derive(Debug)]
pub struct GpuData<'a> {
    pub(super) gpu: &'a Gpu,
    problem: &'a Problem,
    pub(super) rows: Rows,
    /// What is in the two buffers that chunks take turns in.
    stream: Option<RefCell<Stream>>,
}

#[derive(Debug)]
struct Stream {
    samples: Samples,
    held: [Option<usize>; 2],
    /// What last read each of them.
    last: [Option<SubmissionIndex>; 2],
    x: Vec<f32>,
    sides: Vec<f32>,
    times: StreamTimes,
}

/// What streaming came to.
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

impl<'a> GpuData<'a> {
    /// Makes or uploads the rows, for batches as they are to come.
    ///
    /// # Errors
    /// [`ProblemError`] if the problem does not fit the device's limits, or cannot be read.
    pub fn new(
        gpu: &'a Gpu,
        problem: &'a Problem,
        model: &Model,
        batches: &Batches,
        placement: Placement,
    ) -> Result<Self, ProblemError> {
        let shape = Shape::new(model)?;
        let Gpu { device, queue, .. } = gpu;
        let (unit, together) = (batches.unit(), together(&shape, batches).min(problem.rows));
        let bytes_of = |rows| shape.x_bytes(rows).max(rows * u64::from(shape.side) * 4);
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let mut stream = None;
        let rows = match (placement, problem.generator()) {
            (Placement::Virtual, Some(generator)) => {
                Rows::unstored(device, shape, generator, problem.rows)?
            }
            (Placement::Virtual, None) => {
                let reason = "rows that are not stored are made, and these are not synthetic".into();
                return Err(ProblemError::Targets { name: problem.name.clone(), reason });
            }
            (Placement::Streamed { chunk }, _) => {
                // What is summed in one go lies in one chunk, or the bits would depend on the chunks.
                let least = unit.min(shape.run_rows()).min(problem.rows);
                let chunk = chunk.max(bytes_of(least));
                let unit = if bytes_of(together) <= chunk { together } else { unit };
                let samples = Samples::in_turns(device, shape, problem.rows, unit, chunk)?;
                let rows = Rows::from(&samples);
                stream = Some(RefCell::new(Stream::new(samples)));
                rows
            }
            (Placement::Resident, _) => {
                let limits = device.limits();
                let most = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
                let unit = if bytes_of(together) <= most { together } else { unit };
                Rows::from(&Samples::new(device, shape, problem.rows, unit)?)
            }
        };
        if let Some(error) = pollster::block_on(memory.pop()) {
            return Err(Error::OutOfMemory { what: "the rows", reason: error.to_string() }.into());
        }
        let data = GpuData { gpu, problem, rows, stream };
        if let (Placement::Resident, Some(samples)) = (placement, data.rows.samples()) {
            match problem.generator() {
                Some(generator) => {
                    let rows = SyntheticRows::new(device, samples, generator)?;
                    for chunk in 0..rows.chunks() {
                        let mut encoder = device.create_command_encoder(&Default::default());
                        rows.record(&mut encoder.begin_compute_pass(&Default::default()), chunk);
                        gpu.submit(encoder)?;
                    }
                }
                None => {
                    for (i, chunk) in samples.chunks().iter().enumerate() {
                        let (x, sides) =
                            problem.rows_of(&Batch::new(chunk.first_row, chunk.rows.into()))?;
                        samples.write_part(queue, i, 0, &x, &sides)?;
                        gpu.submit(device.create_command_encoder(&Default::default()))?;
                    }
                }
            }
        }
        Ok(data)
    }

    /// What streaming has come to so far, where rows are streamed.
    pub fn stream_times(&self) -> Option<StreamTimes> {
        self.stream.as_ref().map(|stream| stream.borrow().times)
    }

    /// Records work on a chunk into `encoder`, whose earlier work is submitted if the chunk must be written
    /// first.
    pub(super) fn on_chunk(
        &self,
        encoder: &mut CommandEncoder,
        chunk: usize,
        record: impl FnOnce(&mut ComputePass),
    ) -> Result<(), ProblemError> {
        if let Some(stream) = &self.stream {
            let mut stream = stream.borrow_mut();
            if stream.held[chunk % 2] != Some(chunk) {
                let fresh = self.gpu.device.create_command_encoder(&Default::default());
                let before = std::mem::replace(encoder, fresh);
                let index = self.gpu.queue.submit([before.finish()]);
                stream.load(self, chunk, index)?;
            }
        }
        record(&mut encoder.begin_compute_pass(&Default::default()));
        Ok(())
    }
}

impl Stream {
    fn new(samples: Samples) -> Self {
        Stream {
            samples,
            held: [None; 2],
            last: [None, None],
            x: Vec::new(),
            sides: Vec::new(),
            times: StreamTimes::default(),
        }
    }

    /// Brings a chunk into its place. `submitted` is the device's work so far: the last that read the other
    /// place, which goes on meanwhile.
    fn load(
        &mut self,
        data: &GpuData,
        chunk: usize,
        submitted: SubmissionIndex,
    ) -> Result<(), ProblemError> {
        let Gpu { device, queue, .. } = data.gpu;
        let (place, other) = (chunk % 2, 1 - chunk % 2);
        let shape = *self.samples.shape();
        let part = &self.samples.chunks()[chunk];
        let (first, rows) = (part.first_row, part.rows as usize);
        let poll = |poll| device.poll(poll).map_err(|e| Error::ReadBack(e.to_string()));
        let started = Instant::now();
        self.x.resize(rows * shape.features as usize, 0.0);
        self.sides.resize(rows * shape.side as usize, 0.0);
        data.problem.fill(first, &mut self.x, &mut self.sides)?;
        let filled = Instant::now();
        // Rows are staged on the host: not more than two chunks at a time.
        if let Some(index) = self.last[place].take() {
            poll(PollType::Wait { submission_index: Some(index), timeout: None })?;
        }
        let free = Instant::now();
        self.samples.write_part(queue, chunk, 0, &self.x, &self.sides)?;
        // Whether the device still computes tells whether it was kept waiting.
        let idle = poll(PollType::Poll)?.is_queue_empty();
        let loading = (filled - started) + free.elapsed();
        self.times.loading += loading;
        self.times.waiting += free - filled;
        self.times.exposed += if idle { loading } else { Duration::ZERO };
        self.times.bytes += rows as u64 * (shape.row_bytes() + u64::from(shape.side) * 4);
        self.last[other] = Some(submitted);
        self.held[place] = Some(chunk);
        Ok(())
    }
}
