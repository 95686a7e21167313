//! What is measured: which works at which sizes, on which devices, and whether they fit.

use super::device::Device;
use super::machine::{available_memory, cache_bytes};
use super::processor::Processor;
use super::report::{LeftOut, Rates, Row, Shape, Work};
use super::training::{self, EPOCH, EPOCH_BATCHES, FIT, TARGET};
use super::turns::{self, Pair, Samples, VISITS};
use super::{BenchError, Options, gradient, step, validation};
use crate::Rule;
use crate::cpu::gradient::Rows;
use crate::gpu::Gpu;
use crate::regression::Problem;
use crate::verify::Verification;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Works {
    /// Optimizer steps.
    Step,
    /// Gradients.
    Gradient,
    /// Epochs of training, and fits to a loss.
    Fit,
    /// Everything.
    All,
}

/// A size as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Parameters of a step; numbers of X at 64 features.
    Numbers(u64),
    /// Rows and features of X.
    Shape(u64, u32),
}

/// Numbers in a row where a size is one number.
const FEATURES: u32 = 64;
/// Parameters of the smallest step, the factor from each to the next, and up to where every device goes.
const SMALLEST: u64 = 1 << 12;
const FACTOR: u64 = 16;
const ALWAYS: u64 = 1 << 24;
/// No device has more memory.
const MOST_MEMORY: u64 = 1 << 40;
/// A size that nobody named may take so many times the budget for its least number of samples.
const PATIENCE: f64 = 4.0;
/// Shapes of X.
const SHAPES: [(u64, u32); 5] =
    [(1 << 20, 16), (1 << 20, 64), (1 << 16, 256), (1 << 14, 1024), (1 << 12, 4096)];
/// What an adapter's caches may hold: no more is known of them.
const DEVICE_CACHE: u64 = 1 << 28;
const UNKNOWN_CACHE: u64 = 1 << 26;

/// Each kind of data is drawn apart from the others.
const STEP_SEED: u64 = 1;
const GRADIENT_SEED: u64 = 2;
const FIT_SEED: u64 = 3;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.split_once(['x', '×']) {
            None => Ok(Size::Numbers(number(text)?)),
            Some((rows, features)) => {
                let (rows, features) = (number(rows)?, number(features)?);
                let least = u64::from(crate::gpu::Shape::MAX_FEATURES);
                let features = u32::try_from(features).ok().filter(|&f| u64::from(f) <= least);
                let features = features.ok_or_else(|| {
                    format!("`{text}`: rows of more than {least} features are none of a problem's")
                })?;
                Ok(Size::Shape(rows, features))
            }
        }
    }
}

/// `4096`, `2^12` or `1e6`.
///
/// # Errors
/// A sentence that names it.
pub fn number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let not = || format!("`{text}` is no size: 4096, 2^12, 1e6 and 2^20x64 (rows x features) are");
    let value = match text.split_once('^') {
        Some((base, exponent)) => {
            let base: u64 = base.parse().map_err(|_| not())?;
            base.checked_pow(exponent.parse().map_err(|_| not())?)
        }
        None => match text.parse::<u64>() {
            Ok(value) => Some(value),
            Err(_) => {
                let value: f64 = text.parse().map_err(|_| not())?;
                // A u64 that a float has exactly.
                (value.fract() == 0.0 && (0.0..1e18).contains(&value)).then_some(value as u64)
            }
        },
    };
    let in_range = value.filter(|value| (1..=MOST_MEMORY).contains(value));
    in_range.ok_or_else(|| format!("`{text}` is out of range: sizes are from 1 to 2^40"))
}

/// Where jobs may run.
pub struct Targets<'a> {
    /// The adapter.
    pub device: Option<&'a Device<'a>>,
    /// One thread, then all.
    pub processors: &'a [Processor<'a>],
    /// What they gave a copy: the adapter first, then all threads, then one.
    pub rates: &'a [Rates],
}

/// One of them.
#[derive(Clone, Copy)]
enum Target<'a> {
    Device(&'a Device<'a>),
    Processor(&'a Processor<'a>),
}

impl<'a> Targets<'a> {
    /// In the order of the rates.
    fn all(&self) -> Vec<Target<'a>> {
        let device = self.device.into_iter().map(Target::Device);
        device.chain(self.processors.iter().rev().map(Target::Processor)).collect()
    }
}

