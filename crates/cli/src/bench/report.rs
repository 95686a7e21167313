//! What a benchmark comes to, as JSON has it and `compare` reads it.

use super::machine::Machine;
use super::statistics::{Summary, trimmed_mean};
use super::turns::Samples;
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
    /// Whose program this is; none for this one.
    pub peer: Option<String>,
    /// Of what was measured with.
    pub versions: BTreeMap<String, String>,
    /// What it was measured on.
    pub machine: Machine,
    /// What the machine gives plain streams.
    pub calibration: Calibration,
    /// A work each.
    pub rows: Vec<Row>,
    /// What was not measured, and why.
    pub left_out: Vec<LeftOut>,
}

/// Something that was not measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// What it is.
    pub what: String,
    /// Why not.
    pub reason: String,
}

/// Plain streams, ahead of everything and behind it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Ahead.
    pub before: Calibrated,
    /// Behind.
    pub after: Calibrated,
    /// How far apart the copies of a device are at most, as a share of the larger.
    pub drift: f64,
    /// Whether that is at most 5 %.
    pub stable: bool,
}

/// The first device's rates, and those of every one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// Of the device that is first in `devices`.
    #[serde(flatten)]
    pub first: Rates,
    /// Of every device.
    pub devices: Vec<Rates>,
}

/// What a device gives plain streams of its largest size: the medians of several.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// `cpu`, or the adapter's name.
    pub device: String,
    /// Of the processor.
    pub threads: Option<usize>,
    /// One stream read, one written.
    pub copy_gb_s: f64,
    /// Two streams read, one of them written in place.
    pub triad_gb_s: f64,
    /// One stream read; of the processor.
    pub read_gb_s: Option<f64>,
    /// One of a thousand dispatches that do nothing.
    pub empty_dispatch_s: Option<f64>,
    /// A submission of nothing, and the wait for it.
    pub submit_and_wait_s: Option<f64>,
    /// From the host to the device.
    pub upload_gb_s: Option<f64>,
    /// And back.
    pub readback_gb_s: Option<f64>,
}

impl Calibration {
    /// Of both ends of a run.
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

/// Rows of X, numbers in each, and rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Rows.
    pub rows: u64,
    /// Numbers in a row.
    pub features: u64,
    /// Rows of a batch, where there are batches.
    #[serde(default)]
    pub batch: Option<u64>,
}

/// One work on one device, as it is written and as it is read: what other programs need not say has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `step`, `gradient`, `epoch` or `fit`.
    pub work: String,
    /// The rule; a gradient has none.
    #[serde(default)]
    pub rule: Option<String>,
    /// What else tells it apart.
    #[serde(default)]
    pub variant: Option<String>,
    /// Parameters of a step, numbers of X otherwise.
    pub size: u64,
    /// Of X, where there is one.
    #[serde(default)]
    pub shape: Option<Shape>,
    /// `cpu`, or the adapter's name.
    pub device: String,
    /// Of the processor.
    #[serde(default)]
    pub threads: Option<usize>,
    /// `hot` on data that the last repetition has used too, `cold` on such as no cache has.
    #[serde(default)]
    pub cache: Option<String>,
    /// Seconds by the wall's clock; of fits those of each seed, none where the loss was not reached.
    pub samples: Vec<Option<f64>>,
    /// Those of the copy that took turns with it.
    #[serde(default)]
    pub beside: Vec<f64>,
    /// How many of the samples each visit took: a run comes back to a work, minutes apart and in fresh memory.
    #[serde(default)]
    pub visits: Vec<usize>,
    /// Repetitions that a sample is the mean of, in the last visit.
    #[serde(default)]
    pub repeats: u32,
    /// Seconds by the device's clock.
    #[serde(default)]
    pub gpu_samples: Vec<f64>,
    /// Those of the copy.
    #[serde(default)]
    pub gpu_beside: Vec<f64>,
    /// The least sample.
    #[serde(default)]
    pub min_s: Option<f64>,
    /// The first quartile.
    #[serde(default)]
    pub q1_s: Option<f64>,
    /// The median; none where that is infinite.
    pub median_s: Option<f64>,
    /// The third quartile.
    #[serde(default)]
    pub q3_s: Option<f64>,
    /// Where the median lies with a probability of 95 %.
    #[serde(default)]
    pub interval: Option<[f64; 2]>,
    /// Of fits, the mean without the fastest and the slowest.
    #[serde(default)]
    pub trimmed_mean_s: Option<f64>,
    /// Bytes that must move.
    #[serde(default)]
    pub bytes: u64,
    /// Those, a second.
    #[serde(default)]
    pub gb_s: Option<f64>,
    /// The time that a copy of as many bytes takes, as a share of the work's: the median of pairs.
    #[serde(default)]
    pub percent_of_copy: Option<f64>,
    /// A plain stream of the kind that bounds the work, besides a copy: `triad`, `read` or `same streams`.
    #[serde(default)]
    pub limit: Option<String>,
    /// Seconds of as many bytes of that, in turns with the samples.
    #[serde(default)]
    pub limit_beside: Vec<f64>,
    /// Its time as a share of the work's: the median of pairs.
    #[serde(default)]
    pub percent_of_limit: Option<f64>,
    /// The median by the device's clock.
    #[serde(default)]
    pub gpu_median_s: Option<f64>,
    /// Bytes a second by it.
    #[serde(default)]
    pub gpu_gb_s: Option<f64>,
    /// The share of the copy by it.
    #[serde(default)]
    pub gpu_percent_of_copy: Option<f64>,
    /// Of a step.
    #[serde(default)]
    pub params_per_s: Option<f64>,
    /// Of everything that reads X.
    #[serde(default)]
    pub features_per_s: Option<f64>,
    /// Updates that each fit made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<u64>,
    /// What was checked ahead of it.
    #[serde(default)]
    pub validation: Option<Validation>,
}

/// What the check of a work came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Values that were compared.
    pub values: u64,
    /// The largest error as a share of its bound.
    pub worst_ratio: f64,
}

impl From<&Verification> for Validation {
    fn from(report: &Verification) -> Self {
        Validation { values: report.values, worst_ratio: report.worst_ratio }
    }
}

/// What tells one row from another.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// `step`, `gradient`, `epoch` or `fit`.
    pub name: &'static str,
    /// The rule, where there is one.
    pub rule: Option<&'static str>,
    /// Parameters of a step, numbers of X otherwise.
    pub size: u64,
    /// Of X, where there is one.
    pub shape: Option<Shape>,
    /// Bytes that must move.
    pub bytes: u64,
    /// `cpu`, or the adapter's name.
    pub device: String,
    /// Of the processor.
    pub threads: Option<usize>,
}

impl Work {
    /// What moves as many bytes in the way of this work: parameters and moments are read and written in place, X is
    /// read.
    fn limit(&self) -> &'static str {
        match (self.name, self.threads) {
            ("step", None) => "same streams",
            ("step", Some(_)) => "triad",
            _ => "read",
        }
    }

    /// Its row.
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
            // A fit's bytes depend on its updates.
            gb_s: gb_s(median).filter(|_| self.name != "fit"),
            // The copy beside a fit has no size in common with it.
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

/// The share of the copy, of pairs that took turns.
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
        // Of 100, 50 and 150 %.
        assert_eq!(row.percent_of_copy, Some(100.0));
    }
}
