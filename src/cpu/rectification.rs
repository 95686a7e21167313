//! The rectification of [`RAdam`](crate::RAdam): ρₜ and the factor that follows from it.

use super::Number;

/// The least ρₜ at which PyTorch rectifies.
const THRESHOLD: f64 = 5.0;

/// The constants of a rectification, which depend on beta2 alone.
///
/// As it stands, ρₜ = ρ∞ − 2 t · beta2ᵗ / (1 − beta2ᵗ) loses all digits in f32: of two numbers near 2000 it is the
/// difference near 6. With z = −t · ln(beta2) / 2 the same number is
///
/// ```text
/// ρₜ = offset + t · (1 − (coth z − 1 / z)),   offset = ρ∞ + 2 / ln(beta2), about (1 − beta2) / 6,
/// coth z − 1 / z = z / (3 + z² / (5 + z² / (7 + …)))
/// ```
///
/// where nothing cancels for z < ½. From there on the first form loses little, and past z = 12 only ρ∞ remains.
/// The continued fraction is that of tanh, DLMF 4.39.1.
#[derive(Clone, Copy, Debug)]
pub struct Rectification<R> {
    /// 2 / (1 − beta2) − 1.
    pub rho_infinity: R,
    /// ρ∞ + 2 / ln(beta2).
    pub rho_offset: R,
    /// −ln(beta2) / 2.
    pub half_log: R,
    /// ρ∞ / ((ρ∞ − 4) (ρ∞ − 2)).
    pub scale: R,
}

impl<R: Number> Rectification<R> {
    /// The constants for a beta2 in [0, 1).
    pub fn new(beta2: f64) -> Self {
        let x = 1.0 - beta2;
        let rho_infinity = 2.0 / x - 1.0;
        let log = -(-x).ln_1p();
        // The difference cancels where x is small; its series has an error of x⁴ / 27.
        let rho_offset = match x < 1e-3 {
            true => x / 6.0 + x * x / 12.0 + 19.0 * x.powi(3) / 360.0,
            false => rho_infinity - 2.0 / log,
        };
        let scale = rho_infinity / ((rho_infinity - 4.0) * (rho_infinity - 2.0));
        Rectification {
            rho_infinity: R::of(rho_infinity),
            rho_offset: R::of(rho_offset),
            half_log: R::of(log / 2.0),
            scale: R::of(scale),
        }
    }

    /// ρₜ, from t, beta2ᵗ and 1 / (1 − beta2ᵗ).
    pub fn rho(&self, t: R, power: R, inv_bias_correction2: R) -> R {
        let z = t * self.half_log;
        if !(z - R::of(12.0)).is_negative() {
            return self.rho_infinity;
        }
        if !(z - R::of(0.5)).is_negative() {
            return self.rho_infinity - (t + t) * power * inv_bias_correction2;
        }
        let square = z * z;
        let fraction = [13.0, 11.0, 9.0, 7.0, 5.0, 3.0]
            .into_iter()
            .fold(R::of(15.0), |fraction, odd| R::of(odd) + square / fraction);
        self.rho_offset + t * (R::of(1.0) - z / fraction)
    }

    /// The factor r of a step, from ρₜ > 5.
    pub fn factor(&self, rho: R) -> R {
        ((rho - R::of(4.0)) * (rho - R::of(2.0)) / rho * self.scale).root()
    }
}

/// beta2ᵗ in f64.
pub fn power(beta2: f64, t: u64) -> f64 {
    (t as f64 * (-(1.0 - beta2)).ln_1p()).exp()
}

/// The first step that is rectified; `u64::MAX` where none is, because ρ∞ ≤ 5.
pub fn first_step(beta2: f64) -> u64 {
    let constants = Rectification::<f64>::new(beta2);
    if constants.rho_infinity <= THRESHOLD {
        return u64::MAX;
    }
    let rho = |t: u64| {
        let power = power(beta2, t);
        constants.rho(t as f64, power, 1.0 / (1.0 - power))
    };
    // ρₜ < t + 1 grows with t towards ρ∞, and is there in f64 after some 100 steps if it passes 5 late.
    (5..).find(|&t| rho(t) > THRESHOLD).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Bounded;

    /// ρₜ as a mean that cannot cancel: 2 · Σ (n + 1) · beta2ⁿ / Σ beta2ⁿ − 1 over n < t.
    fn by_summation(beta2: f64, t: u64) -> f64 {
        let (mut weight, mut sum, mut weighted) = (1.0, 0.0, 0.0);
        for n in 0..t {
            sum += weight;
            weighted += (n + 1) as f64 * weight;
            weight *= beta2;
        }
        2.0 * weighted / sum - 1.0
    }

    #[test]
    fn rho_is_the_sum_that_it_stands_for() {
        for beta2 in [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0 - 1e-7] {
            let exact = Rectification::<f64>::new(beta2);
            let bounded = Rectification::<Bounded>::new(beta2);
            let single = Rectification::<f32>::new(beta2);
            for t in (1..200).chain([500, 999, 1000, 1001, 5_000, 30_000]) {
                let (p, expected) = (power(beta2, t), by_summation(beta2, t));
                let inverse = 1.0 / crate::cpu::one_minus_power(beta2, t);
                let rho = exact.rho(t as f64, p, inverse);
                assert!((rho - expected).abs() <= 1e-9 * expected, "{beta2}, {t}: {rho} {expected}");
                let bound =
                    bounded.rho(Bounded::near(t as f64), Bounded::near(p), Bounded::near(inverse));
                let rho = single.rho(t as f32, p as f32, inverse as f32);
                let error = (f64::from(rho) - bound.value).abs();
                assert!(error <= bound.error, "{beta2}, {t}: {rho} {bound:?}");
                assert!(bound.error <= 1e-5 * expected, "{beta2}, {t}: {bound:?}");
            }
        }
    }

    #[test]
    fn the_first_rectified_step_is_that_of_the_threshold() {
        assert_eq!(first_step(0.999), 6);
        assert_eq!(first_step(1.0 - 1e-7), 6);
        assert_eq!(first_step(0.5), u64::MAX);
        for beta2 in [0.67, 0.7, 0.8, 0.9, 0.99] {
            let first = first_step(beta2);
            assert!(
                by_summation(beta2, first) > 5.0 && by_summation(beta2, first - 1) <= 5.0,
                "{beta2}"
            );
        }
    }
}
