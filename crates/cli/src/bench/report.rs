//! Benchmark reports, as written to JSON and read by `compare`.

use super::machine::Machine;
use super::sampling::Samples;
use super::statistics::{Summary, trimmed_mean};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wgpu_optim::regression::verification::Verification;

/// The version of the JSON.
pub const SCHEMA: u32 = 1;

/// A run of the benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of another program; `None` for this one.
    pub peer: Option<String>,
    /// Versions of libraries.
    pub versions: BTreeMap<String, String>,
    /// Machine, build and settings.
    pub machine: Machine,
    /// Bandwidths of plain streams.
    pub calibration: Calibration,
    /// Results, one row per benchmark.
    pub rows: Vec<Row>,
    /// Benchmarks that were not measured.
    pub left_out: Vec<LeftOut>,
}

/// A benchmark that was not measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// The benchmark.
    pub what: String,
    /// The reason.
    pub reason: String,
}

/// Bandwidths of plain streams, before and after the benchmarks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Before the benchmarks.
    pub before: Calibrated,
    /// After the benchmarks.
    pub after: Calibrated,
    /// Largest change of a device's copy bandwidth, relative to the larger value.
    pub drift: f64,
    /// Whether the drift is at most 5 %.
    pub stable: bool,
}

/// The rates of the first device, and of all devices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// Rates of the first device in `devices`.
    #[serde(flatten)]
    pub first: Rates,
    /// Rates of all devices.
    pub devices: Vec<Rates>,
}

/// Rates of a device for plain streams of the largest size: medians of several measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// `cpu`, or the adapter's name.
    pub device: String,
    /// Threads of the processor.
    pub threads: Option<usize>,
    /// Copy: one stream read, one written.
    pub copy_gb_s: f64,
    /// Triad: two streams read, one of them written in place.
    pub triad_gb_s: f64,
    /// One stream read (processor).
    pub read_gb_s: Option<f64>,
    /// Time of an empty dispatch, the mean of a thousand.
    pub empty_dispatch_s: Option<f64>,
    /// Time of an empty submission and the wait for it.
    pub submit_and_wait_s: Option<f64>,
    /// Transfers from the host to the device.
    pub upload_gb_s: Option<f64>,
    /// Transfers from the device to the host.
    pub readback_gb_s: Option<f64>,
}

impl Calibration {
    /// Compares the rates before and after a run.
    pub fn new(before: Vec<Rates>, after: Vec<Rates>) -> Self {
        let apart =
            |(a, b): (&Rates, &Rates)| (a.copy_gb_s - b.copy_gb_s).abs() / a.copy_gb_s.max(b.copy_gb_s);
        let drift = before.iter().zip(&after).map(apart).fold(0.0, f64::max);
        let of = |devices: Vec<Rates>| Calibrated {
            first: devices.first().cloned().unwrap_or_default(),
            devices,
        };
        Calibration { before: of(before), after: of(after), drift, stable: drift <= 0.05 }
    }
}

/// Shape of X: rows, features, and rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Number of rows.
    pub rows: u64,
    /// Number of features.
    pub features: u64,
    /// Rows of a batch, if there are batches.
    #[serde(default)]
    pub batch: Option<u64>,
}

