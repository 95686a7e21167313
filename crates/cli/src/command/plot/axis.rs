//! Axes: range, ticks and labels.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

const MAX_TICKS: usize = 12;

/// A linear axis, or a logarithmic one whose coordinates are decimal logarithms.
#[derive(Clone)]
pub struct Axis {
    log: bool,
    range: Range<f64>,
    ticks: Vec<f64>,
    minor: Vec<f64>,
    /// Whether tick labels have no exponents.
    plain: bool,
}

impl Axis {
    /// Creates an axis for these coordinates, with a margin at both ends.
    pub fn new(coordinates: impl Iterator<Item = f64>, log: bool) -> Self {
        let (low, high) = coordinates
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let (span, size) = (high - low, low.abs().max(high.abs()));
        let alone = if log || size < 1e-290 { 1.0 } else { 0.5 * size };
        let pad = if span > 1e-9 * alone.max(size) { 0.04 * span } else { alone };
        let range = low - pad..high + pad;
        let (ticks, minor) = if log { log_ticks(&range) } else { (linear_ticks(&range), vec![]) };
        let mut axis = Self { log, range, ticks, minor, plain: true };
        axis.plain = axis.ticks.iter().all(|at| {
            let value = axis.value(*at).abs();
            value == 0.0 || (0.9e-4..1e7).contains(&value)
        });
        axis
    }

    /// The position of a coordinate on the axis, from zero to one.
    pub fn fraction(&self, at: f64) -> f64 {
        (at - self.range.start) / (self.range.end - self.range.start)
    }

    fn value(&self, at: f64) -> f64 {
        if self.log { 10_f64.powf(at) } else { at }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, at: &f64, (start, end): (i32, i32)) -> i32 {
        start + (f64::from(end - start) * self.fraction(*at)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { self.minor.clone() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, at: &f64) -> String {
        // Without digits from rounding errors.
        let value = format!("{:.9e}", self.value(*at)).parse().unwrap_or(0.0);
        if self.plain || value == 0.0 { format!("{value}") } else { format!("{value:e}") }
    }
}

/// The ticks of a linear axis: multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(range: &Range<f64>) -> Vec<f64> {
    let least = (range.end - range.start) / 9.0;
    let power = 10_f64.powf(least.log10().floor());
    let step = power * [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= least).unwrap_or(10.0);
    let (first, last) = ((range.start / step).ceil() as i64, (range.end / step).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// The ticks and minor lines of a logarithmic axis: powers of ten; on a short range also some of their multiples, on a
/// very short range the ticks of a linear axis.
fn log_ticks(range: &Range<f64>) -> (Vec<f64>, Vec<f64>) {
    let multiples = |digits: &[u8]| -> Vec<f64> {
        let powers = range.start.floor() as i32..=range.end.floor() as i32;
        let all = powers.flat_map(|k| digits.iter().map(move |m| f64::from(*m).log10() + f64::from(k)));
        all.filter(|at| range.contains(at)).collect()
    };
    let powers = multiples(&[1]);
    if powers.len() > MAX_TICKS {
        let stride = powers.len().div_ceil(MAX_TICKS);
        return (powers.into_iter().step_by(stride).collect(), vec![]);
    }
    let minor = multiples(&[2, 3, 4, 5, 6, 7, 8, 9]);
    let candidates = [powers, multiples(&[1, 2, 5]), multiples(&[1, 2, 3, 5])];
    let ticks = candidates.into_iter().find(|ticks| ticks.len() >= 4);
    let of_values = || linear_ticks(&(10_f64.powf(range.start)..10_f64.powf(range.end)));
    (ticks.unwrap_or_else(|| of_values().into_iter().map(f64::log10).collect()), minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ends: [f64; 2], log: bool) -> Vec<String> {
        let axis = Axis::new(ends.into_iter(), log);
        axis.ticks.iter().map(|at| axis.format_ext(at)).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels([0.0, 1.0], false), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels([0.5, 0.5], false), ["0.3", "0.4", "0.5", "0.6", "0.7"]);
        assert_eq!(labels([0.0, 2e-5], false)[..2], ["0", "5e-6"]);
        assert_eq!(labels([-3.0, 0.0], true), ["0.001", "0.01", "0.1", "1"]);
        assert_eq!(labels([-1.0, 1.0], true), ["0.1", "0.2", "0.5", "1", "2", "5", "10"]);
        assert_eq!(labels([-9.0, 0.0], true).first().unwrap(), "1e-9");
    }

    #[test]
    fn ticks_are_few() {
        let spans = [(-0.5, 0.5), (-9.0, 0.0), (-0.001, 0.001), (-300.0, 300.0), (7.0, 7.0)];
        for (low, high) in spans {
            for log in [false, true] {
                let count = labels([low, high], log).len();
                assert!((3..=MAX_TICKS).contains(&count), "{low} to {high}: {count}");
            }
        }
    }
}
