//! Synthetic problems with known truth; the twin of `shaders/synthetic/`.
//!
//! A value is a function of (seed, row, column, purpose) alone, so any tile of a problem can be made
//! anywhere, bit for bit the same: integer arithmetic throughout, and one conversion to f32 that is exact
//! or rounds to nearest.

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

/// What a counter's last word says the numbers are for.
const FEATURES: u32 = 0;
const NOISE: u32 = 1;
const WEIGHTS: u32 = 2;
const FACTOR: u32 = 3;
const SPARSITY: u32 = 4;
const RESPONSE: u32 = 5;

/// Features are in units of 2⁻¹⁵.
const FEATURE_BITS: u32 = 15;
const FEATURE_UNIT: f32 = 1.0 / (1 << FEATURE_BITS) as f32;

/// A problem with known weights: scores z = X·w + b, and targets that come of them.
///
/// - X: independent and uniform on the 2¹⁶ multiples of 2⁻¹⁵ in [−1, 1), so mean −2⁻¹⁶ and variance 1/3.
///   With a condition number κ above 1 each feature is the sum of a factor that its row has in common
///   and of a part of its own, such uniforms both, weighted so that the variance stays, and rounded down
///   to a multiple of 2⁻¹⁵: all correlations are (κ − 1) / (κ − 1 + features), and no |x| is above 1.42.
/// - Weights: uniform on the 2¹⁶ multiples of 2⁻¹⁴ in [−2, 2), or zero. Where the response is not linear
///   they are divided by 2ⁿ, n ≥ 0 the smallest with v = 4/9 · features · (1 − sparsity) / 4ⁿ ≤ 1: v is
///   the variance of a score around its intercept, over all weights that there could be. It is above 1/4
///   where n > 0.
/// - Intercepts: like the weights of a linear response, and uniform on the multiples of 2⁻¹⁵ in [−1, 1) for
///   others; or chosen so that the first rows (4096; where these are wide 2²⁴ / features, and 256 at least)
///   have the share of ones that is asked for.
/// - Linear y: z + noise, computed exactly, then rounded once to f32. The noise is a sum of twelve uniforms
///   (Irwin–Hall), mean 0, variance `noise`², within ±6 `noise`; that of outliers is 16 times as large.
/// - Bernoulli and Poisson y: z is rounded at random to one of its neighbours on a grid of step h = 2⁻⁸, so
///   that its mean stays, and y drawn with that point's probabilities in units of 2⁻³². So the probability,
///   or mean, is interpolated between points. It is off by h²/8 of its second derivative at most: 1.9·10⁻⁷
///   for a Bernoulli probability, and 2·10⁻⁶ of a Poisson mean, which is too large by that. Scores count as
///   ±16, and those of Poisson as −8 or 4, where they are beyond.
/// - Categorical y: e^z of each class is interpolated on the same grid, too large by 2·10⁻⁶ of itself at
///   most, in units of 2⁻²⁴. Classes come in turn, and each takes the place of the one chosen so far
///   with its share of the sum up to it, in units of 2⁻³² (reservoir sampling, Chao 1982). Scores count
///   as ±16 where they are beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    key: [u32; 2],
    features: u32,
    outputs: u32,
    response: Response,
    /// In units of 2⁻¹³.
    noise: u32,
    /// Shares in units of 2⁻³².
    outliers: u32,
    zeros: u32,
    balance: Option<u32>,
    /// What the common factor and a feature's own part are multiplied by, in units of 2⁻¹⁵.
    mix: [i32; 2],
    /// Which power of two the weights are divided by.
    scale: u32,
}

impl Synthetic {
    /// The standard deviation of the noise is kept in units of 2⁻¹³.
    pub const NOISE_UNIT: f64 = 1.0 / 8192.0;
    /// The largest standard deviation of the noise.
    pub const MAX_NOISE: f64 = 65_536.0;
    /// How many times as large the noise of outliers is.
    pub const OUTLIER_FACTOR: u32 = 1 << response::OUTLIER_BITS;
    /// The largest condition number: there the parts of two features of their own are still 46 units of
    /// 2⁻¹⁵.
    pub const MAX_CONDITION: f64 = 1e6;

