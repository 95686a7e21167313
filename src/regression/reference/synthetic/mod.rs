//! Synthetic problems with known parameters; equals `shaders/synthetic/` bit by bit.
//!
//! A value is a function of (seed, row, column, purpose) alone, so any part of a problem can be generated on any device
//! with the same bits: all arithmetic is in integers, with one conversion to f32 that is exact or rounds to nearest.

mod options;
mod response;
#[cfg(test)]
mod statistics;
mod table;
mod truth;

pub use options::{Options, Response};
pub(crate) use table::Grid;
pub use truth::Truth;

use crate::Error;
use crate::cpu::random::philox;
use table::{GRID_BITS, probability};

// Purposes of random numbers: the last word of a counter.
const FEATURES: u32 = 0;
const NOISE: u32 = 1;
const WEIGHTS: u32 = 2;
const FACTOR: u32 = 3;
const SPARSITY: u32 = 4;
const RESPONSE: u32 = 5;

/// Binary digits of features: their unit is 2⁻¹⁵.
const FEATURE_BITS: u32 = 15;
const FEATURE_UNIT: f32 = 1.0 / (1 << FEATURE_BITS) as f32;

/// A problem with known parameters: scores z = X·w + b, and targets drawn from them.
///
/// - X: independent and uniform on the 2¹⁶ multiples of 2⁻¹⁵ in [−1, 1), with mean −2⁻¹⁶ and variance 1/3. With a
///   condition number κ > 1 each feature is the sum of a common factor of its row and an individual part, both uniform
///   as above, weighted so that the variance is unchanged, and rounded down to a multiple of 2⁻¹⁵: all correlations are
///   (κ − 1) / (κ − 1 + features), and |x| ≤ 1.42.
/// - Weights: uniform on the 2¹⁶ multiples of 2⁻¹⁴ in [−2, 2), or zero. For a non-linear response they are divided by
///   2ⁿ, with the smallest n ≥ 0 for which v = 4/9 · features · (1 − sparsity) / 4ⁿ ≤ 1: v is the variance of a score
///   around its intercept, over random weights. It is above 1/4 if n > 0.
/// - Intercepts: like the weights for a linear response, and uniform on the multiples of 2⁻¹⁵ in [−1, 1) for others; or
///   chosen so that the first rows (4096; for many features 2²⁴ / features, but at least 256) have the requested share
///   of ones.
/// - Linear y: z + noise, computed exactly, then rounded once to f32. The noise is a sum of twelve uniforms (Irwin–Hall)
///   with mean 0 and variance `noise`², within ±6 `noise`; that of outliers is 16 times as large.
/// - Bernoulli and Poisson y: z is rounded randomly to a neighbour on a grid of step h = 2⁻⁸, preserving its mean, and y
///   is drawn with the probabilities of that point in units of 2⁻³². This interpolates the probability, or mean, between
///   points, with an error of at most h²/8 times its second derivative: 1.9·10⁻⁷ for a Bernoulli probability, and
///   2·10⁻⁶ relative for a Poisson mean, which is too large. Scores are clamped to ±16, for Poisson to −8 … 4.
/// - Categorical y: e^z of each class is interpolated on the same grid, with a relative error of at most 2·10⁻⁶ (too
///   large), in units of 2⁻²⁴. Each class in turn replaces the selected class with a probability equal to its share of
///   the sum so far, in units of 2⁻³² (reservoir sampling, Chao 1982). Scores are clamped to ±16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    key: [u32; 2],
    features: u32,
    outputs: u32,
    response: Response,
    /// Standard deviation of the noise in units of 2⁻¹³.
    noise: u32,
    /// Share of outliers in units of 2⁻³².
    outliers: u32,
    zeros: u32,
    balance: Option<u32>,
    /// Weights of the common factor and of a feature's individual part, in units of 2⁻¹⁵.
    mix: [i32; 2],
    /// Binary exponent of the divisor of the weights.
    scale: u32,
}

impl Synthetic {
    /// Unit of the standard deviation of the noise, 2⁻¹³.
    pub const NOISE_UNIT: f64 = 1.0 / 8192.0;
    /// The largest standard deviation of the noise.
    pub const MAX_NOISE: f64 = 65_536.0;
    /// Factor of the noise of outliers.
    pub const OUTLIER_FACTOR: u32 = 1 << response::OUTLIER_BITS;
    /// The largest condition number: the weight of the individual part is then 46 units of 2⁻¹⁵ for two features.
    pub const MAX_CONDITION: f64 = 1e6;

    /// Returns a linear problem with `features` independent columns, one target, and noise of standard deviation
    /// `noise`, rounded to a multiple of [`NOISE_UNIT`](Self::NOISE_UNIT) and clamped to
    /// [0, [`MAX_NOISE`](Self::MAX_NOISE)].
    pub fn new(features: u32, noise: f64, seed: u64) -> Self {
        Self::of_checked(&Options { features, noise, seed, ..Options::default() })
    }

