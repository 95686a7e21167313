//! The effect between the samples of two rows.

use crate::bench::report::Row;
use crate::bench::sampling::VISITS;
use crate::bench::statistics::Summary;
use serde::Serialize;
use std::fmt;

/// Minimum threshold.
pub const FLOOR: f64 = 0.10;
/// Maximum threshold: an effect of a half is never SAME.
pub const MAX: f64 = 0.40;

/// Verdict on a row of B against A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The difference is within the noise of two runs.
    Same,
    /// B takes less time.
    Faster,
    /// B takes more time.
    Slower,
    /// The difference is large, but not proved.
    Unsure,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Verdict::Same => "SAME",
            Verdict::Faster => "FASTER",
            Verdict::Slower => "SLOWER",
            Verdict::Unsure => "UNSURE",
        })
    }
}

/// Effect between two samples of times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The verdict.
    pub verdict: Verdict,
    /// B's time / A's: above one, B is slower.
    pub ratio: f64,
    /// From B's smallest visit / A's largest to B's largest / A's smallest.
    pub interval: [f64; 2],
    /// The second opinion.
    pub quartiles: f64,
    /// The threshold.
    pub threshold: f64,
    /// Whether times are relative to the interleaved copies.
    pub paired: bool,
}

/// The samples of a row; a fit that did not reach the loss is infinite.
fn times(row: &Row) -> Vec<f64> {
    row.samples.iter().map(|sample| sample.unwrap_or(f64::INFINITY)).collect()
}

fn has_copies(row: &Row) -> bool {
    !row.samples.is_empty() && row.beside.len() == row.samples.len()
}

/// Computes the effect between two rows of the same benchmark.
pub fn effect(a: &Row, b: &Row, paired: bool) -> Effect {
    let paired = paired && has_copies(a) && has_copies(b);
    let ratios = |row: &Row| -> Vec<f64> {
        let times = times(row);
        match paired {
            true => times.iter().zip(&row.beside).map(|(time, copy)| time / copy).collect(),
            false => times,
        }
    };
    let (of_a, of_b) = (ratios(a), ratios(b));
    if of_a.is_empty() || of_b.is_empty() {
        return unknown(paired);
    }
    if a.work == "fit" && of_a.len() == of_b.len() {
        // Seeds whose loss neither reaches count as equal.
        let reached = of_a.iter().zip(&of_b).filter(|(a, b)| a.is_finite() || b.is_finite());
        let mut each: Vec<f64> = reached.map(|(a, b)| b / a).collect();
        if each.is_empty() {
            each.push(1.0);
        }
        let (least, largest) = ends(&each);
        let ratio = median(&each);
        return judge(ratio, [least, largest], ratio, largest / least - 1.0, paired);
    }
    let (visits_a, visits_b) = (visits(a, &of_a), visits(b, &of_b));
    let ((least_a, largest_a), (least_b, largest_b)) = (ends(&visits_a), ends(&visits_b));
    let first = |values: &[f64]| Summary::of(values).map_or(f64::NAN, |summary| summary.q1);
    let quarter = |row: &Row| first(&times(row)) / if paired { first(&row.beside) } else { 1.0 };
    judge(
        median(&visits_b) / median(&visits_a),
        [least_b / largest_a, largest_b / least_a],
        quarter(b) / quarter(a),
        (largest_a / least_a).max(largest_b / least_b) - 1.0,
        paired,
    )
}

fn median(values: &[f64]) -> f64 {
    Summary::of(values).map_or(f64::NAN, |summary| summary.median)
}

fn ends(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(least, largest), &value| {
        (f64::min(least, value), f64::max(largest, value))
    })
}

