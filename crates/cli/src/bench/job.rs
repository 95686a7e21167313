//! A benchmark on a device, and the results of its visits.

use super::device::Device;
use super::machine::cache_bytes;
use super::processor::Processor;
use super::report::{Rates, Row, Shape, Work};
use super::sampling::{self, Interleaved, Samples, VISITS};
use super::training::{self, TARGET};
use super::{BenchError, Options, gradient, step, validation};
use std::fmt;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::reference::gradient::Rows;
use wgpu_optim::regression::verification::Verification;
use wgpu_optim::{Arithmetic, Rule};

/// Assumed maximum size of an adapter's caches in bytes.
const DEVICE_CACHE: u64 = 1 << 28;
const UNKNOWN_CACHE: u64 = 1 << 26;

// Seeds, so that each kind of data is drawn independently.
const STEP_SEED: u64 = 1;
const GRADIENT_SEED: u64 = 2;
const FIT_SEED: u64 = 3;

/// Devices for benchmarks.
pub struct Targets<'a> {
    /// The adapter.
    pub device: Option<&'a Device<'a>>,
    /// The processor with one thread, then with all.
    pub processors: &'a [Processor<'a>],
    /// Bandwidths of a copy: the adapter's, then those of all threads and of one.
    pub rates: &'a [Rates],
}

/// One device.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    Device(&'a Device<'a>),
    Processor(&'a Processor<'a>),
}

impl<'a> Targets<'a> {
    /// All devices, in the order of the rates.
    pub fn all(&self) -> Vec<Target<'a>> {
        let device = self.device.into_iter().map(Target::Device);
        device.chain(self.processors.iter().rev().map(Target::Processor)).collect()
    }
}

impl Target<'_> {
    pub fn name(&self) -> (String, Option<usize>) {
        match self {
            Target::Device(device) => (device.gpu.info.name.clone(), None),
            Target::Processor(processor) => ("cpu".into(), Some(processor.threads)),
        }
    }

    /// The size of the caches in bytes.
    fn cache(&self) -> u64 {
        match self {
            Target::Device(device) if !device.is_software() => DEVICE_CACHE,
            _ => cache_bytes().unwrap_or(UNKNOWN_CACHE),
        }
    }

    /// Whether its memory is host memory.
    pub fn is_host(&self) -> bool {
        match self {
            Target::Device(device) => device.is_software(),
            Target::Processor(_) => true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Step { rule: Rule, arithmetic: Arithmetic, size: u64 },
    Gradient { rows: u64, features: u32 },
    Epoch { rows: u64, features: u32, batch: u64 },
    Fit { rule: Rule, rows: u64, features: u32 },
}

impl Kind {
    /// The number of bytes that must be moved.
    pub fn bytes(&self) -> u64 {
        match *self {
            Kind::Step { rule, size, .. } => rule.bytes_per_parameter().saturating_mul(size),
            Kind::Gradient { rows, features }
            | Kind::Epoch { rows, features, .. }
            | Kind::Fit { rows, features, .. } => rows.saturating_mul(4 * u64::from(features)),
        }
    }

    /// The rule, if it is a step: only its sizes are unlimited.
    pub fn rule(&self) -> Option<&'static str> {
        match self {
            Kind::Step { rule, .. } => Some(rule.name()),
            _ => None,
        }
    }

    /// The required memory in bytes.
    pub fn memory(&self) -> u64 {
        match *self {
            Kind::Step { rule, size, .. } => step::memory(&rule, size),
            Kind::Gradient { rows, features }
            | Kind::Epoch { rows, features, .. }
            | Kind::Fit { rows, features, .. } => gradient::memory(rows, features.into()),
        }
    }

    fn work(&self, (device, threads): (String, Option<usize>)) -> Work {
        let of = |rows: u64, features: u32, batch| {
            let features = u64::from(features);
            (rows * features, Some(Shape { rows, features, batch }))
        };
        let (name, rule, (size, shape)) = match *self {
            Kind::Step { rule, arithmetic, size } => {
                let name = if arithmetic.is_reproducible() { "strict step" } else { "step" };
                (name, Some(rule.name()), (size, None))
            }
            Kind::Gradient { rows, features } => ("gradient", None, of(rows, features, None)),
            Kind::Epoch { rows, features, batch } => {
                ("epoch", Some("adam"), of(rows, features, Some(batch)))
            }
            Kind::Fit { rule, rows, features } => {
                ("fit", Some(rule.name()), of(rows, features, Some(training::fit_batch(rows))))
            }
        };
        Work { name, rule, size, shape, bytes: self.bytes(), device, threads }
    }
}

/// A benchmark on a device.
pub struct Job<'a> {
    /// The benchmark.
    pub kind: Kind,
    /// The device.
    pub target: Target<'a>,
}

impl fmt::Display for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let work = self.kind.work(self.target.name());
        write!(f, "{}", work.name)?;
        if let Some(rule) = work.rule {
            write!(f, " {rule}")?;
        }
        match work.shape {
            None => write!(f, " of {}", work.size)?,
            Some(Shape { rows, features, .. }) => write!(f, " of {rows} × {features}")?,
        }
        match work.threads {
            None => write!(f, ", {}", work.device),
            Some(threads) => write!(f, ", {threads} threads"),
        }
    }
}