impl Target<'_> {
    fn name(&self) -> (String, Option<usize>) {
        match self {
            Target::Device(device) => (device.gpu.info.name.clone(), None),
            Target::Processor(processor) => ("cpu".into(), Some(processor.threads)),
        }
    }

    /// What a copy of data may find in a cache.
    fn cache(&self) -> u64 {
        match self {
            Target::Device(device) if !device.is_software() => DEVICE_CACHE,
            _ => cache_bytes().unwrap_or(UNKNOWN_CACHE),
        }
    }

    /// Whether its memory is the host's.
    fn is_host(&self) -> bool {
        match self {
            Target::Device(device) => device.is_software(),
            Target::Processor(_) => true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Step { rule: Rule, size: u64 },
    Gradient { rows: u64, features: u32 },
    Epoch { rows: u64, features: u32, batch: u64 },
    Fit { rule: Rule, rows: u64, features: u32 },
}

impl Kind {
    /// Bytes that must move.
    fn bytes(&self) -> u64 {
        match *self {
            Kind::Step { rule, size } => rule.bytes_per_parameter().saturating_mul(size),
            Kind::Gradient { rows, features }
            | Kind::Epoch { rows, features, .. }
            | Kind::Fit { rows, features, .. } => rows.saturating_mul(4 * u64::from(features)),
        }
    }

    /// The rule of a step, whose sizes go on without end.
    fn rule(&self) -> Option<&'static str> {
        match self {
            Kind::Step { rule, .. } => Some(rule.name()),
            _ => None,
        }
    }

    /// Bytes of memory that it takes.
    fn memory(&self) -> u64 {
        match *self {
            Kind::Step { rule, size } => step::memory(&rule, size),
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
            Kind::Step { rule, size } => ("step", Some(rule.name()), (size, None)),
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

/// Something to be measured.
pub struct Job<'a> {
    kind: Kind,
    target: Target<'a>,
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

/// The jobs of a run, and what is left out of it.
///
/// # Errors
/// [`BenchError::Memory`] and [`BenchError::Size`] for sizes that were asked for and cannot be.
pub fn jobs<'a>(
    options: &Options,
    targets: &Targets<'a>,
) -> Result<(Vec<Job<'a>>, Vec<LeftOut>), BenchError> {
    let named = !options.sizes.is_empty();
    let kinds = if named { named_kinds(options)? } else { default_kinds(options) };
    let (mut jobs, mut left_out) = (Vec::new(), Vec::<LeftOut>::new());
    // Of a rule on a device the first size that is left out stands for the larger ones.
    let mut refused = Vec::new();
    // What is ahead of a job is freed by then.
    let available = available_memory() / 10 * 9;
    for kind in kinds {
        for (target, rates) in targets.all().into_iter().zip(targets.rates) {
            let job = Job { kind, target };
            let which = (kind.rule(), target.name());
            if refused.contains(&which) {
                continue;
            }
            let needed = kind.memory();
            let (available, memory) = match target.is_host() {
                true => (available, "the host's memory"),
                false => (MOST_MEMORY, "an adapter's memory"),
            };
            if needed > available {
                let what = job.to_string();
                let error = BenchError::Memory { what: what.clone(), needed, available, memory };
                if named {
                    return Err(error);
                }
                left_out.push(LeftOut { what, reason: error.to_string() });
                refused.extend(which.0.is_some().then_some(which));
                continue;
            }
            let passes = 2 * turns::LEAST * VISITS;
            let seconds = kind.bytes() as f64 * passes as f64 / (1e9 * rates.copy_gb_s);
            let patience = PATIENCE * options.budget.max(Duration::from_secs(1)).as_secs_f64();
            let optional = matches!(kind, Kind::Step { size, .. } if size > ALWAYS);
            if !named && optional && seconds > patience {
                let reason = format!(
                    "{} samples and as many copies take about {seconds:.0} s: named by --sizes, it is measured",
                    turns::LEAST * VISITS
                );
                left_out.push(LeftOut { what: job.to_string(), reason });
                refused.push(which);
                continue;
            }
            jobs.push(job);
        }
    }
    Ok((jobs, left_out))
}

fn default_kinds(options: &Options) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let (works, rules) = (options.works, &options.rules);
    if matches!(works, Works::Step | Works::All) {
        let sizes = std::iter::successors(Some(SMALLEST), |size| size.checked_mul(FACTOR));
        let holds = |size: &u64| rules.iter().any(|rule| step::memory(rule, *size) <= MOST_MEMORY);
        for size in sizes.take_while(holds) {
            kinds.extend(rules.iter().map(|&rule| Kind::Step { rule, size }));
        }
    }
    if matches!(works, Works::Gradient | Works::All) {
        kinds.extend(SHAPES.map(|(rows, features)| Kind::Gradient { rows, features }));
    }
    if matches!(works, Works::Fit | Works::All) {
        kinds.extend(training_kinds(options, EPOCH, FIT));
    }
    kinds
}

fn named_kinds(options: &Options) -> Result<Vec<Kind>, BenchError> {
    let (mut kinds, works) = (Vec::new(), options.works);
    for &size in &options.sizes {
        let shape = match size {
            Size::Shape(rows, features) => {
                if works == Works::Step {
                    let message = format!(
                        "--sizes {rows}x{features} is a shape of X, and a step has parameters: one number"
                    );
                    return Err(BenchError::Size(message));
                }
                (rows, features)
            }
            Size::Numbers(size) => {
                if matches!(works, Works::Step | Works::All) {
                    kinds.extend(options.rules.iter().map(|&rule| Kind::Step { rule, size }));
                }
                // Less than a row is one row of them.
                let features = FEATURES.min(size.try_into().unwrap_or(FEATURES));
                (size / u64::from(features), features)
            }
        };
        if matches!(works, Works::Gradient | Works::All) {
            kinds.push(Kind::Gradient { rows: shape.0, features: shape.1 });
        }
        if matches!(works, Works::Fit | Works::All) {
            kinds.extend(training_kinds(options, shape, shape));
        }
    }
    Ok(kinds)
}

fn training_kinds(options: &Options, epoch: (u64, u32), fit: (u64, u32)) -> Vec<Kind> {
    let mut kinds = Vec::new();
    if options.rules.iter().any(|rule| rule.name() == "adam") {
        let (rows, features) = epoch;
        let mut batches = EPOCH_BATCHES.map(|batch| batch.min(rows)).to_vec();
        batches.dedup();
        kinds.extend(batches.into_iter().map(|batch| Kind::Epoch { rows, features, batch }));
    }
    let (rows, features) = fit;
    kinds.extend(options.rules.iter().map(|&rule| Kind::Fit { rule, rows, features }));
    kinds
}

/// Constants of the measurement.
pub fn settings(options: &Options, gpu: Option<&Gpu>) -> BTreeMap<String, Value> {
    let rules = options.rules.iter().map(|rule| (rule.name().to_string(), json!(format!("{rule:?}"))));
    let rates =
        options.rules.iter().map(|rule| (rule.name().to_string(), json!(training::learning_rate(rule))));
    let settings = json!({
        "time_budget_s": options.budget.as_secs_f64(),
        "visits": VISITS,
        "least_samples_of_a_visit": turns::LEAST,
        "most_samples_of_a_visit": turns::MOST,
        "sample_s": turns::SAMPLE.as_secs_f64(),
        "least_clock_ticks": turns::TICKS,
        "clock_tick_s": turns::tick(),
        "relative_spread": turns::SPREAD,
        "stream_bytes": options.stream_bytes(),
        "stream_workgroup": 64,
        "update_workgroup": gpu.map(|gpu| crate::gpu::workgroup(&gpu.device)),
        "seeds": options.seeds,
        "seed": options.seed,
        "rules": Value::Object(rules.collect()),
        "fit_learning_rates": Value::Object(rates.collect()),
        "fit_target": TARGET,
        "fit_most_epochs": training::MOST_EPOCHS,
    });
    match settings {
        Value::Object(map) => map.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

impl Job<'_> {
    /// Bytes of an adapter's own memory that it takes.
    pub fn device_memory(&self) -> u64 {
        if self.target.is_host() { 0 } else { self.kind.memory() }
    }

    /// Measures it in one visit: hot, and cold where that differs.
    pub fn run(&self, options: &Options, visit: usize) -> Result<Vec<Part>, BenchError> {
        match self.kind {
            Kind::Step { rule, size } => {
                let seed = options.seed.wrapping_add(STEP_SEED);
                match self.target {
                    Target::Device(device) => {
                        let (mut pair, report) = step::OnDevice::new(device, &rule, size, seed)?;
                        self.hot_and_cold(options, &mut pair, report)
                    }
                    Target::Processor(processor) => {
                        let (mut pair, report) = step::OnProcessor::new(processor, &rule, size, seed);
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
                        let (x, sides) = problem.materialize()?;
                        let rows = Rows { x: &x, sides: &sides };
                        let (mut pair, report) =
                            gradient::OnProcessor::new(processor, &problem, rows, seed)?;
                        self.hot_and_cold(options, &mut pair, report)
                    }
                }
            }
            Kind::Epoch { rows, features, batch } => {
                let problem =
                    gradient::problem(rows, features, options.seed.wrapping_add(GRADIENT_SEED))?;
                let mut take = |pair: &mut dyn Pair| turns::take(options.visit(), false, pair);
                let (samples, report) = match self.target {
                    Target::Device(device) => {
                        training::epoch_on_device(device, &problem, batch, &mut take)?
                    }
                    Target::Processor(processor) => {
                        let (x, sides) = problem.materialize()?;
                        training::epoch_on_processor(
                            processor,
                            &problem,
                            (&x, &sides),
                            batch,
                            &mut take,
                        )?
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
        pair: &mut dyn Pair,
        report: Verification,
    ) -> Result<Vec<Part>, BenchError> {
        let report = validation::passed(&self.to_string(), report)?;
        let samples = turns::take(options.visit(), false, pair)?;
        let mut parts = vec![Part::of(Some("hot"), samples, &report)];
        let cache = self.target.cache();
        if self.kind.memory() <= cache && cache < 2 * options.stream_bytes() {
            let samples = turns::take(options.visit(), true, pair)?;
            parts.push(Part::of(Some("cold"), samples, &report));
        }
        Ok(parts)
    }

    /// A problem for each seed, the same ones in every run: what it takes to solve them is compared. They are
    /// shared out among the visits.
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
                    let (x, sides) = problem.materialize()?;
                    training::fit_on_processor(processor, &problem, (&x, &sides), rule, TARGET)?
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

/// What a visit came to.
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

/// A job, and what its visits came to.
pub struct Measured<'a> {
    /// The job.
    pub job: Job<'a>,
    /// Whether it turned out not to be possible.
    pub left_out: bool,
    parts: Vec<Part>,
}

impl<'a> Measured<'a> {
    /// Not yet visited.
    pub fn new(job: Job<'a>) -> Self {
        Measured { job, left_out: false, parts: Vec::new() }
    }

    /// Adds what a visit came to.
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

    /// A row for each state of the caches.
    pub fn rows(&self) -> Vec<Row> {
        let work = self.job.kind.work(self.job.target.name());
        let row = |part: &Part| {
            let row = work.row(part.cache, part.samples.clone(), &part.checked);
            Row { updates: part.updates.clone(), ..row }
        };
        self.parts.iter().filter(|_| !self.left_out).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Adam;

    fn size(text: &str) -> Result<Size, String> {
        text.parse()
    }

    #[test]
    fn sizes_are_read_in_every_form() {
        for (text, numbers) in [("4096", 4096), ("2^24", 1 << 24), ("1e6", 1_000_000), (" 10^3 ", 1000)]
        {
            assert_eq!(size(text), Ok(Size::Numbers(numbers)));
        }
        assert_eq!(size("2^20x64"), Ok(Size::Shape(1 << 20, 64)));
        assert_eq!(size("1e3×7"), Ok(Size::Shape(1000, 7)));
    }

    #[test]
    fn other_sizes_are_refused_by_name() {
        for text in
            ["", "x", "0", "-1", "1.5", "2^64", "2^41", "inf", "nan", "4096x", "3x2x1", "1e30", "8x2^21"]
        {
            let error = size(text).unwrap_err();
            assert!(error.contains(text.trim()) || error.contains('`'), "{text}: {error}");
        }
    }

    fn options(works: Works, sizes: &[Size]) -> Options {
        Options {
            works,
            rules: vec![Adam::default().into()],
            sizes: sizes.to_vec(),
            budget: Duration::ZERO,
            stream: None,
            seeds: 5,
            seed: 1,
        }
    }

    #[test]
    fn a_size_is_parameters_and_numbers_of_x() {
        let kinds = named_kinds(&options(Works::All, &[Size::Numbers(1 << 12)])).unwrap();
        let rule = Adam::default().into();
        assert!(kinds.contains(&Kind::Step { rule, size: 4096 }));
        assert!(kinds.contains(&Kind::Gradient { rows: 64, features: 64 }));
        assert!(kinds.contains(&Kind::Epoch { rows: 64, features: 64, batch: 64 }));
        let one = named_kinds(&options(Works::Gradient, &[Size::Numbers(3)])).unwrap();
        assert_eq!(one, [Kind::Gradient { rows: 1, features: 3 }]);
    }

    #[test]
    fn a_step_has_no_shape() {
        let error = named_kinds(&options(Works::Step, &[Size::Shape(8, 2)])).unwrap_err().to_string();
        assert!(error.contains("8x2"), "{error}");
    }
}
