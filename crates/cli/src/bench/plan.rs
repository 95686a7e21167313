//! The plan of a measurement: benchmarks, sizes and devices that fit.

use super::job::{Job, Kind, Targets};
use super::report::LeftOut;
use super::sampling::{self, VISITS};
use super::size::{MAX, Size};
use super::training::{self, EPOCH, EPOCH_BATCHES, FIT, TARGET};
use super::{BenchError, Options, step};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use wgpu_optim::regression::device::Gpu;
use wgpu_optim::regression::machine::available_memory;

/// Benchmarks to run.
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

/// Number of features if a size is one number.
const FEATURES: u32 = 64;
// Parameters of the smallest step, the factor between sizes, and the size up to which every device is measured.
const SMALLEST: u64 = 1 << 12;
const FACTOR: u64 = 16;
const ALWAYS: u64 = 1 << 24;
/// A default size is skipped if its minimum number of samples takes more than this multiple of the budget.
const PATIENCE: f64 = 4.0;
/// Shapes of X.
const SHAPES: [(u64, u32); 5] =
    [(1 << 20, 16), (1 << 20, 64), (1 << 16, 256), (1 << 14, 1024), (1 << 12, 4096)];

/// Returns the jobs of a run, and the benchmarks that are left out.
///
/// # Errors
/// [`BenchError::Memory`] and [`BenchError::Size`] for requested sizes that are impossible.
pub fn jobs<'a>(
    options: &Options,
    targets: &Targets<'a>,
) -> Result<(Vec<Job<'a>>, Vec<LeftOut>), BenchError> {
    let named = !options.sizes.is_empty();
    let kinds = if named { named_kinds(options)? } else { default_kinds(options) };
    let (mut jobs, mut left_out) = (Vec::new(), Vec::<LeftOut>::new());
    // For each rule and device only the first size that is left out is reported.
    let mut refused = Vec::new();
    // Earlier jobs have freed their memory.
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
                true => (available, "host memory"),
                false => (MAX, "device memory"),
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
            // Three interleaved kinds, each with an untimed run before every sample.
            let passes = 6 * sampling::MIN_SAMPLES * VISITS;
            let seconds = kind.bytes() as f64 * passes as f64 / (1e9 * rates.copy_gb_s);
            let patience = PATIENCE * options.budget.max(Duration::from_secs(1)).as_secs_f64();
            let optional = matches!(kind, Kind::Step { size, .. } if size > ALWAYS);
            if !named && optional && seconds > patience {
                let reason = format!(
                    "{} samples and their copies take about {seconds:.0} s: request the size with --sizes",
                    sampling::MIN_SAMPLES * VISITS
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
        let holds = |size: &u64| rules.iter().any(|rule| step::memory(rule, *size) <= MAX);
        for size in sizes.take_while(holds) {
            kinds.extend(step_kinds(options, size));
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

fn step_kinds(options: &Options, size: u64) -> impl Iterator<Item = Kind> {
    let of = move |rule| {
        options.arithmetics.iter().map(move |&arithmetic| Kind::Step { rule, arithmetic, size })
    };
    options.rules.iter().copied().flat_map(of)
}

fn named_kinds(options: &Options) -> Result<Vec<Kind>, BenchError> {
    let (mut kinds, works) = (Vec::new(), options.works);
    for &size in &options.sizes {
        let shape = match size {
            Size::Shape(rows, features) => {
                if works == Works::Step {
                    let message = format!(
                        "--sizes {rows}x{features} is a shape of X, but the size of a step is one number"
                    );
                    return Err(BenchError::Size(message));
                }
                (rows, features)
            }
            Size::Numbers(size) => {
                if matches!(works, Works::Step | Works::All) {
                    kinds.extend(step_kinds(options, size));
                }
                // Fewer elements than a row make one shorter row.
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
        "least_samples_of_a_visit": sampling::MIN_SAMPLES,
        "most_samples_of_a_visit": sampling::MAX_SAMPLES,
        "sample_s": sampling::SAMPLE.as_secs_f64(),
        "least_clock_ticks": sampling::TICKS,
        "clock_tick_s": sampling::tick(),
        "relative_spread": sampling::SPREAD,
        "stream_bytes": options.stream_bytes(),
        "stream_workgroup": 64,
        "update_workgroup": gpu.map(|gpu| wgpu_optim::gpu::workgroup(&gpu.device)),
        "seeds": options.seeds,
        "seed": options.seed,
        "rules": Value::Object(rules.collect()),
        "fit_learning_rates": Value::Object(rates.collect()),
        "fit_target": TARGET,
        "fit_most_epochs": training::MAX_EPOCHS,
    });
    match settings {
        Value::Object(map) => map.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_optim::{Adam, Arithmetic};

    fn options(works: Works, sizes: &[Size]) -> Options {
        Options {
            works,
            rules: vec![Adam::default().into()],
            arithmetics: vec![Arithmetic::Fast],
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
        assert!(kinds.contains(&Kind::Step { rule, arithmetic: Arithmetic::Fast, size: 4096 }));
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
