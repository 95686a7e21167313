//! Statistics of samples, without dropping outliers or assuming a distribution.

use serde::{Deserialize, Serialize};

/// Order statistics of samples; infinite samples, of fits that did not reach the loss, are the largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Minimum.
    pub min: f64,
    /// First quartile.
    pub q1: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub q3: f64,
    /// Confidence interval of the median, at least 95 %; for fewer than six samples their range, which has a lower
    /// confidence.
    pub interval: [f64; 2],
}

impl Summary {
    /// Computes the summary of samples; `None` for no samples.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let interval = match rank(sorted.len()) {
            0 => [min, max],
            r => [sorted[r - 1], sorted[sorted.len() - r]],
        };
        let at = |share| quantile(&sorted, share);
        Some(Summary { min, q1: at(0.25), median: at(0.5), q3: at(0.75), interval })
    }

    /// The interquartile range, divided by the median.
    pub fn spread(&self) -> f64 {
        (self.q3 - self.q1) / self.median
    }
}

/// The largest r for which the median is between the r-th smallest and the r-th largest of n samples with a probability
/// of at least 95 %; 0 if there is none. The number of samples below the median has a binomial distribution, p = ½.
fn rank(n: usize) -> usize {
    // P(fewer than r of n) ≤ 2.5 %.
    let mut probability = 0.5f64.powi(n.min(1000) as i32);
    let (mut below, mut r) = (0.0, 0);
    while r < n.min(1000) {
        below += probability;
        if below > 0.025 {
            break;
        }
        r += 1;
        probability *= (n.min(1000) - r + 1) as f64 / r as f64;
    }
    r
}

/// A quantile, interpolated between the two nearest samples.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    if low == high { low } else { low + (high - low) * at.fract() }
}

/// The mean without the fastest and the slowest sample; infinite if another sample is.
pub fn trimmed_mean(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let kept = sorted.get(1..sorted.len().checked_sub(1)?).filter(|kept| !kept.is_empty())?;
    Some(kept.iter().sum::<f64>() / kept.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_samples() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        let Summary { min, q1, median, q3, interval } = summary;
        assert_eq!((min, q1, median, q3, interval), (1.0, 1.75, 2.5, 3.25, [1.0, 4.0]));
        assert_eq!(summary.spread(), 0.6);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn ranks_are_those_of_tables_of_the_sign_test() {
        let known = [(5, 0), (6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (20, 6), (50, 18), (100, 40)];
        for (n, r) in known {
            assert_eq!(rank(n), r, "{n} samples");
        }
    }

    #[test]
    fn the_interval_has_the_median_as_often_as_it_says() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            // Skewed, like times.
            1.0 / (0.05 + f64::from(state >> 8) / f64::from(1 << 24))
        };
        let held = (0..2000).filter(|_| {
            let samples: Vec<f64> = (0..25).map(|_| random()).collect();
            let [low, high] = Summary::of(&samples).unwrap().interval;
            (low..=high).contains(&(1.0 / 0.55))
        });
        assert!((0.94..0.995).contains(&(held.count() as f64 / 2000.0)));
    }

    #[test]
    fn what_never_ended_is_the_slowest() {
        let samples = [2.0, f64::INFINITY, 1.0, 3.0, 4.0];
        assert_eq!(trimmed_mean(&samples), Some(3.0));
        assert_eq!(Summary::of(&samples).unwrap().median, 3.0);
        assert_eq!(trimmed_mean(&[f64::INFINITY, 1.0, f64::INFINITY]), Some(f64::INFINITY));
        assert_eq!(trimmed_mean(&[1.0, 2.0]), None);
    }
}
