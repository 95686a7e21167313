//! NumPy's legacy random numbers, which the blog series uses.

use rand_mt::Mt;

/// The generator of `np.random.seed(1)`, bit for bit: NumPy's `RandomState` with MT19937.
#[derive(Debug)]
pub struct BlogRandom(Mt);

impl BlogRandom {
    /// Returns the state after `np.random.seed(1)`.
    #[expect(clippy::new_without_default, reason = "the seed is the series', not a default")]
    pub fn new() -> Self {
        BlogRandom(Mt::new(1))
    }

    /// Draws `np.random.uniform(-1, 1)`.
    pub fn uniform(&mut self) -> f64 {
        // 53 bits from two words: 27 of the first, 26 of the second.
        let high = f64::from(self.0.next_u32() >> 5);
        let low = f64::from(self.0.next_u32() >> 6);
        let unit = (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0;
        -1.0 + 2.0 * unit
    }

    /// Draws `np.random.randint(0, 100)`: seven bits, repeated while they exceed 99.
    pub fn row(&mut self) -> u64 {
        loop {
            let draw = self.0.next_u32() & 127;
            if draw <= 99 {
                return u64::from(draw);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From NumPy 2.4.6: after `seed(1)` and 100 uniforms, `[np.random.randint(0, 100) for _ in range(20)]`.
    #[test]
    fn rows_are_those_that_numpy_draws() {
        let mut random = BlogRandom::new();
        for _ in 0..100 {
            random.uniform();
        }
        let rows: Vec<u64> = (0..20).map(|_| random.row()).collect();
        let numpy = [20, 48, 22, 13, 97, 53, 84, 10, 96, 55, 61, 56, 89, 21, 96, 83, 25, 14, 13, 84];
        assert_eq!(rows, numpy);
    }
}