    /// Returns a problem with these options; shares are rounded to multiples of 2⁻³² below 1.
    ///
    /// # Errors
    /// Those of [`Options::validate`].
    pub fn with_options(options: &Options) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self::of_checked(options))
    }

    fn of_checked(options: &Options) -> Self {
        let Options { features, outputs, response, seed, .. } = *options;
        let zeros = probability(options.sparsity);
        Synthetic {
            key: [seed as u32, (seed >> 32) as u32],
            features,
            outputs,
            response,
            noise: (options.noise.clamp(0.0, Self::MAX_NOISE) / Self::NOISE_UNIT).round() as u32,
            outliers: probability(options.outliers),
            zeros,
            balance: options.balance.map(probability),
            mix: mix(features, options.condition),
            scale: scale(features, response, zeros),
        }
    }

    /// Returns the number of features.
    pub fn features(&self) -> u32 {
        self.features
    }

    /// Returns the number of scores of a row: linear targets, or classes.
    pub fn outputs(&self) -> u32 {
        self.outputs
    }

    /// Returns the number of targets of a row: only the class for a categorical response.
    pub fn targets(&self) -> u32 {
        if self.response == Response::Categorical { 1 } else { self.outputs }
    }

    /// Returns the distribution of targets given scores.
    pub fn response(&self) -> Response {
        self.response
    }

    /// Returns the rounded standard deviation of the noise, in units of 2⁻¹³.
    pub fn noise_units(&self) -> u32 {
        self.noise
    }

    /// Returns the rounded share of outliers, in units of 2⁻³².
    pub fn outlier_units(&self) -> u32 {
        self.outliers
    }

    /// Returns the weights of a row's common factor and of a feature's individual part, in units of 2⁻¹⁵.
    pub fn mix(&self) -> [i32; 2] {
        self.mix
    }

    /// Returns the condition number of the covariance of the features, for the rounded weights of their parts.
    pub fn condition(&self) -> f64 {
        let [common, own] = self.mix.map(f64::from);
        1.0 + f64::from(self.features) * (common / own).powi(2)
    }

    /// Returns the generator's key, the seed.
    pub fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Computes the true parameters and the table of the response. This is expensive: call it once.
    pub fn truth(&self) -> Truth {
        Truth::new(self)
    }

    /// Returns the true parameters, [`Truth::params`].
    pub fn true_params(&self) -> Vec<f32> {
        self.truth().params()
    }

    /// Generates a row: the features into `x`, and the targets.
    ///
    /// # Panics
    /// If `truth` has another shape, or a slice is too short.
    #[inline(always)]
    pub fn fill_row(&self, truth: &Truth, row: u64, x: &mut [f32], targets: &mut [f32]) {
        self.fill_features(row, x);
        self.fill_targets(truth, row, x, targets);
    }

    /// Generates the features of a row.
    #[inline(always)]
    pub(super) fn fill_features(&self, row: u64, x: &mut [f32]) {
        let [common, own] = self.mix;
        let shared = if common == 0 { 0 } else { common * self.eight(row, 0, FACTOR)[0] };
        for (block, x) in x.chunks_mut(8).enumerate() {
            let parts = self.eight(row, block as u32, FEATURES);
            for (x, part) in x.iter_mut().zip(parts) {
                *x = ((shared + own * part) >> FEATURE_BITS) as f32 * FEATURE_UNIT;
            }
        }
    }

    /// Four random words from one counter.
    #[inline(always)]
    fn random(&self, row: u64, block: u32, purpose: u32) -> [u32; 4] {
        philox([row as u32, (row >> 32) as u32, block, purpose], self.key)
    }

    /// Eight random signed 16-bit integers from one counter, the low half of a word first.
    #[inline(always)]
    fn eight(&self, row: u64, block: u32, purpose: u32) -> [i32; 8] {
        let words = self.random(row, block, purpose);
        std::array::from_fn(|i| i32::from((words[i / 2] >> (16 * (i % 2))) as u16 as i16))
    }

    /// Binary digits of weights.
    fn weight_bits(&self) -> u32 {
        14 + self.scale
    }

    /// Binary digits of scores.
    fn score_bits(&self) -> u32 {
        FEATURE_BITS + self.weight_bits()
    }

    /// Binary digits of intercepts.
    fn intercept_bits(&self) -> u32 {
        if self.response == Response::Linear { 14 } else { 15 }
    }

    /// Shift from the units of intercepts to those of scores.
    pub(crate) fn intercept_shift(&self) -> u32 {
        self.score_bits() - self.intercept_bits()
    }

    /// Shift from the units of scores to steps of the grid: more than 16 and less than 32.
    pub(crate) fn grid_shift(&self) -> u32 {
        self.score_bits() - GRID_BITS
    }
}

/// The weights of the common factor and of a feature's individual part, in units of 2⁻¹⁵: their squares sum to 1 and
/// have the ratio (κ − 1) / features.
fn mix(features: u32, condition: f64) -> [i32; 2] {
    let ratio = (condition - 1.0) / f64::from(features.max(1));
    let own = 1.0 / (1.0 + ratio).sqrt();
    [own * ratio.sqrt(), own].map(|part| (part * f64::from(1 << FEATURE_BITS)).round() as i32)
}

/// The exponent of the smallest power of two that reduces the variance of a score to at most 1.
fn scale(features: u32, response: Response, zeros: u32) -> u32 {
    if response == Response::Linear {
        return 0;
    }
    let share = 1.0 - f64::from(zeros) / 2f64.powi(32);
    let mut variance = 4.0 / 9.0 * f64::from(features) * share;
    let mut scale = 0;
    while variance > 1.0 {
        variance /= 4.0;
        scale += 1;
    }
    scale
}
