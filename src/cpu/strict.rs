//! The number of strict arithmetic: f32 with the same bits on every device.

use super::{Number, exponential};
use bytemuck::{Pod, Zeroable};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// An f32 whose operations have the same bits on every device: the twin of `shaders/arithmetic/strict.wgsl`.
///
/// Results are rounded to nearest, ties to even, and then flushed: a magnitude of 2⁻¹²⁶ or less is +0. So 0 has no sign,
/// and there are no subnormal numbers. 2⁻¹²⁶ itself is flushed because devices differ in whether they flush before or
/// after rounding. The bits are promised while numbers are finite; in memory there is one NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Pod, Zeroable)]
#[repr(transparent)]
pub struct Strict(f32);

impl Strict {
    /// Flushes a number.
    #[inline(always)]
    pub fn new(x: f32) -> Self {
        Strict(if x.abs() <= f32::MIN_POSITIVE { 0.0 } else { x })
    }

    /// The value.
    #[inline(always)]
    pub fn value(self) -> f32 {
        self.0
    }

    /// Numbers in memory, as they are.
    pub fn of_slice(values: &[f32]) -> &[Strict] {
        bytemuck::cast_slice(values)
    }

    /// Numbers in memory, as they are.
    pub fn of_slice_mut(values: &mut [f32]) -> &mut [Strict] {
        bytemuck::cast_slice_mut(values)
    }
}

macro_rules! operator {
    ($trait:ident, $name:ident, $op:tt) => {
        impl $trait for Strict {
            type Output = Strict;

            #[inline(always)]
            fn $name(self, other: Strict) -> Strict {
                Strict::new(self.0 $op other.0)
            }
        }
    };
}

operator!(Add, add, +);
operator!(Sub, sub, -);
operator!(Mul, mul, *);
operator!(Div, div, /);

impl Neg for Strict {
    type Output = Strict;

    #[inline(always)]
    fn neg(self) -> Strict {
        Strict::new(-self.0)
    }
}

impl Number for Strict {
    #[inline(always)]
    fn of(x: f64) -> Self {
        Strict::new(x as f32)
    }

    #[inline(always)]
    fn near(x: f64) -> Self {
        Strict::new(x as f32)
    }

    #[inline(always)]
    fn root(self) -> Self {
        Strict::new(self.0.sqrt())
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        Strict(self.0.abs())
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        Strict(self.0.larger(other.0))
    }

    #[inline(always)]
    fn sign(self) -> Self {
        Strict(Number::sign(self.0))
    }

    #[inline(always)]
    fn is_negative(self) -> bool {
        self.0 < 0.0
    }

    #[inline(always)]
    fn exponential(self) -> Self {
        exponential::exponential(self)
    }

    #[inline(always)]
    fn log_one_plus(self) -> Self {
        exponential::log_one_plus(self)
    }

    #[inline(always)]
    fn logarithm(self) -> Self {
        exponential::logarithm(self)
    }

    #[inline(always)]
    fn loaded(self) -> Self {
        Strict::new(self.0)
    }

    #[inline(always)]
    fn stored(self) -> Self {
        if self.0.is_nan() { Strict(f32::from_bits(0x7fc0_0000)) } else { Strict::new(self.0) }
    }
}

impl exponential::Single for Strict {
    #[inline(always)]
    fn new(x: f32) -> Self {
        Strict::new(x)
    }

    #[inline(always)]
    fn value(self) -> f32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_devices_flush_in_different_ways_is_zero_without_a_sign() {
        let least = f32::MIN_POSITIVE;
        for x in [0.0, -0.0, least, -least, least / 2.0, -f32::from_bits(1)] {
            assert_eq!(Strict::new(x).value().to_bits(), 0, "{x:e}");
        }
        let above = f32::from_bits(least.to_bits() + 1);
        assert_eq!(Strict::new(-above).value(), -above);
        assert_eq!((Strict::new(0.0) - Strict::new(0.0)).value().to_bits(), 0);
        assert_eq!((-Strict::new(0.0)).value().to_bits(), 0);
        assert_eq!((Strict::new(1e-20) * Strict::new(-1e-20)).value().to_bits(), 0);
    }

    #[test]
    fn there_is_one_nan_in_memory() {
        let infinite = Strict::new(f32::INFINITY);
        for nan in [infinite - infinite, Strict::new(-f32::NAN), Strict::new(-1.0).root()] {
            assert_eq!(nan.stored().value().to_bits(), 0x7fc0_0000);
        }
    }

    #[test]
    fn a_product_and_a_sum_are_two_roundings() {
        let a = Strict::new(1.0 + 2f32.powi(-12));
        let c = Strict::new(-(1.0 + 2f32.powi(-11)));
        assert_eq!((a * a + c).value(), 0.0);
    }
}
