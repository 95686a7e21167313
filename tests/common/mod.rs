//! Shared code of the integration tests: a device, inputs, and comparisons.

#![allow(dead_code, reason = "every test file uses its own part of this")]

pub mod gpu;
pub mod model;
pub mod step;

/// Asserts that `actual` has the bits of `expected`, and names the worst element.
#[track_caller]
pub fn assert_bits(what: &str, actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    if actual.iter().zip(expected).any(|(a, e)| a.to_bits() != e.to_bits()) {
        // A bound of zero does not detect −0 and NaN, so bits are compared too.
        let wrong = |(a, e): &(&f32, &f32)| a.to_bits() != e.to_bits();
        let count = actual.iter().zip(expected).filter(wrong).count();
        let first = actual.iter().zip(expected).position(|pair| wrong(&pair)).unwrap_or(0);
        let bounds = vec![0.0; actual.len()];
        assert_within(what, &widen(actual), &widen(expected), &bounds);
        let (a, e) = (actual[first].to_bits(), expected[first].to_bits());
        panic!("{what}: {count} of {} differ, first {first}: {a:#010x} for {e:#010x}", actual.len());
    }
}

/// Asserts that every element of `actual` is within its bound of `expected`, and names the element with the largest
/// ratio of error to bound.
#[track_caller]
pub fn assert_within(what: &str, actual: &[f64], expected: &[f64], bounds: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    assert_eq!(actual.len(), bounds.len(), "{what}: number of bounds");
    let ratio = |i: usize| {
        let error = (actual[i] - expected[i]).abs();
        if error == 0.0 {
            0.0
        } else if error.is_nan() {
            f64::INFINITY
        } else {
            error / bounds[i]
        }
    };
    let wrong = (0..actual.len()).filter(|&i| ratio(i) > 1.0).count();
    if wrong > 0 {
        let worst = (0..actual.len()).max_by(|&a, &b| ratio(a).total_cmp(&ratio(b))).unwrap_or(0);
        panic!(
            "{what}: {wrong} of {} are out of bounds, worst element {worst}: {} for {}, error/bound {:.3}",
            actual.len(),
            hex(actual[worst]),
            hex(expected[worst]),
            ratio(worst),
        );
    }
}

/// A value in decimal and in hex, as f32 if it is exact in f32, else as f64.
fn hex(x: f64) -> String {
    let short = x as f32;
    if f64::from(short) == x {
        format!("{x:e} (f32 {:#010x})", short.to_bits())
    } else {
        format!("{x:e} (f64 {:#018x})", x.to_bits())
    }
}

/// The same values in f64.
pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// SplitMix64: the same numbers from the same seed on every machine.
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer within ±`most`.
    pub fn integer(&mut self, most: i32) -> f32 {
        (self.bits() % (2 * most as u64 + 1)) as f32 - most as f32
    }

    /// Uniform within ±1.
    pub fn unit(&mut self) -> f32 {
        self.bits() as i64 as f32 / 2f32.powi(63)
    }

    /// Any sign, any significand, a magnitude from 2⁻³⁰ to 2³⁰; sometimes zero.
    pub fn wide(&mut self) -> f32 {
        let bits = self.bits();
        if bits.is_multiple_of(16) {
            return 0.0;
        }
        let exponent = 127 - 30 + (bits >> 8) as u32 % 60;
        let significand = (bits >> 41) as u32;
        f32::from_bits((bits as u32 & 1 << 31) | exponent << 23 | significand)
    }

    /// `len` values within ±1.
    pub fn units(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.unit()).collect()
    }

    /// `len` values of wide magnitudes.
    pub fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.wide()).collect()
    }
}
