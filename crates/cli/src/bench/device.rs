//! Benchmarks on an adapter: memory, reference streams, and both clocks.

use super::BenchError;
use super::processor::Memory;
use super::sampling::Timed;
use super::streams::{self, Stream};
use std::ops::Range;
use std::time::Instant;
use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, CommandEncoder, ComputePass, ComputePassDescriptor,
    ComputePassTimestampWrites, DeviceType, Features, QuerySet,
};
use wgpu_optim::gpu::span::Limits;
use wgpu_optim::gpu::{ReadBack, Span};
use wgpu_optim::regression::device::{Gpu, block_on};

/// Maximum size of a buffer in bytes; longer tensors are split.
const PART: u64 = 1 << 30;
/// Minimum difference of timestamps in ticks; shorter ones are discarded.
const TICKS: f64 = 10.0;

/// An adapter with its reference streams.
pub struct Device<'a> {
    /// The adapter.
    pub gpu: &'a Gpu,
    clock: Option<Clock>,
    /// Source and target of a copy, as long as the host's, but at most one binding.
    streams: [Span; 2],
    /// The host's streams, whose copy flushes the processor's caches for a software adapter.
    memory: Option<&'a Memory>,
    flush: Stream,
}

/// A copy of as many bytes as a benchmark moves.
pub struct Copy {
    whole: Option<(Stream, u64)>,
    rest: Stream,
}

impl Copy {
    /// Records the copy.
    pub fn record(&self, pass: &mut ComputePass) {
        if let Some((whole, times)) = &self.whole {
            (0..*times).for_each(|_| whole.record(pass));
        }
        self.rest.record(pass);
    }
}

impl<'a> Device<'a> {
    /// Allocates reference streams of `bytes` bytes each.
    pub fn new(gpu: &'a Gpu, memory: &'a Memory, bytes: u64) -> Result<Self, BenchError> {
        let software = gpu.info.device_type == DeviceType::Cpu;
        let bytes = bytes.min(Limits::of(&gpu.device).max_binding) / 16 * 16;
        let make = || allocate(gpu, bytes / 4, "the streams of a copy");
        let streams = [Span::whole(&make()?), Span::whole(&make()?)];
        let flush = streams::copy(&gpu.device, &streams[0], &streams[1]);
        let device =
            Device { gpu, clock: Clock::new(gpu), streams, memory: software.then_some(memory), flush };
        for (seed, span) in (1..).zip(&device.streams) {
            let fill = streams::fill(&gpu.device, span, seed, 0);
            device.run(|pass| fill.record(pass))?;
        }
        Ok(device)
    }

    /// Whether the adapter is a software adapter, which runs on the processor.
    pub fn is_software(&self) -> bool {
        self.memory.is_some()
    }

    /// The two streams, for calibration.
    pub fn streams(&self) -> &[Span; 2] {
        &self.streams
    }

    /// Submits recorded commands, and waits.
    pub fn run(&self, record: impl FnOnce(&mut ComputePass)) -> Result<(), BenchError> {
        let mut encoder = self.encoder();
        record(&mut encoder.begin_compute_pass(&Default::default()));
        Ok(block_on(self.gpu.submit(encoder))?)
    }

    /// Times one submission of `record`, `repeats` times in a pass, by both clocks: from the submission to the end of
    /// the wait, and between the timestamps of the pass.
    pub fn time(&self, repeats: u32, record: impl Fn(&mut ComputePass)) -> Result<Timed, BenchError> {
        let mut encoder = self.encoder();
        let timestamp_writes = self.clock.as_ref().map(Clock::writes);
        let mut pass =
            encoder.begin_compute_pass(&ComputePassDescriptor { label: None, timestamp_writes });
        (0..repeats).for_each(|_| record(&mut pass));
        drop(pass);
        let commands = encoder.finish();
        let started = Instant::now();
        self.gpu.queue.submit([commands]);
        let done = self.gpu.device.poll(wgpu::PollType::wait_indefinitely());
        done.map_err(|error| wgpu_optim::Error::ReadBack(error.to_string()))?;
        let wall = started.elapsed().as_secs_f64();
        let device = match &self.clock {
            Some(clock) => clock.read(self)?,
            None => None,
        };
        let each = |seconds: f64| seconds / f64::from(repeats);
        Ok(Timed { wall: each(wall), device: device.map(each) })
    }

    /// Flushes the caches by a copy larger than the last-level cache, as far as its size is known.
    pub fn flush(&self) -> Result<(), BenchError> {
        match self.memory {
            Some(memory) => memory.flush(),
            None => self.run(|pass| self.flush.record(pass))?,
        }
        Ok(())
    }

