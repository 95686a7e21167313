//! A value and how far from it an f32 device may be: error bounds that follow from the formula itself.

use super::Number;
use super::exponential::{EXPONENTIAL_UNITS, LOGARITHM_UNITS};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Half an ulp of one in f32.
const U: f64 = 1.0 / (1 << 24) as f64;
/// Anything smaller may be flushed to zero.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// A value in f64 by definition, and the largest error that a device may have made on the way to it.
///
/// Every operation passes on the errors of its operands exactly (not to first order) and adds what WGSL
/// allows the operation itself, with u = 2⁻²⁴: 2u for + − × (correctly rounded, in either direction), 5u
/// for a quotient (2.5 ulp), 9u for a root (it inherits from 1 / inverseSqrt), and 2⁻¹²⁶ where the result
/// may be flushed. An operation whose result is exact adds nothing. Where WGSL says nothing about the
/// result (overflow, division by a subnormal) the error is infinite.
///
/// So any rule that is written over [`Number`] has its bounds by being run. For Adam they come to
/// 32u · lr / (1 − beta1ᵗ) · A / (√v̂ + eps) + 2u · |p|, with A = |beta1 · exp_avg| + |(1 − beta1) · g|.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounded {
    /// The value.
    pub value: f64,
    /// The largest error allowed, ≥ 0.
    pub error: f64,
}

impl Bounded {
    /// An f32 that the device holds. It may be flushed when it is read.
    pub fn exactly(x: f32) -> Self {
        let error = if x.is_subnormal() { f64::from(x).abs() } else { 0.0 };
        Bounded { value: x.into(), error }
    }

    /// A result whose operands bring in `error`, rounded with an error of `units` · u.
    fn rounded(value: f64, error: f64, units: f64) -> Self {
        let size = value.abs() + error;
        if size > f64::from(f32::MAX) || size.is_nan() {
            return Bounded { value, error: f64::INFINITY };
        }
        let flushed = if value.abs() - error < TINY && size > 0.0 { TINY } else { 0.0 };
        Bounded { value, error: error + units * U * size + flushed }
    }

    fn is(self, value: f64) -> bool {
        self == Bounded { value, error: 0.0 }
    }
}

impl Add for Bounded {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        match (self.is(0.0), other.is(0.0)) {
            (true, _) => other,
            (_, true) => self,
            _ => Self::rounded(self.value + other.value, self.error + other.error, 2.0),
        }
    }
}

impl Sub for Bounded {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Bounded {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        match (self, other) {
            (one, x) | (x, one) if one.is(1.0) => x,
            (zero, x) | (x, zero) if zero.is(0.0) && x.error.is_finite() => zero,
            (a, b) => {
                let error = a.value.abs() * b.error + b.value.abs() * a.error + a.error * b.error;
                Self::rounded(a.value * b.value, error, 2.0)
            }
        }
    }
}

impl Div for Bounded {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let least = other.value.abs() - other.error;
        // WGSL promises nothing for smaller or larger denominators.
        let most = other.value.abs() + other.error;
        if least < TINY || most > 2f64.powi(126) || most.is_nan() {
            return Bounded { value: self.value / other.value, error: f64::INFINITY };
        }
        let value = self.value / other.value;
        let error = (self.error + value.abs() * other.error) / least;
        if other.is(1.0) {
            return self;
        }
        Self::rounded(value, error, 5.0)
    }
}

impl Neg for Bounded {
    type Output = Self;

    fn neg(self) -> Self {
        Bounded { value: -self.value, ..self }
    }
}

impl Number for Bounded {
    fn of(x: f64) -> Self {
        Bounded { value: x, error: (x - f64::from(x as f32)).abs() }
    }

    fn near(x: f64) -> Self {
        // Fixed point has units of 2⁻⁶⁴, and no zero: the smallest power is one unit.
        let error = if x == 1.0 { 0.0 } else { 1.02 * U * x.abs() + 2f64.powi(-63) };
        Bounded { value: x, error }
    }