/// The median of each visit.
fn visits(row: &Row, ratios: &[f64]) -> Vec<f64> {
    let len = ratios.len();
    let mut lengths: Vec<usize> = row.visits.iter().copied().filter(|&length| length > 0).collect();
    let sum = lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length));
    if sum != Some(len) {
        lengths = (0..VISITS).map(|i| (i + 1) * len / VISITS - i * len / VISITS).collect();
    }
    let mut rest = ratios;
    let next = |length| {
        let (visit, after) = rest.split_at(length);
        rest = after;
        median(visit)
    };
    lengths.into_iter().filter(|&length| length > 0).map(next).collect()
}

fn judge(ratio: f64, interval: [f64; 2], quartiles: f64, scatter: f64, paired: bool) -> Effect {
    let threshold = if scatter.is_nan() { MAX } else { scatter.clamp(FLOOR, MAX) };
    let (floor, far, half) = (1.0 + FLOOR, 1.0 + threshold, 1.0 + FLOOR / 2.0);
    let verdict = if interval[0] > floor && ratio > far && quartiles > half {
        Verdict::Slower
    } else if interval[1] < 1.0 / floor && ratio < 1.0 / far && quartiles < 1.0 / half {
        Verdict::Faster
    } else if (1.0 / far..=far).contains(&ratio) {
        Verdict::Same
    } else {
        Verdict::Unsure
    };
    Effect { verdict, ratio, interval, quartiles, threshold, paired }
}

