//! Philox 4×32-10, and what synthetic problems are made of; the twin of `shaders/random.wgsl`.
//!
//! A value is a function of (seed, row, column) alone, so any tile of a problem can be made anywhere,
//! bit for bit the same: integer arithmetic throughout, and one conversion to f32 that is exact or
//! rounds to nearest.
//!
//! Source: Salmon, Moraes, Dror, Shaw, *Parallel Random Numbers: As Easy as 1, 2, 3*, SC 2011.

use super::integer::float_from_int64;

/// What a counter's last word says the numbers are for.
const FEATURES: u32 = 0;
const NOISE: u32 = 1;
const WEIGHTS: u32 = 2;

/// The ten rounds of Philox 4×32 on one counter.
#[inline(always)]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
        }
        let a = u64::from(counter[0]) * 0xd251_1f53;
        let b = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
    }
    counter
}

/// A linear problem with known weights: y = X·w + intercept + noise.
///
/// - X: uniform on the 2¹⁶ multiples of 2⁻¹⁵ in [−1, 1), so mean −2⁻¹⁶ and variance 1/3;
/// - weights and intercept: uniform on the 2¹⁶ multiples of 2⁻¹⁴ in [−2, 2);
/// - noise: a sum of twelve uniforms (Irwin–Hall), mean 0, variance `noise`², within ±6 `noise`;
/// - y: computed exactly, then rounded once to f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    key: [u32; 2],
    features: u32,
    noise: u32,
}

impl Synthetic {
    /// The standard deviation of the noise is kept in units of 2⁻¹³.
    pub const NOISE_UNIT: f64 = 1.0 / 8192.0;
    /// The largest standard deviation of the noise.
    pub const MAX_NOISE: f64 = 65_536.0;

    /// A problem with `features` columns and a noise of standard deviation `noise`, rounded to a
    /// multiple of [`NOISE_UNIT`](Self::NOISE_UNIT) and held within [0, [`MAX_NOISE`](Self::MAX_NOISE)].
    pub fn new(features: u32, noise: f64, seed: u64) -> Self {
        let noise = (noise.clamp(0.0, Self::MAX_NOISE) / Self::NOISE_UNIT).round() as u32;
        Synthetic { key: [seed as u32, (seed >> 32) as u32], features, noise }
    }

    /// The number of features.
    pub fn features(&self) -> u32 {
        self.features
    }

    /// The standard deviation of the noise as it is, in units of 2⁻¹³.
    pub fn noise_units(&self) -> u32 {
        self.noise
    }

    /// The seed as the generator's key.
    pub fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Eight signed 16-bit integers from one counter, the low half of a word first.
    #[inline(always)]
    fn eight(&self, row: u64, block: u32, purpose: u32) -> [i32; 8] {
        let words = philox([row as u32, (row >> 32) as u32, block, purpose], self.key);
        std::array::from_fn(|i| i32::from((words[i / 2] >> (16 * (i % 2))) as u16 as i16))
    }

    /// The true weights in units of 2⁻¹⁴, and last the intercept.
    pub fn weight_units(&self) -> Vec<i32> {
        (0..=self.features).map(|j| self.eight(0, j / 8, WEIGHTS)[j as usize % 8]).collect()
    }

    /// The true weights, and last the intercept: exact in f32.
    pub fn true_params(&self) -> Vec<f32> {
        self.weight_units().iter().map(|&w| w as f32 / 16_384.0).collect()
    }

    /// Makes one row of X, `features` long, and returns its y. `weights` are the
    /// [`weight_units`](Self::weight_units).
    #[inline(always)]
    pub fn row(&self, row: u64, weights: &[i32], x: &mut [f32]) -> f32 {
        // X·w and the noise are integers in units of 2⁻²⁹; the intercept's unit is 2¹⁵ of these.
        let mut sum = i64::from(weights[self.features as usize]) << 15;
        for (block, (x, w)) in x.chunks_mut(8).zip(weights.chunks(8)).enumerate() {
            let units = self.eight(row, block as u32, FEATURES);
            for ((x, &w), &unit) in x.iter_mut().zip(w).zip(&units) {
                *x = unit as f32 / 32_768.0;
                sum += i64::from(unit * w);
            }
        }
        sum += self.noise_at(row);
        float_from_int64(sum, -29)
    }

    /// The noise of one row, in units of 2⁻²⁹.
    fn noise_at(&self, row: u64) -> i64 {
        if self.noise == 0 {
            return 0;
        }
        let first = self.eight(row, 0, NOISE);
        let second = self.eight(row, 1, NOISE);
        let sum: i32 = first.iter().chain(&second[..4]).sum();
        // Each of the twelve has mean −1/2 and variance (2³² − 1) / 12.
        i64::from(sum + 6) * i64::from(self.noise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the authors' Random123, `kat_vectors`.
    #[test]
    fn philox_gives_its_authors_known_answers() {
        let zeros = philox([0; 4], [0; 2]);
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox([u32::MAX; 4], [u32::MAX; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi =
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn y_is_the_exact_sum_rounded_once() {
        let problem = Synthetic::new(11, 0.0, 7);
        let weights = problem.weight_units();
        let mut x = [0.0; 11];
        for row in [0, 1, 99, 1 << 32, (1 << 40) + 3] {
            let y = problem.row(row, &weights, &mut x);
            let params = problem.true_params();
            // Thirty-bit products and few terms: f64 holds the sum exactly.
            let dot: f64 = x.iter().zip(&params).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            assert_eq!(y, (dot + f64::from(params[11])) as f32);
        }
    }

    #[test]
    fn noise_has_the_mean_and_variance_that_were_asked_for() {
        let noisy = Synthetic::new(1, 0.5, 3);
        let n = 100_000;
        let noise: Vec<f64> = (0..n).map(|i| noisy.noise_at(i) as f64 / 2f64.powi(29)).collect();
        let mean = noise.iter().sum::<f64>() / n as f64;
        let variance = noise.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        // Five standard errors.
        assert!(mean.abs() < 5.0 * 0.5 / (n as f64).sqrt(), "mean {mean}");
        assert!((variance - 0.25).abs() < 5.0 * 0.25 * (2.0 / n as f64).sqrt(), "variance {variance}");
    }

    #[test]
    fn features_are_uniform_and_their_columns_uncorrelated() {
        let problem = Synthetic::new(10, 0.0, 11);
        let weights = problem.weight_units();
        let n = 20_000;
        let mut rows = vec![[0.0f32; 10]; n];
        for (i, row) in rows.iter_mut().enumerate() {
            problem.row(i as u64, &weights, row);
        }
        for j in 0..10 {
            for k in 0..=j {
                let product = rows.iter().map(|x| f64::from(x[j]) * f64::from(x[k])).sum::<f64>();
                let expected = if j == k { 1.0 / 3.0 } else { 0.0 };
                let error = product / n as f64 - expected;
                assert!(error.abs() < 5.0 / 3.0 / (n as f64).sqrt(), "columns {j}, {k}: {error}");
            }
        }
    }
}