/// A benchmark on a device, as written and read. Fields that other programs may omit have defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `step`, `gradient`, `epoch` or `fit`.
    pub work: String,
    /// Rule; `None` for gradients.
    #[serde(default)]
    pub rule: Option<String>,
    /// Variant, which distinguishes rows with the same other fields.
    #[serde(default)]
    pub variant: Option<String>,
    /// Number of parameters of a step, else of elements of X.
    pub size: u64,
    /// Shape of X, unless it is a step.
    #[serde(default)]
    pub shape: Option<Shape>,
    /// `cpu`, or the adapter's name.
    pub device: String,
    /// Threads of the processor.
    #[serde(default)]
    pub threads: Option<usize>,
    /// `hot` if the last repetition used the same data, `cold` if the caches were flushed.
    #[serde(default)]
    pub cache: Option<String>,
    /// Wall-clock times in seconds; for fits one per seed, `None` if the loss was not reached.
    pub samples: Vec<Option<f64>>,
    /// Wall-clock times of the interleaved copies.
    #[serde(default)]
    pub beside: Vec<f64>,
    /// Number of samples of each visit; visits are minutes apart and in fresh memory.
    #[serde(default)]
    pub visits: Vec<usize>,
    /// Number of repetitions averaged in a sample, in the last visit.
    #[serde(default)]
    pub repeats: u32,
    /// Times by the device's timestamps in seconds.
    #[serde(default)]
    pub gpu_samples: Vec<f64>,
    /// Times of the copies by the device's timestamps.
    #[serde(default)]
    pub gpu_beside: Vec<f64>,
    /// Smallest sample.
    #[serde(default)]
    pub min_s: Option<f64>,
    /// The first quartile.
    #[serde(default)]
    pub q1_s: Option<f64>,
    /// Median; `None` if it is infinite.
    pub median_s: Option<f64>,
    /// The third quartile.
    #[serde(default)]
    pub q3_s: Option<f64>,
    /// Confidence interval of the median, 95 %.
    #[serde(default)]
    pub interval: Option<[f64; 2]>,
    /// For fits the mean without the fastest and the slowest.
    #[serde(default)]
    pub trimmed_mean_s: Option<f64>,
    /// Bytes that must be moved.
    #[serde(default)]
    pub bytes: u64,
    /// Bandwidth: these bytes per second.
    #[serde(default)]
    pub gb_s: Option<f64>,
    /// Time of a copy of as many bytes, as a share of the benchmark's: the median of pairs.
    #[serde(default)]
    pub percent_of_copy: Option<f64>,
    /// Kind of plain stream that limits the benchmark, other than a copy: `triad`, `read` or `same streams`.
    #[serde(default)]
    pub limit: Option<String>,
    /// Times of that stream for as many bytes, interleaved with the samples.
    #[serde(default)]
    pub limit_beside: Vec<f64>,
    /// Time of that stream as a share of the benchmark's: the median of pairs.
    #[serde(default)]
    pub percent_of_limit: Option<f64>,
    /// Median by the device's timestamps.
    #[serde(default)]
    pub gpu_median_s: Option<f64>,
    /// Bandwidth by the device's timestamps.
    #[serde(default)]
    pub gpu_gb_s: Option<f64>,
    /// Share of the copy by the device's timestamps.
    #[serde(default)]
    pub gpu_percent_of_copy: Option<f64>,
    /// Parameters per second, for steps.
    #[serde(default)]
    pub params_per_s: Option<f64>,
    /// Elements of X per second, for benchmarks that read X.
    #[serde(default)]
    pub features_per_s: Option<f64>,
    /// Number of updates of each fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<u64>,
    /// Verification before the timing.
    #[serde(default)]
    pub validation: Option<Validation>,
}

/// Result of the verification of a benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Number of compared values.
    pub values: u64,
    /// Largest error divided by its bound.
    pub worst_ratio: f64,
}

impl From<&Verification> for Validation {
    fn from(report: &Verification) -> Self {
        Validation { values: report.values, worst_ratio: report.worst_ratio }
    }
}

/// The identity of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// `step`, `gradient`, `epoch` or `fit`.
    pub name: &'static str,
    /// Rule, if there is one.
    pub rule: Option<&'static str>,
    /// Number of parameters of a step, else of elements of X.
    pub size: u64,
    /// Shape of X, unless it is a step.
    pub shape: Option<Shape>,
    /// Bytes that must be moved.
    pub bytes: u64,
    /// `cpu`, or the adapter's name.
    pub device: String,
    /// Threads of the processor.
    pub threads: Option<usize>,
}

