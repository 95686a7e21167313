//! Generation of targets from scores; equals `shaders/synthetic/response.wgsl`.

use super::table::Grid;
use super::{FEATURE_UNIT, NOISE, RESPONSE, Response, Synthetic, Truth};

/// Binary exponent of the factor of the outliers' noise.
pub(super) const OUTLIER_BITS: u32 = 4;

/// `a · 2^exponent` as f32, rounded to nearest even; equals the function in `shaders/integer.wgsl`.
pub(super) fn float_from_int64(a: i64, exponent: i32) -> f32 {
    // The conversion rounds once; scaling by a power of two is exact in f64 and stays a normal f32.
    (f64::from(a as f32) * f64::from(exponent).exp2()) as f32
}

impl Synthetic {
    /// Generates the targets of the row with the features `x`.
    #[inline(always)]
    pub(super) fn fill_targets(&self, truth: &Truth, row: u64, x: &[f32], targets: &mut [f32]) {
        match self.response {
            Response::Linear => {
                for (output, y) in (0..self.outputs).zip(targets) {
                    let sum = self.score(truth, output, x) + self.noise_at(row, output);
                    *y = float_from_int64(sum, -29);
                }
            }
            Response::Bernoulli | Response::Poisson => {
                targets[0] = self.count(truth, row, self.score(truth, 0, x)) as f32;
            }
            Response::Categorical => targets[0] = self.class(truth, row, x) as f32,
        }
    }

    /// A row's score, exact, in units of 2⁻²⁹ divided by the divisor of the weights.
    #[inline(always)]
    pub(super) fn score(&self, truth: &Truth, output: u32, x: &[f32]) -> i64 {
        let features = self.features as usize;
        let weights = &truth.weights[output as usize * features..][..features];
        // Features are integers below 2¹⁶ times their unit, exact in f32.
        let product = |(&x, &w): (&f32, &i32)| i64::from((x / FEATURE_UNIT) as i32 * w);
        let dot: i64 = x.iter().zip(weights).map(product).sum();
        dot + (i64::from(truth.intercepts[output as usize]) << self.intercept_shift())
    }

    /// The noise of a linear target, in units of 2⁻²⁹.
    pub(super) fn noise_at(&self, row: u64, output: u32) -> i64 {
        if self.noise == 0 {
            return 0;
        }
        let first = self.eight(row, 2 * output, NOISE);
        let second = self.eight(row, 2 * output + 1, NOISE);
        let sum: i32 = first.iter().chain(&second[..4]).sum();
        // Each of the twelve has mean −1/2 and variance (2³² − 1) / 12.
        let noise = i64::from(sum + 6) * i64::from(self.noise);
        if self.is_outlier(row, output) { noise << OUTLIER_BITS } else { noise }
    }

    /// Whether a target is an outlier, from the third random word of its noise, which is otherwise unused.
    pub(super) fn is_outlier(&self, row: u64, output: u32) -> bool {
        self.random(row, 2 * output + 1, NOISE)[2] < self.outliers
    }

    /// The count drawn from a grid point's cumulative probabilities.
    pub(super) fn count(&self, truth: &Truth, row: u64, score: i64) -> u32 {
        let [up, uniform, ..] = self.random(row, 0, RESPONSE);
        let grid = Grid::of(self.response);
        let shift = self.grid_shift();
        // Rounds up with a probability equal to the fractional part.
        let step = (score + i64::from(up >> (32 - shift))) >> shift;
        let point = (step - i64::from(grid.first)).clamp(0, grid.last.into()) as usize;
        let above = &truth.table[point * grid.width as usize..][..grid.width as usize];
        above.partition_point(|&probability| uniform < probability) as u32
    }

    /// The class, drawn with a probability proportional to e^z.
    fn class(&self, truth: &Truth, row: u64, x: &[f32]) -> u32 {
        let (mut total, mut chosen) = (0u64, 0);
        for first in (0..self.outputs).step_by(4) {
            let uniform = self.random(row, first / 4, RESPONSE);
            for (class, uniform) in (first..self.outputs).zip(uniform) {
                let mass = self.mass(truth, self.score(truth, class, x));
                total += mass;
                if (u128::from(total) * u128::from(uniform)) >> 32 < u128::from(mass) {
                    chosen = class;
                }
            }
        }
        chosen
    }

    /// e^z in units of 2⁻²⁴, between 1 and 2⁴⁸.
    pub(super) fn mass(&self, truth: &Truth, score: i64) -> u64 {
        let grid = Grid::of(Response::Categorical);
        let shift = self.grid_shift();
        let at = |step: i64| {
            let point = (step - i64::from(grid.first)).clamp(0, grid.last.into()) as usize;
            u64::from(truth.table[2 * point]) | u64::from(truth.table[2 * point + 1]) << 32
        };
        let step = score >> shift;
        let fraction = (score >> (shift - 16)) as u64 & 0xffff;
        let low = at(step);
        low + (((at(step + 1) - low) * fraction) >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn scaling_by_a_power_of_two_is_exact(a: i64, exponent in -60i32..20) {
            let value = float_from_int64(a, exponent);
            prop_assert_eq!(f64::from(value), f64::from(a as f32) * 2f64.powi(exponent));
        }
    }
}
