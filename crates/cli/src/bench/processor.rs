//! Benchmarks on the processor: threads and reference streams.

use super::BenchError;
use super::sampling::Timed;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;
use wgpu_optim::cpu::prefetch::{BLOCK, ahead};
use wgpu_optim::cpu::random::philox;
use wgpu_optim::regression::machine::available_memory;

/// Elements per task: their streams fit into a core's second-level cache.
const TASK: usize = 1 << 14;

/// Source and target of a copy, shared by all numbers of threads. Together they exceed the last-level cache, so that a
/// copy flushes it.
pub struct Memory {
    streams: Mutex<[Vec<f32>; 2]>,
}

impl Memory {
    /// Allocates and initializes two streams of `bytes` bytes each. `more` further bytes must be available.
    ///
    /// # Errors
    /// [`BenchError::Memory`].
    pub fn new(bytes: u64, more: u64) -> Result<Self, BenchError> {
        let (needed, available) = (bytes.saturating_mul(2).saturating_add(more), available_memory());
        let error = || BenchError::Memory {
            what: format!("a copy between streams of {bytes} bytes (--stream)"),
            needed,
            available,
            memory: "host memory",
        };
        if needed > available {
            return Err(error());
        }
        let stream = |scale: f32| -> Result<Vec<f32>, BenchError> {
            let mut stream = Vec::new();
            stream.try_reserve_exact((bytes / 4) as usize).map_err(|_| error())?;
            stream.resize((bytes / 4) as usize, 0.0);
            let tasks = stream.par_chunks_mut(TASK);
            tasks.for_each(|task| {
                task.iter_mut().zip(1u16..).for_each(|(x, i)| *x = scale * f32::from(i))
            });
            Ok(stream)
        };
        Ok(Memory { streams: Mutex::new([stream(1.0)?, stream(2.0)?]) })
    }

    /// Flushes the caches by a copy.
    pub fn flush(&self) {
        self.with(|[a, b]| {
            read(a);
            read(b);
        });
    }

    /// Runs a closure with exclusive access to the streams.
    pub fn with<T>(&self, run: impl FnOnce(&mut [Vec<f32>; 2]) -> T) -> T {
        // A panic cannot leave invalid numbers.
        run(&mut self.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The processor with a number of threads.
pub struct Processor<'a> {
    /// Number of threads.
    pub threads: usize,
    pool: ThreadPool,
    /// The streams.
    pub memory: &'a Memory,
}

impl<'a> Processor<'a> {
    /// Starts the threads.
    pub fn new(threads: usize, memory: &'a Memory) -> Result<Self, BenchError> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| BenchError::Threads(threads, error.to_string()))?;
        Ok(Processor { threads, pool, memory })
    }

    /// Runs a closure on these threads.
    pub fn run<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.pool.install(run)
    }

    /// Times `run` on these threads, repeated, without the time for waking them.
    pub fn time(&self, repeats: u32, mut run: impl FnMut() + Send) -> Timed {
        let wall = self.run(|| {
            let started = Instant::now();
            (0..repeats).for_each(|_| run());
            started.elapsed().as_secs_f64()
        });
        Timed { wall: wall / f64::from(repeats), device: None }
    }

    /// Times a copy that moves `bytes` bytes, half of them read, half written.
    pub fn copy(&self, bytes: u64, repeats: u32) -> Timed {
        self.over(bytes / 8, repeats, copy)
    }

    /// Times an in-place triad that moves `bytes` bytes, a third of them written.
    pub fn triad(&self, bytes: u64, repeats: u32) -> Timed {
        self.over(bytes / 12, repeats, triad)
    }

    /// Times `go` over `len` elements of the streams, repeating them if they are shorter.
    fn over(&self, len: u64, repeats: u32, go: fn(&[f32], &mut [f32])) -> Timed {
        self.memory.with(|[source, target]| {
            let most = source.len();
            self.time(repeats, || {
                let mut left = len as usize;
                while left > 0 {
                    let len = left.min(most);
                    go(&source[..len], &mut target[..len]);
                    left -= len;
                }
            })
        })
    }
}

/// Generates random numbers of either sign with magnitudes in [1, 2) · 2^exponent.
pub fn random(len: usize, seed: u64, exponent: i32) -> Vec<f32> {
    let key = [seed as u32, (seed >> 32) as u32];
    let mut values = vec![0.0; len];
    values.par_chunks_mut(TASK).enumerate().for_each(|(task, values)| {
        for (values, at) in values.chunks_mut(4).zip(0..) {
            for (value, bits) in values.iter_mut().zip(philox([task as u32, at, 0, 0], key)) {
                *value = f32::from_bits(bits & 0x807f_ffff | ((exponent + 127) as u32) << 23);
            }
        }
    });
    values
}

/// Copies a stream.
pub fn copy(source: &[f32], target: &mut [f32]) {
    let parts = target.par_chunks_mut(TASK).zip(source.par_chunks(TASK));
    parts.for_each(|(target, source)| target.copy_from_slice(source));
}

/// Computes `target ← target + ½ · source`: two streams read, one of them written.
pub fn triad(source: &[f32], target: &mut [f32]) {
    let parts = target.par_chunks_mut(TASK).zip(source.par_chunks(TASK));
    parts.for_each(|(target, source)| Arch::new().dispatch(Triad { source, target }));
}

/// A type instead of a closure, because only an always-inlined method is compiled for the detected SIMD.
struct Triad<'a> {
    source: &'a [f32],
    target: &'a mut [f32],
}

impl WithSimd for Triad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (target, last_target) = self.target.as_chunks_mut::<BLOCK>();
        let (source, last_source) = self.source.as_chunks::<BLOCK>();
        for (target, source) in target.iter_mut().zip(source) {
            ahead(target);
            ahead(source);
            for i in 0..BLOCK {
                target[i] += 0.5 * source[i];
            }
        }
        last_target.iter_mut().zip(last_source).for_each(|(a, b)| *a += 0.5 * b);
    }
}

/// Reads every byte with the fastest order-independent reduction.
pub fn read(values: &[f32]) {
    let sums = values.par_chunks(TASK).map(|values| Arch::new().dispatch(Read(values)));
    black_box(sums.reduce(|| 0, u32::wrapping_add));
}

struct Read<'a>(&'a [f32]);

impl WithSimd for Read<'_> {
    type Output = u32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> u32 {
        let (blocks, last) = self.0.as_chunks::<BLOCK>();
        let mut sums = [0u32; BLOCK];
        for block in blocks {
            ahead(block);
            for i in 0..BLOCK {
                sums[i] = sums[i].wrapping_add(block[i].to_bits());
            }
        }
        let bits = last.iter().map(|x| x.to_bits());
        sums.into_iter().chain(bits).fold(0, u32::wrapping_add)
    }
}