impl Work {
    /// The plain stream with the same pattern: steps read and write parameters and moments in place, gradients read X.
    fn limit(&self) -> &'static str {
        match (self.name, self.threads) {
            ("step", None) => "same streams",
            ("step", Some(_)) => "triad",
            _ => "read",
        }
    }

    /// Builds its row.
    pub fn row(&self, cache: Option<&str>, samples: Samples, validation: &Verification) -> Row {
        let times = samples.work;
        let summary = Summary::of(&times);
        let finite = |value: f64| value.is_finite().then_some(value);
        let of = |which: fn(&Summary) -> f64| summary.as_ref().map(which).and_then(finite);
        let median = of(|summary| summary.median);
        let rate = |amount: u64, seconds: Option<f64>| seconds.map(|s| amount as f64 / s);
        let gb_s = |seconds| rate(self.bytes, seconds).map(|rate| rate * 1e-9);
        let [gpu_samples, gpu_beside] = samples.device.unwrap_or_default();
        let gpu_median = Summary::of(&gpu_samples).map(|summary| summary.median);
        let is_step = self.name == "step";
        Row {
            work: self.name.into(),
            rule: self.rule.map(str::to_string),
            variant: None,
            size: self.size,
            shape: self.shape,
            device: self.device.clone(),
            threads: self.threads,
            cache: cache.map(str::to_string),
            min_s: of(|summary| summary.min),
            q1_s: of(|summary| summary.q1),
            median_s: median,
            q3_s: of(|summary| summary.q3),
            interval: summary.map(|s| s.interval).filter(|ends| ends.iter().all(|e| e.is_finite())),
            trimmed_mean_s: (self.name == "fit")
                .then(|| trimmed_mean(&times))
                .flatten()
                .and_then(finite),
            bytes: self.bytes,
            // The bytes of a fit depend on its updates.
            gb_s: gb_s(median).filter(|_| self.name != "fit"),
            // The copies of a fit have another size than the fit.
            percent_of_copy: percent(&times, &samples.copy).filter(|_| self.name != "fit"),
            limit: (!samples.limit.is_empty()).then(|| self.limit().to_string()),
            percent_of_limit: percent(&times, &samples.limit),
            limit_beside: samples.limit,
            gpu_median_s: gpu_median,
            gpu_gb_s: gb_s(gpu_median),
            gpu_percent_of_copy: percent(&gpu_samples, &gpu_beside),
            params_per_s: rate(self.size, median).filter(|_| is_step),
            features_per_s: rate(self.size, median)
                .filter(|_| matches!(self.name, "gradient" | "epoch")),
            updates: Vec::new(),
            validation: Some(validation.into()),
            samples: times.into_iter().map(finite).collect(),
            beside: samples.copy,
            visits: samples.visits,
            repeats: samples.repeats,
            gpu_samples,
            gpu_beside,
        }
    }
}

/// The share of the copy: the median of interleaved pairs, in percent.
fn percent(work: &[f64], copy: &[f64]) -> Option<f64> {
    let shares: Vec<f64> = work.iter().zip(copy).map(|(work, copy)| 100.0 * copy / work).collect();
    Summary::of(&shares).map(|summary| summary.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(copy_gb_s: f64) -> Rates {
        Rates { device: "cpu".into(), copy_gb_s, ..Rates::default() }
    }

    #[test]
    fn a_copy_that_drifts_makes_a_run_unstable() {
        assert!(Calibration::new(vec![rates(10.0)], vec![rates(9.6)]).stable);
        let drifted = Calibration::new(vec![rates(10.0), rates(4.0)], vec![rates(10.0), rates(3.7)]);
        assert!(!drifted.stable && (drifted.drift - 0.075).abs() < 1e-12);
    }

    #[test]
    fn rates_follow_from_the_median_and_shares_from_pairs() {
        let work = Work {
            name: "step",
            rule: Some("adam"),
            size: 1000,
            shape: None,
            bytes: 28_000,
            device: "cpu".into(),
            threads: Some(1),
        };
        let samples = Samples {
            repeats: 3,
            work: vec![1e-6, 4e-6, 2e-6],
            copy: vec![1e-6, 2e-6, 3e-6],
            ..Samples::default()
        };
        let row = work.row(Some("hot"), samples, &Verification::new());
        assert_eq!(row.median_s, Some(2e-6));
        assert!((row.gb_s.unwrap() - 14.0).abs() < 1e-9);
        assert!((row.params_per_s.unwrap() - 5e8).abs() < 1e-3);
        // The median of 100, 50 and 150 %.
        assert_eq!(row.percent_of_copy, Some(100.0));
    }
}
