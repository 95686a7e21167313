//! The twin of `shaders/integer.wgsl`.

/// `a` · 2⁻⁶⁴ as f32, rounded to nearest even.
pub fn float_from_fixed(a: u64) -> f32 {
    // The conversion rounds once; scaling by a power of two is exact.
    a as f32 * 2f32.powi(-64)
}

/// `a` as f32, rounded to nearest even.
pub fn float_from_u64(a: u64) -> f32 {
    a as f32
}

/// 2⁶⁴ / `a` as f32, for a > 0, from the 32 leading bits of `a`.
pub fn reciprocal(a: u64) -> f32 {
    let zeros = a.leading_zeros();
    let divisor = (a << zeros) >> 32;
    let quotient = ((1 << 63) - 1) / divisor;
    // The quotient is a little low, never exact: a tie in the last bit goes up.
    let rounded = (quotient >> 8) + u64::from(quotient & 0xff >= 128);
    f32::from_bits(((zeros + 126) << 23) + rounded as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reciprocal_is_within_half_an_ulp_and_a_bit(a in 1u64.., shift in 0u32..64) {
            let a = (a >> shift).max(1);
            let exact = 2f64.powi(64) / a as f64;
            let ulp = 2f64.powi(exact.log2().floor() as i32 - 23);
            prop_assert!((f64::from(reciprocal(a)) - exact).abs() <= 0.51 * ulp);
        }

    }

    #[test]
    fn one_is_one() {
        assert_eq!(reciprocal(u64::MAX), 1.0);
        assert_eq!(reciprocal(1 << 63), 2.0);
    }
}
