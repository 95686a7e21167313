//! The processor to measure on: so many threads, and streams to compare with.

use super::BenchError;
use super::turns::Timed;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;
use wgpu_optim::cpu::prefetch::{BLOCK, ahead};
use wgpu_optim::cpu::random::philox;
use wgpu_optim::regression::machine::available_memory;

/// Elements that one task takes: their streams fit in a core's second-level cache.
const TASK: usize = 1 << 14;

/// The two ends of a copy, that every number of threads shares. Together they are larger than the last cache,
/// so that going through them flushes it.
pub struct Memory {
    streams: Mutex<[Vec<f32>; 2]>,
}

impl Memory {
    /// Allocates and writes them, of so many bytes each. `more` bytes are to be available besides.
    ///
    /// # Errors
    /// [`BenchError::Memory`].
    pub fn new(bytes: u64, more: u64) -> Result<Self, BenchError> {
        let (needed, available) = (bytes.saturating_mul(2).saturating_add(more), available_memory());
        let error = || BenchError::Memory {
            what: format!("a copy between streams of {bytes} bytes (--stream)"),
            needed,
            available,
            memory: "the host's memory",
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

    /// Goes through all of both.
    pub fn flush(&self) {
        self.with(|[a, b]| {
            read(a);
            read(b);
        });
    }

    /// What nobody else uses meanwhile.
    pub fn with<T>(&self, run: impl FnOnce(&mut [Vec<f32>; 2]) -> T) -> T {
        // Numbers cannot be left half-written.
        run(&mut self.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// So many threads.
pub struct Processor<'a> {
    /// How many.
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

    /// Runs on these threads.
    pub fn run<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.pool.install(run)
    }

    /// The time that `run` takes on these threads, repeated, without waking them.
    pub fn time(&self, repeats: u32, mut run: impl FnMut() + Send) -> Timed {
        let wall = self.run(|| {
            let started = Instant::now();
            (0..repeats).for_each(|_| run());
            started.elapsed().as_secs_f64()
        });
        Timed { wall: wall / f64::from(repeats), device: None }
    }

    /// Moves `bytes` by copying, repeated: half of them read, half of them written.
    pub fn copy(&self, bytes: u64, repeats: u32) -> Timed {
        self.over(bytes / 8, repeats, copy)
    }

    /// Moves `bytes` by an in-place triad, repeated: a third of them written.
    pub fn triad(&self, bytes: u64, repeats: u32) -> Timed {
        self.over(bytes / 12, repeats, triad)
    }

    /// Goes through so many elements of the two streams, and through the same again where they have not so many.
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

/// Fresh random numbers of either sign, with magnitudes in [1, 2) · 2^exponent.
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

/// One stream read, one written.
pub fn copy(source: &[f32], target: &mut [f32]) {
    let parts = target.par_chunks_mut(TASK).zip(source.par_chunks(TASK));
    parts.for_each(|(target, source)| target.copy_from_slice(source));
}

/// `target ← target + ½ · source`: two streams read, one of them written.
pub fn triad(source: &[f32], target: &mut [f32]) {
    let parts = target.par_chunks_mut(TASK).zip(source.par_chunks(TASK));
    parts.for_each(|(target, source)| Arch::new().dispatch(Triad { source, target }));
}

/// A type of its own rather than a closure: only a method that is always inlined is compiled for the SIMD that was found.
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

/// The fastest thing that looks at every byte: no order to keep, no rounding.
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
