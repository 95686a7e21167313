//! Benchmarks: optimizer steps, gradients, epochs and fits against an interleaved copy, on an adapter and on the
//! processor.
//!
//! Every benchmark is first verified against its definition, in the same buffers: a wrong result reports no speed. Its
//! samples are interleaved with a copy of as many bytes on the same device, so that other load affects both; the share
//! of the copy is the median of their ratios. [`compare`] compares two runs.

mod calibration;
pub mod compare;
mod device;
mod gradient;
mod job;
mod machine;
mod plan;
mod processor;
mod report;
mod sampling;
mod size;
mod statistics;
mod step;
mod streams;
mod training;
mod validation;

pub use machine::{Machine, processor as processor_name};
pub use plan::Works;
pub use report::{Calibration, LeftOut, Rates, Report, Row, SCHEMA, Shape};
pub use size::{Size, number};
pub use statistics::Summary;
pub use wgpu_optim::regression::machine::available_memory;

use device::Device;
use job::{Measured, Targets};
use processor::{Memory, Processor};
use sampling::VISITS;
use std::time::Duration;
use wgpu_optim::regression::ProblemError;
use wgpu_optim::regression::device::{Gpu, OpenError};
use wgpu_optim::regression::train::TrainError;
use wgpu_optim::regression::verification::Worst;
use wgpu_optim::{Arithmetic, Error, Rule};

/// Size of the source and of the target of a copy in bytes. Longer copies repeat it. Both together exceed the caches of
/// adapters.
const STREAM: u64 = 1 << 28;

/// Options of a measurement.
#[derive(Clone, Debug)]
pub struct Options {
    /// Benchmarks to run.
    pub works: Works,
    /// Rules to measure.
    pub rules: Vec<Rule>,
    /// Arithmetics of the steps to measure.
    pub arithmetics: Vec<Arithmetic>,
    /// Sizes; empty for sizes that suit the machine.
    pub sizes: Vec<Size>,
    /// Time for the samples of a row.
    pub budget: Duration,
    /// Size in bytes of each of the two streams that are copied to calibrate and to flush caches; `None` for more than
    /// the caches hold. With smaller streams nothing is measured cold.
    pub stream: Option<u64>,
    /// Number of problems to fit.
    pub seeds: u32,
    /// Seed of the random data.
    pub seed: u64,
}

impl Options {
    /// The time for the samples of a row in one visit.
    fn visit(&self) -> Duration {
        self.budget / VISITS as u32
    }

    /// The size of one stream in bytes.
    fn stream_bytes(&self) -> u64 {
        // Slightly more than half of the last-level cache.
        let default = || STREAM.max(machine::cache_bytes().unwrap_or(0) / 20 * 11);
        self.stream.unwrap_or_else(default)
    }
}

/// An error of a measurement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A benchmark failed its verification.
    #[error("{work}: verification failed, timing withheld: {}", wrong(.worst.as_deref()))]
    Wrong {
        /// The benchmark.
        work: String,
        /// The worst value.
        worst: Option<Box<Worst>>,
    },
    /// A size does not fit.
    #[error("{what} needs {needed} bytes of {memory}, but {available} are available")]
    Memory {
        /// The benchmark and size.
        what: String,
        /// Required bytes.
        needed: u64,
        /// Available bytes.
        available: u64,
        /// The kind of memory.
        memory: &'static str,
    },
    /// A size that does not apply to the benchmark.
    #[error("{0}")]
    Size(String),
    /// Threads could not be started.
    #[error("{0} threads: {1}")]
    Threads(usize, String),
    /// The device could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The device refused or failed.
    #[error(transparent)]
    Device(#[from] Error),
    /// A problem could not be created.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// Training failed.
    #[error(transparent)]
    Training(#[from] TrainError),
}

fn wrong(worst: Option<&Worst>) -> String {
    match worst {
        None => "nothing was compared".into(),
        Some(Worst { update, quantity, element, actual, expected, bound }) => format!(
            "in step {update} {quantity}[{element}] is {actual:e} ({:#010x}), but its definition gives {expected:e} ± \
             {bound:e}",
            actual.to_bits()
        ),
    }
}

/// Progress of a measurement.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Number of completed visits.
    pub done: usize,
    /// Number of all visits.
    pub of: usize,
    /// Next visit.
    pub next: &'a str,
}

/// Runs the benchmarks of `options` on the adapter, if given, and on the processor, with one thread and with all.
///
/// # Errors
/// [`BenchError`], for example for a failed verification or sizes that do not fit.
pub fn run(
    options: &Options,
    gpu: Option<&Gpu>,
    observer: &mut dyn FnMut(Progress),
) -> Result<Report, BenchError> {
    // The streams of a software adapter are also in host memory.
    let software = gpu.is_some_and(|gpu| gpu.info.device_type == wgpu::DeviceType::Cpu);
    let more = if software { options.stream_bytes().saturating_mul(2) } else { 0 };
    let memory = Memory::new(options.stream_bytes(), more)?;
    let device = gpu.map(|gpu| Device::new(gpu, &memory, options.stream_bytes())).transpose()?;
    let all = machine::threads();
    let counts = if all > 1 { vec![1, all] } else { vec![1] };
    let processors = counts.into_iter().map(|threads| Processor::new(threads, &memory));
    let processors = processors.collect::<Result<Vec<_>, _>>()?;
    let calibrate = || {
        let of_device = device.iter().map(calibration::of_device);
        // All threads first: the first entry represents the machine.
        let of_processors = processors.iter().rev().map(calibration::of_processor);
        of_device.chain(of_processors).collect::<Result<Vec<_>, _>>()
    };
    let before = calibrate()?;
    let targets = Targets { device: device.as_ref(), processors: &processors, rates: &before };
    let (jobs, mut left_out) = plan::jobs(options, &targets)?;
    // Smallest size for which the adapter was out of memory.
    let mut too_much = u64::MAX;
    let mut works: Vec<Measured> = jobs.into_iter().map(Measured::new).collect();
    let of = works.len() * VISITS;
    for done in 0..of {
        let (visit, at) = (done / works.len(), done % works.len());
        let job = &works[at].job;
        observer(Progress { done, of, next: &job.to_string() });
        if works[at].left_out {
            continue;
        }
        if job.device_memory() >= too_much {
            let reason = format!("the adapter was already out of memory with {too_much} bytes");
            left_out.push(LeftOut { what: job.to_string(), reason });
            works[at].left_out = true;
            continue;
        }
        match job.run(options, visit) {
            Ok(found) => works[at].add(found),
            // A default size that does not fit the device is skipped.
            Err(BenchError::Device(error @ (Error::OutOfMemory { .. } | Error::Limit { .. })))
                if options.sizes.is_empty() =>
            {
                if matches!(error, Error::OutOfMemory { .. }) && job.device_memory() > 0 {
                    too_much = job.device_memory();
                }
                left_out.push(LeftOut { what: job.to_string(), reason: error.to_string() });
                works[at].left_out = true;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Report {
        schema: SCHEMA,
        peer: None,
        versions: machine::versions(),
        machine: Machine::new(gpu, plan::settings(options, gpu)),
        calibration: Calibration::new(before.clone(), calibrate()?),
        rows: works.iter().flat_map(Measured::rows).collect(),
        left_out,
    })
}