    fn root(self) -> Self {
        if self.is(0.0) || self.is(1.0) {
            return self;
        }
        let value = self.value.sqrt();
        let (above, below) =
            ((self.value + self.error).sqrt(), (self.value - self.error).max(0.0).sqrt());
        Self::rounded(value, (above - value).max(value - below), 9.0)
    }

    fn magnitude(self) -> Self {
        Bounded { value: self.value.abs(), ..self }
    }

    fn larger(self, other: Self) -> Self {
        let error = self.error.max(other.error);
        // One that cannot be the larger has no part in it.
        if self.value - self.error >= other.value + other.error {
            return self;
        }
        if other.value - other.error >= self.value + self.error {
            return other;
        }
        Bounded { value: self.value.max(other.value), error }
    }

    fn sign(self) -> Self {
        let value = self.value.sign();
        let reaches_zero = self.value.abs() <= self.error && !self.is(0.0);
        // From one side it may come to lie on the other.
        let error = if reaches_zero { 1.0 + value.abs() } else { 0.0 };
        Bounded { value, error }
    }

    fn is_negative(self) -> bool {
        self.value < 0.0
    }

    fn exponential(self) -> Self {
        let value = self.value.exp();
        let result = Self::rounded(value, value * self.error.exp_m1(), EXPONENTIAL_UNITS);
        // A result below e^−87.3 is zero.
        Bounded { error: result.error + if self.value < -87.0 { TINY } else { 0.0 }, ..result }
    }

    fn log_one_plus(self) -> Self {
        let least = (1.0 + self.value - self.error).max(0.0);
        Self::rounded(self.value.ln_1p(), self.error / least, LOGARITHM_UNITS)
    }

    fn logarithm(self) -> Self {
        let least = (self.value - self.error).max(0.0);
        Self::rounded(self.value.ln(), self.error / least, LOGARITHM_UNITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_holds(bounded: Bounded, actual: f32) {
        let error = (f64::from(actual) - bounded.value).abs();
        assert!(error <= bounded.error, "{actual:e} is {error:e} from {bounded:?}");
    }

    proptest! {
        #[test]
        fn what_f32_gives_is_within_the_bound(
            a in -1e30f32..1e30, b in -1e-3f32..1e3, c in 1e-20f32..1e20, d in -1f32..1.0,
        ) {
            let [x, y, z, w] = [a, b, c, d].map(Bounded::exactly);
            assert_holds(x * y + z, a * b + c);
            assert_holds((x + y) - (x - z), (a + b) - (a - c));
            assert_holds(x / (z.root() + w.magnitude()), a / (c.sqrt() + d.abs()));
            assert_holds((y * w + y).larger(w * w).root(), (b * d + b).larger(d * d).sqrt());
            assert_holds((y * w - w * y).sign(), (b * d - d * b).sign());
        }
    }

    #[test]
    fn what_is_exact_has_no_error() {
        let x = Bounded::exactly(0.3);
        assert_eq!(x + Bounded::of(0.0), x);
        assert_eq!(x * Bounded::of(1.0), x);
        assert_eq!(Bounded::of(0.5).error, 0.0);
        assert_eq!(x.sign(), Bounded::of(1.0));
        assert_eq!(Bounded::of(0.0).sign(), Bounded::of(0.0));
    }

    #[test]
    fn what_wgsl_leaves_open_has_no_bound() {
        let large = Bounded::exactly(f32::MAX);
        assert_eq!((large + large).error, f64::INFINITY);
        assert_eq!((Bounded::of(1.0) / Bounded::of(0.0)).error, f64::INFINITY);
    }

    #[test]
    fn a_sign_that_may_be_either_is_not_held_to_one() {
        let near_zero = Bounded { value: 1e-9, error: 2e-9 };
        assert_eq!(near_zero.sign(), Bounded { value: 1.0, error: 2.0 });
    }
}
