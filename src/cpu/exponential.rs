//! Exponential and logarithm in f32 as a device computes them; the twin of `shaders/exponential.wgsl`.
//!
//! Out of + − × / alone, so that [`Bounded`](super::Bounded) can say how far off they may be: WGSL's own
//! logarithm may be wrong by 2⁻²¹ near one, and it has no log1p. The polynomial of the exponential is
//! that of Cephes (Moshier 1989), the logarithm is the series of 2 artanh.

use super::Number;

/// ln 2 in two parts: a multiple of the first by a small integer is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// The error of a device, in units of 2⁻²⁴ of the result, where every operation has the error that WGSL
/// allows. The exponential: its argument is reduced to |r| < 0.35 with an error of 2u r + 2u, which is that
/// of the result, the polynomial's last sums and products add 4u, its truncation less than u.
pub const EXPONENTIAL_UNITS: f64 = 8.0;
/// The logarithm: 7u for t / (2 + t), 2u each for three products, 3u for the series and the last sum.
pub const LOGARITHM_UNITS: f64 = 16.0;

/// A number that is an f32 in memory.
pub trait Single: Number {
    fn new(x: f32) -> Self;
    fn value(self) -> f32;
}

impl Single for f32 {
    #[inline(always)]
    fn new(x: f32) -> Self {
        x
    }

    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

/// eˣ for x up to 88; zero below −87.3.
#[inline(always)]
pub fn exponential<R: Single>(x: R) -> R {
    let k = R::new((x * R::new(std::f32::consts::LOG2_E) + R::new(0.5)).value().floor());
    let r = (x - k * R::new(LN2_HIGH)) - k * R::new(LN2_LOW);
    let mut p = R::new(1.987_569_1e-4);
    p = p * r + R::new(1.398_199_9e-3);
    p = p * r + R::new(8.333_452e-3);
    p = p * r + R::new(4.166_579_6e-2);
    p = p * r + R::new(1.666_666_5e-1);
    p = p * r + R::new(0.5);
    p = (p * (r * r) + r) + R::new(1.0);
    // 2ᵏ by its bits.
    let exponent = k.value().clamp(-126.0, 127.0) as i32 + 127;
    let power = R::new(f32::from_bits((exponent as u32) << 23));
    if x.value() >= -87.3 { p * power } else { R::new(0.0) }
}

/// ln(1 + t) for t from 0 to 1.
#[inline(always)]
pub fn log_one_plus<R: Single>(t: R) -> R {
    let s = t / (R::new(2.0) + t);
    let q = s * s;
    let mut p = R::new(1.0 / 15.0);
    p = p * q + R::new(1.0 / 13.0);
    p = p * q + R::new(1.0 / 11.0);
    p = p * q + R::new(1.0 / 9.0);
    p = p * q + R::new(1.0 / 7.0);
    p = p * q + R::new(1.0 / 5.0);
    p = p * q + R::new(1.0 / 3.0);
    R::new(2.0) * s * (p * q + R::new(1.0))
}

/// ln x for a normal x > 0; exact to a few units in its last place from 1 on.
#[inline(always)]
pub fn logarithm<R: Single>(x: R) -> R {
    let bits = x.value().to_bits();
    let exponent = R::new(((bits >> 23) as i32 - 127) as f32);
    let mantissa = R::new(f32::from_bits((bits & 0x7f_ffff) | 0x3f80_0000));
    exponent * R::new(LN2_HIGH) + (exponent * R::new(LN2_LOW) + log_one_plus(mantissa - R::new(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: f64 = 1.0 / (1 << 24) as f64;

    /// The largest relative error over a dense grid, in units of 2⁻²⁴.
    fn worst(grid: impl Iterator<Item = f32>, ours: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let error = |x: f32| {
            let exact = exact(x.into());
            (f64::from(ours(x)) - exact).abs() / exact.abs().max(1e-300) / U
        };
        grid.map(error).fold(0.0, f64::max)
    }

    /// Rounded to nearest they are within a third of that error.
    #[test]
    fn they_are_exact_to_a_few_units() {
        let steps =
            |low: f32, high: f32| (1..=400_000).map(move |i| low + (high - low) * i as f32 / 4e5);
        let exponential = worst(steps(-87.0, 88.0), exponential::<f32>, f64::exp);
        assert!(exponential < EXPONENTIAL_UNITS / 2.0, "{exponential}");
        let one_plus = worst(steps(0.0, 1.0), log_one_plus::<f32>, f64::ln_1p);
        assert!(one_plus < LOGARITHM_UNITS / 2.0, "{one_plus}");
        // Up to the largest counts, too.
        for (low, high) in [(1.0, 5000.0), (5000.0, 1e9), (1e9, 4e16)] {
            let logarithm = worst(steps(low, high), logarithm::<f32>, f64::ln);
            assert!(logarithm < LOGARITHM_UNITS / 2.0, "{logarithm} up to {high:e}");
        }
    }

    #[test]
    fn ends_of_their_ranges() {
        assert_eq!(exponential(0.0f32), 1.0);
        assert_eq!(exponential(-1e30f32), 0.0);
        assert!(exponential(-87.2f32) > 0.0);
        assert_eq!((log_one_plus(0.0f32), logarithm(1.0f32)), (0.0, 0.0));
    }
}