impl Job<'_> {
    /// The required device memory in bytes.
    pub fn device_memory(&self) -> u64 {
        if self.target.is_host() { 0 } else { self.kind.memory() }
    }

    /// Measures one visit: hot, and cold if the caches matter.
    pub fn run(&self, options: &Options, visit: usize) -> Result<Vec<Part>, BenchError> {
        match self.kind {
            Kind::Step { rule, arithmetic, size } => {
                let seed = options.seed.wrapping_add(STEP_SEED);
                match self.target {
                    Target::Device(device) => {
                        let (mut pair, report) =
                            step::OnDevice::new(device, (&rule, arithmetic), size, seed)?;
                        self.hot_and_cold(options, &mut pair, report)
                    }
                    Target::Processor(processor) => {
                        let (mut pair, report) =
                            step::OnProcessor::new(processor, (&rule, arithmetic), size, seed);
                        self.hot_and_cold(options, &mut pair, report)
                    }
                }
            }
            Kind::Gradient { rows, features } => {
                let seed = options.seed.wrapping_add(GRADIENT_SEED);
                let problem = gradient::problem(rows, features, seed)?;
                match self.target {
                    Target::Device(device) => {
                        let (mut pair, report) = gradient::OnDevice::new(device, &problem, seed)?;
                        self.hot_and_cold(options, &mut pair, report)
                    }
                    Target::Processor(processor) => {
                        let (x, aux) = problem.materialize()?;
                        let rows = Rows { x: &x, aux: &aux };
                        let (mut pair, report) =
                            gradient::OnProcessor::new(processor, &problem, rows, seed)?;
                        self.hot_and_cold(options, &mut pair, report)
                    }
                }
            }
            Kind::Epoch { rows, features, batch } => {
                let problem =
                    gradient::problem(rows, features, options.seed.wrapping_add(GRADIENT_SEED))?;
                let mut take = |pair: &mut dyn Interleaved| sampling::take(options.visit(), false, pair);
                let (samples, report) = match self.target {
                    Target::Device(device) => {
                        training::epoch_on_device(device, &problem, batch, &mut take)?
                    }
                    Target::Processor(processor) => {
                        let (x, aux) = problem.materialize()?;
                        training::epoch_on_processor(processor, &problem, (&x, &aux), batch, &mut take)?
                    }
                };
                Ok(vec![Part::of(Some("hot"), samples, &report)])
            }
            Kind::Fit { rule, rows, features } => self.fits(options, visit, &rule, (rows, features)),
        }
    }

    fn hot_and_cold(
        &self,
        options: &Options,
        pair: &mut dyn Interleaved,
        report: Verification,
    ) -> Result<Vec<Part>, BenchError> {
        let report = validation::passed(&self.to_string(), report)?;
        let samples = sampling::take(options.visit(), false, pair)?;
        let mut parts = vec![Part::of(Some("hot"), samples, &report)];
        let cache = self.target.cache();
        if self.kind.memory() <= cache && cache < 2 * options.stream_bytes() {
            let samples = sampling::take(options.visit(), true, pair)?;
            parts.push(Part::of(Some("cold"), samples, &report));
        }
        Ok(parts)
    }

    /// Fits one problem per seed. The problems are the same in every run, so that fits can be compared, and distributed
    /// among the visits.
    fn fits(
        &self,
        options: &Options,
        visit: usize,
        rule: &Rule,
        (rows, features): (u64, u32),
    ) -> Result<Vec<Part>, BenchError> {
        let (mut samples, mut updates) = (Samples { repeats: 1, ..Samples::default() }, Vec::new());
        let mut checked = Verification::new();
        for seed in (visit as u64..u64::from(options.seeds)).step_by(VISITS) {
            let problem: Problem = gradient::problem(rows, features, FIT_SEED + seed)?;
            let (fitted, report) = match self.target {
                Target::Device(device) => training::fit_on_device(device, &problem, rule, TARGET)?,
                Target::Processor(processor) => {
                    let (x, aux) = problem.materialize()?;
                    training::fit_on_processor(processor, &problem, (&x, &aux), rule, TARGET)?
                }
            };
            samples.work.push(fitted.seconds);
            samples.copy.push(fitted.copy);
            updates.push(fitted.updates);
            checked.values += report.values;
            checked.worst_ratio = checked.worst_ratio.max(report.worst_ratio);
        }
        samples.visits = vec![samples.work.len()];
        Ok(vec![Part { updates, ..Part::of(None, samples, &checked) }])
    }
}

/// Results of a visit.
pub struct Part {
    cache: Option<&'static str>,
    samples: Samples,
    updates: Vec<u64>,
    checked: Verification,
}

impl Part {
    fn of(cache: Option<&'static str>, samples: Samples, checked: &Verification) -> Self {
        Part { cache, samples, updates: Vec::new(), checked: checked.clone() }
    }
}

/// A job with the results of its visits.
pub struct Measured<'a> {
    /// The job.
    pub job: Job<'a>,
    /// Whether it turned out to be impossible.
    pub left_out: bool,
    parts: Vec<Part>,
}

impl<'a> Measured<'a> {
    /// Creates a job without results.
    pub fn new(job: Job<'a>) -> Self {
        Measured { job, left_out: false, parts: Vec::new() }
    }

    /// Adds the results of a visit.
    pub fn add(&mut self, found: Vec<Part>) {
        for part in found {
            let Some(before) = self.parts.iter_mut().find(|before| before.cache == part.cache) else {
                self.parts.push(part);
                continue;
            };
            before.samples.append(part.samples);
            before.updates.extend(part.updates);
            before.checked.values += part.checked.values;
            before.checked.worst_ratio = before.checked.worst_ratio.max(part.checked.worst_ratio);
        }
    }

    /// Returns a row for each state of the caches.
    pub fn rows(&self) -> Vec<Row> {
        let work = self.job.kind.work(self.job.target.name());
        let row = |part: &Part| {
            let row = work.row(part.cache, part.samples.clone(), &part.checked);
            Row { updates: part.updates.clone(), ..row }
        };
        self.parts.iter().filter(|_| !self.left_out).map(row).collect()
    }
}