    /// Returns a copy that moves `bytes` bytes, half of them read, half written.
    pub fn copy_of(&self, bytes: u64) -> Copy {
        let [source, target] = &self.streams;
        let (most, half) = (source.len * 4, (bytes / 2).next_multiple_of(16));
        let stream = |bytes: u64| {
            let part = |span: &Span| Span::new(&span.buffer, 0, bytes / 4);
            streams::copy(&self.gpu.device, &part(source), &part(target))
        };
        let times = half.saturating_sub(1) / most;
        let whole = (times > 0).then(|| (stream(most), times));
        Copy { whole, rest: stream(half - times * most) }
    }

    /// Generates random numbers with magnitudes in [1, 2) · 2^exponent, in as many buffers as needed.
    pub fn random(&self, len: u64, seed: u64, exponent: i32) -> Result<Vec<Span>, BenchError> {
        let limits = Limits::of(&self.gpu.device);
        let most = PART.min(self.gpu.device.limits().max_buffer_size) / limits.quantum()
            * (limits.quantum() / 4);
        let mut parts = Vec::new();
        for (i, at) in (0..).zip((0..len).step_by(most as usize)) {
            let len = most.min(len - at);
            let buffer = allocate(self.gpu, len.next_multiple_of(4), "parameters and gradients")?;
            let span = Span::new(&buffer, 0, len);
            let seed = seed.wrapping_add(i * 0x9e37_79b9_7f4a_7c15);
            let fill = streams::fill(&self.gpu.device, &span, seed, exponent);
            self.run(|pass| fill.record(pass))?;
            parts.push(span);
        }
        Ok(parts)
    }

    /// Reads ranges of a tensor, which may be in parts.
    pub fn read(&self, parts: &[Span], places: &[Range<u64>]) -> Result<Vec<f32>, BenchError> {
        let mut encoder = self.encoder();
        let len: u64 = places.iter().map(|place| place.end - place.start).sum();
        let mut read_back = ReadBack::new(&self.gpu.device, len * 4)?;
        for place in places {
            let mut first = 0;
            for part in parts {
                let (from, to) = (place.start.max(first), place.end.min(first + part.len));
                if from < to {
                    let span = Span::new(&part.buffer, part.offset + 4 * (from - first), to - from);
                    read_back.copy(&mut encoder, &span)?;
                }
                first += part.len;
            }
        }
        block_on(self.gpu.submit(encoder))?;
        Ok(block_on(self.gpu.wait(read_back.read()))?)
    }

    fn encoder(&self) -> CommandEncoder {
        self.gpu.device.create_command_encoder(&Default::default())
    }
}

/// Allocates a buffer of `len` numbers. An out-of-memory error states the size.
pub fn allocate(gpu: &Gpu, len: u64, what: &'static str) -> Result<Buffer, BenchError> {
    let memory = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let buffer = gpu.device.create_buffer(&BufferDescriptor {
        label: Some(what),
        size: 4 * len,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    match block_on(memory.pop()) {
        None => Ok(buffer),
        Some(error) => {
            let reason = format!("{} bytes: {error}", 4 * len);
            Err(wgpu_optim::Error::OutOfMemory { what, reason }.into())
        }
    }
}

/// Timestamps at the beginning and end of a pass.
struct Clock {
    queries: QuerySet,
    resolved: Buffer,
    read: Buffer,
    seconds: f64,
}

impl Clock {
    fn new(gpu: &Gpu) -> Option<Self> {
        let Gpu { device, queue, .. } = gpu;
        if !device.features().contains(Features::TIMESTAMP_QUERY) {
            return None;
        }
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("ends of a pass"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let buffer = |usage| {
            let label = Some("timestamps");
            device.create_buffer(&BufferDescriptor { label, size: 16, usage, mapped_at_creation: false })
        };
        Some(Clock {
            queries,
            resolved: buffer(BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC),
            read: buffer(BufferUsages::COPY_DST | BufferUsages::MAP_READ),
            seconds: f64::from(queue.get_timestamp_period()) * 1e-9,
        })
    }

    fn writes(&self) -> ComputePassTimestampWrites<'_> {
        ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    /// Reads the time between the timestamps in seconds, if the device wrote them and they are far enough apart. A
    /// separate submission, so that neither clock includes it.
    fn read(&self, device: &Device) -> Result<Option<f64>, BenchError> {
        let mut encoder = device.encoder();
        encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read, 0, 16);
        device.gpu.queue.submit([encoder.finish()]);
        // A failed mapping is noticed when the buffer is read.
        self.read.map_async(wgpu::MapMode::Read, .., |_| ());
        let done = device.gpu.device.poll(wgpu::PollType::wait_indefinitely());
        done.map_err(|error| wgpu_optim::Error::ReadBack(error.to_string()))?;
        let view = self.read.get_mapped_range(..);
        let times = view.map(|view| bytemuck::pod_collect_to_vec::<u8, u64>(&view));
        let times = times.map_err(|error| wgpu_optim::Error::ReadBack(error.to_string()))?;
        self.read.unmap();
        let ticks = times[1].saturating_sub(times[0]) as f64;
        Ok((times[0] != 0 && ticks >= TICKS).then_some(ticks * self.seconds))
    }
}