    /// A linear problem with `features` independent columns, one target, and a noise of standard deviation
    /// `noise`, rounded to a multiple of [`NOISE_UNIT`](Self::NOISE_UNIT) and held within
    /// [0, [`MAX_NOISE`](Self::MAX_NOISE)].
    pub fn new(features: u32, noise: f64, seed: u64) -> Self {
        Self::of_checked(&Options { features, noise, seed, ..Options::default() })
    }

    /// The problem that `options` ask for, shares rounded to multiples of 2⁻³² below 1.
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

    /// The number of features.
    pub fn features(&self) -> u32 {
        self.features
    }

    /// Scores of a row: linear targets, or classes.
    pub fn outputs(&self) -> u32 {
        self.outputs
    }

    /// Targets of a row: the class alone of a categorical response.
    pub fn targets(&self) -> u32 {
        if self.response == Response::Categorical { 1 } else { self.outputs }
    }

    /// How targets come of scores.
    pub fn response(&self) -> Response {
        self.response
    }

    /// The standard deviation of the noise as it is, in units of 2⁻¹³.
    pub fn noise_units(&self) -> u32 {
        self.noise
    }

    /// The share of outliers as it is, in units of 2⁻³².
    pub fn outlier_units(&self) -> u32 {
        self.outliers
    }

    /// What a row's common factor and a feature's own part are multiplied by, in units of 2⁻¹⁵.
    pub fn mix(&self) -> [i32; 2] {
        self.mix
    }

    /// The condition number of the covariance of the features, with what they are made of as it was
    /// rounded.
    pub fn condition(&self) -> f64 {
        let [common, own] = self.mix.map(f64::from);
        1.0 + f64::from(self.features) * (common / own).powi(2)
    }

    /// The seed as the generator's key.
    pub fn key(&self) -> [u32; 2] {
        self.key
    }

    /// What made the targets. It takes a moment: it is to be prepared once.
    pub fn truth(&self) -> Truth {
        Truth::new(self)
    }

    /// The true parameters, [`Truth::params`].
    pub fn true_params(&self) -> Vec<f32> {
        self.truth().params()
    }

    /// Makes one row: `features` of X and its targets.
    ///
    /// # Panics
    /// If `truth` is that of a problem of another shape, or a slice is too short.
    #[inline(always)]
    pub fn fill_row(&self, truth: &Truth, row: u64, x: &mut [f32], targets: &mut [f32]) {
        self.fill_features(row, x);
        self.fill_targets(truth, row, x, targets);
    }

    /// Makes one row of X.
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

    /// Four words from one counter.
    #[inline(always)]
    fn random(&self, row: u64, block: u32, purpose: u32) -> [u32; 4] {
        philox([row as u32, (row >> 32) as u32, block, purpose], self.key)
    }

    /// Eight signed 16-bit integers from one counter, the low half of a word first.
    #[inline(always)]
    fn eight(&self, row: u64, block: u32, purpose: u32) -> [i32; 8] {
        let words = self.random(row, block, purpose);
        std::array::from_fn(|i| i32::from((words[i / 2] >> (16 * (i % 2))) as u16 as i16))
    }

    /// Weights are in units of 2 to minus this.
    fn weight_bits(&self) -> u32 {
        14 + self.scale
    }

    /// Scores are.
    fn score_bits(&self) -> u32 {
        FEATURE_BITS + self.weight_bits()
    }

    /// Intercepts are.
    fn intercept_bits(&self) -> u32 {
        if self.response == Response::Linear { 14 } else { 15 }
    }

    /// From the units of intercepts to those of scores.
    pub(crate) fn intercept_shift(&self) -> u32 {
        self.score_bits() - self.intercept_bits()
    }

    /// From the units of scores to steps of the grid: more than 16 and less than 32.
    pub(crate) fn grid_shift(&self) -> u32 {
        self.score_bits() - GRID_BITS
    }
}

/// The weights of a common factor and of a feature's own part, in units of 2⁻¹⁵, whose squares add up to
/// 1 and have the ratio (κ − 1) / features.
fn mix(features: u32, condition: f64) -> [i32; 2] {
    let ratio = (condition - 1.0) / f64::from(features.max(1));
    let own = 1.0 / (1.0 + ratio).sqrt();
    [own * ratio.sqrt(), own].map(|part| (part * f64::from(1 << FEATURE_BITS)).round() as i32)
}

/// The smallest power of two that takes the variance of a score to 1.
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
