//! The processor to measure on: so many threads, and streams to compare with.

use super::BenchError;
use super::turns::Timed;
use crate::cpu::random::philox;
use pulp::Arch;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

/// Elements that one task takes: their streams fit in a core's second-level cache.
const TASK: usize = 1 << 14;

/// The two ends of a copy, that every number of threads shares. Together they are larger than the last cache,
/// so that going through them flushes it.
pub struct Memory {
    streams: Mutex<[Vec<f32>; 2]>,
}

impl Memory {
    /// Allocates and writes them, of so many bytes each.
    pub fn new(bytes: u64) -> Self {
        let streams = [1.0, 2.0].map(|scale| {
            let mut stream = vec![0.0; (bytes / 4) as usize];
            let tasks = stream.par_chunks_mut(TASK);
            tasks.for_each(|task| {
                task.iter_mut().zip(1u16..).for_each(|(x, i)| *x = scale * f32::from(i))
            });
            stream
        });
        Memory { streams: Mutex::new(streams) }
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
        let half = (bytes / 8) as usize;
        self.memory.with(|[source, target]| {
            let most = source.len();
            self.time(repeats, || {
                let mut left = half;
                while left > 0 {
                    let len = left.min(most);
                    copy(&source[..len], &mut target[..len]);
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
    let arch = Arch::new();
    target.par_chunks_mut(TASK).zip(source.par_chunks(TASK)).for_each(|(target, source)| {
        arch.dispatch(|| target.iter_mut().zip(source).for_each(|(a, &b)| *a += 0.5 * b));
    });
}

/// The fastest thing that looks at every byte: no order to keep, no rounding.
pub fn read(values: &[f32]) {
    let arch = Arch::new();
    let sum = |x: &[f32]| x.iter().fold(0u32, |sum, x| sum.wrapping_add(x.to_bits()));
    let sums = values.par_chunks(TASK).map(|values| arch.dispatch(|| sum(values)));
    black_box(sums.reduce(|| 0, u32::wrapping_add));
}