fn unknown(paired: bool) -> Effect {
    let nan = f64::NAN;
    Effect {
        verdict: Verdict::Unsure,
        ratio: nan,
        interval: [nan; 2],
        quartiles: nan,
        threshold: MAX,
        paired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise like that of a shared machine: slow bursts and slow runs, visits with favourable or unfavourable memory,
    /// jitter of every sample, and occasional outliers.
    struct Noise(u64);

    impl Noise {
        fn uniform(&mut self) -> f64 {
            let [word, ..] =
                wgpu_optim::cpu::random::philox([self.0 as u32, (self.0 >> 32) as u32, 0, 0], [7, 0]);
            self.0 += 1;
            f64::from(word) / 2f64.powi(32)
        }

        /// A row with `n` samples per visit of a benchmark that takes `seconds`.
        fn row(&mut self, n: usize, seconds: f64, scatter: f64) -> Row {
            let (mut samples, mut beside) = (Vec::new(), Vec::new());
            let drift = 1.0 + self.uniform();
            for _ in 0..VISITS {
                let place = 1.0 + scatter * (self.uniform() + self.uniform() - 1.0);
                let mut burst = 1.0;
                for _ in 0..n {
                    if self.uniform() < 0.2 {
                        burst = 1.0 + self.uniform();
                    }
                    let mut jitter = || {
                        let interrupted = if self.uniform() < 0.05 { 1.0 } else { 0.0 };
                        1.0 + 0.1 * self.uniform() + interrupted
                    };
                    samples.push(Some(seconds * place * drift * burst * jitter()));
                    beside.push(1e-3 * drift * burst * jitter());
                }
            }
            Row { visits: vec![n; VISITS], ..row(samples, beside) }
        }
    }

    fn row(samples: Vec<Option<f64>>, beside: Vec<f64>) -> Row {
        let value = serde_json::json!({
            "work": "step", "rule": "adam", "size": 4096, "device": "cpu", "threads": 1, "cache": "hot",
            "samples": samples, "beside": beside, "median_s": null,
        });
        serde_json::from_value(value).unwrap()
    }

    fn verdicts(factor: f64, n: usize, scatter: f64) -> Vec<Verdict> {
        let mut noise = Noise(n as u64 * 1_000_003);
        let mut verdict = || {
            let (a, b) = (noise.row(n, 2e-3, scatter), noise.row(n, 2e-3 * factor, scatter));
            effect(&a, &b, true).verdict
        };
        (0..300).map(|_| verdict()).collect()
    }

    fn share(verdicts: &[Verdict], of: Verdict) -> f64 {
        verdicts.iter().filter(|&&verdict| verdict == of).count() as f64 / verdicts.len() as f64
    }

    /// Samples per visit, and the maximum deviation of visits from their mean.
    const NOISES: [(usize, f64); 3] = [(3, 0.1), (10, 0.15), (20, 0.2)];

    #[test]
    fn the_same_work_is_the_same_however_the_machine_drifts() {
        for (n, scatter) in NOISES.into_iter().chain([(3, 0.4), (20, 0.4)]) {
            let verdicts = verdicts(1.0, n, scatter);
            assert!(share(&verdicts, Verdict::Same) >= 0.9, "{n} samples, scatter {scatter}");
            assert_eq!(share(&verdicts, Verdict::Slower), 0.0, "{n} samples, scatter {scatter}");
        }
    }

    #[test]
    fn half_again_as_slow_is_slower_in_that_noise() {
        for (n, scatter) in NOISES {
            let verdicts = verdicts(1.5, n, scatter);
            let share_slower = share(&verdicts, Verdict::Slower);
            assert!(share_slower >= 0.9, "{n} samples, scatter {scatter}: {share_slower}");
            assert!(share(&verdicts, Verdict::Same) <= 0.02, "{n} samples, scatter {scatter}");
            assert_eq!(share(&verdicts, Verdict::Faster), 0.0);
        }
    }

    #[test]
    fn half_again_as_fast_is_faster_in_that_noise() {
        for (n, scatter) in NOISES {
            let verdicts = verdicts(1.0 / 1.5, n, scatter);
            assert!(share(&verdicts, Verdict::Faster) >= 0.9, "{n} samples, scatter {scatter}");
        }
    }

    #[test]
    fn what_is_not_proved_is_unsure() {
        // The median is larger by half, but some visits are as fast.
        let a = row([1.0, 1.0, 1.0, 1.4, 1.4].map(Some).into(), vec![1.0; 5]);
        let b = row([1.0, 1.5, 1.6, 1.6, 1.6].map(Some).into(), vec![1.0; 5]);
        assert_eq!(effect(&a, &b, true).verdict, Verdict::Unsure);
        assert_eq!(effect(&row(vec![], vec![]), &b, true).verdict, Verdict::Unsure);
    }

    #[test]
    fn samples_without_visits_are_cut_into_five() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let row = row(vec![Some(1.0); 12], vec![]);
        assert_eq!(visits(&row, &values), [0.5, 2.5, 5.0, 7.5, 10.0]);
        let told = Row { visits: vec![1, 0, 11], ..row };
        assert_eq!(visits(&told, &values), [0.0, 6.0]);
        let few = Row { visits: vec![], ..told };
        assert_eq!(visits(&few, &values[..2]), [0.0, 1.0]);
    }

    #[test]
    fn without_copies_seconds_are_compared() {
        let times =
            |by: f64| (0..10).map(|i| Some(by * (1.0 + 0.01 * f64::from(i)))).collect::<Vec<_>>();
        let (a, b) = (row(times(1.0), vec![]), row(times(1.6), vec![]));
        let effect = effect(&a, &b, true);
        assert_eq!((effect.verdict, effect.paired), (Verdict::Slower, false));
    }

    #[test]
    fn fits_are_compared_seed_by_seed() {
        let fit =
            |samples: [Option<f64>; 5]| Row { work: "fit".into(), ..row(samples.into(), vec![1.0; 5]) };
        let a = fit([Some(1.0), Some(5.0), Some(2.0), Some(9.0), None]);
        let same = fit([Some(1.02), Some(5.2), Some(1.9), Some(9.1), None]);
        assert_eq!(effect(&a, &same, true).verdict, Verdict::Same);
        let slower = fit([Some(1.6), Some(8.0), Some(3.2), Some(14.0), None]);
        assert_eq!(effect(&a, &slower, true).verdict, Verdict::Slower);
        let missed = fit([None, None, None, Some(9.0), None]);
        assert_ne!(effect(&a, &missed, true).verdict, Verdict::Same);
    }
}
