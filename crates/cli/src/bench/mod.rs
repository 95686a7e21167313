//! Measurement: optimizer steps, gradients, epochs and fits against a copy that takes turns with them, on an adapter
//! and on the processor.
//!
//! What is measured is checked against its definition first, in the same buffers: a wrong answer has no speed. Each
//! work and a copy of as many bytes on the same device take turns, so that what else the machine does meets both; the
//! share of the copy is the median of their ratios. [`compare`] says what two such runs tell of each other.

mod calibration;
pub mod compare;
mod device;
mod gradient;
mod job;
mod machine;
mod plan;
mod processor;
mod report;
mod size;
mod statistics;
mod step;
mod streams;
mod training;
mod turns;
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
use std::time::Duration;
use turns::VISITS;
use wgpu_optim::regression::ProblemError;
use wgpu_optim::regression::device::{Gpu, OpenError};
use wgpu_optim::regression::train::TrainError;
use wgpu_optim::regression::verification::Worst;
use wgpu_optim::{Error, Rule};

/// Bytes of one end of a copy, which a longer one goes through again: both are more than any adapter's cache holds.
const STREAM: u64 = 1 << 28;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which works.
    pub works: Works,
    /// Which rules.
    pub rules: Vec<Rule>,
    /// Which sizes, if not those that suit the machine.
    pub sizes: Vec<Size>,
    /// The time for the samples of a row.
    pub budget: Duration,
    /// Bytes of each of the two streams that are copied to calibrate and to flush caches, if not more than these
    /// hold: where they are less, nothing is measured cold.
    pub stream: Option<u64>,
    /// How many problems are fitted.
    pub seeds: u32,
    /// What random data come from.
    pub seed: u64,
}

impl Options {
    /// The time for the samples of a row in one visit.
    fn visit(&self) -> Duration {
        self.budget / VISITS as u32
    }

    /// Bytes of one end of a copy.
    fn stream_bytes(&self) -> u64 {
        // Somewhat more than half of the last cache.
        let default = || STREAM.max(machine::cache_bytes().unwrap_or(0) / 20 * 11);
        self.stream.unwrap_or_else(default)
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// What was to be timed is wrong.
    #[error("{work}: verification failed, timing withheld: {}", wrong(.worst.as_deref()))]
    Wrong {
        /// What it is.
        work: String,
        /// The worst value.
        worst: Option<Box<Worst>>,
    },
    /// A size does not fit.
    #[error("{what} needs {needed} bytes of {memory}, and {available} are available")]
    Memory {
        /// What was asked for.
        what: String,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there are.
        available: u64,
        /// Whose.
        memory: &'static str,
    },
    /// A size that is none of the work.
    #[error("{0}")]
    Size(String),
    /// Threads could not be started.
    #[error("{0} threads: {1}")]
    Threads(usize, String),
    /// There is no device.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The device refused or failed.
    #[error(transparent)]
    Device(#[from] Error),
    /// A problem could not be made.
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
            "in step {update} {quantity}[{element}] is {actual:e} ({:#010x}), and {expected:e} ± {bound:e} by its \
             definition",
            actual.to_bits()
        ),
    }
}

/// What an observer is told.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Visits that are done.
    pub done: usize,
    /// Of how many.
    pub of: usize,
    /// What is next.
    pub next: &'a str,
}

/// Measures what `options` say on the adapter, if one is given, and on the processor, with one thread and with all.
///
/// # Errors
/// [`BenchError`]: a wrong answer, or sizes that do not fit.
pub fn run(
    options: &Options,
    gpu: Option<&Gpu>,
    observer: &mut dyn FnMut(Progress),
) -> Result<Report, BenchError> {
    // A software adapter has its streams in the same memory.
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
        // All threads first: what is first stands for the machine.
        let of_processors = processors.iter().rev().map(calibration::of_processor);
        of_device.chain(of_processors).collect::<Result<Vec<_>, _>>()
    };
    let before = calibrate()?;
    let targets = Targets { device: device.as_ref(), processors: &processors, rates: &before };
    let (jobs, mut left_out) = plan::jobs(options, &targets)?;
    // Bytes that the adapter did not have.
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
            let reason = format!("{too_much} bytes were too much for this adapter already");
            left_out.push(LeftOut { what: job.to_string(), reason });
            works[at].left_out = true;
            continue;
        }
        match job.run(options, visit) {
            Ok(found) => works[at].add(found),
            // A size that nobody asked for by name may turn out not to fit the device.
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
