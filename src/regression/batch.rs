//! Which rows an update is made from, and in which order.

/// Consecutive rows of a data set; in the order of a window's shuffle, where they are in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first row, or the first place in the window's order counted from the window's first row on.
    pub first: u64,
    /// How many rows there are; at least one.
    pub rows: u64,
    /// The rows that are shuffled among themselves, all of the batch among them.
    pub window: Option<Window>,
}

/// Rows that change places among themselves, by a bijection that is computed and not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first of them.
    pub first: u64,
    /// How many they are, at least one.
    pub rows: u32,
    /// Which bijection it is.
    pub key: [u32; 2],
}

impl Batch {
    /// Rows in the order of the data.
    pub fn new(first: u64, rows: u64) -> Self {
        Batch { first, rows, window: None }
    }

    /// The row of the data set that is the batch's `i`-th.
    pub fn row(&self, i: u64) -> u64 {
        match &self.window {
            None => self.first + i,
            Some(window) => window.first + u64::from(window.row((self.first - window.first + i) as u32)),
        }
    }
}

impl Window {
    /// Bits of a half of a position: the network permutes a power of four that is at least `rows`.
    pub(crate) fn half_bits(&self) -> u32 {
        let bits = u32::BITS - self.rows.saturating_sub(1).leading_zeros();
        bits.div_ceil(2).max(1)
    }

    /// Which of the window's rows, from 0, comes at `position`: a Feistel network of six rounds, walked
    /// until it is back among the rows (Black & Rogaway, *Ciphers with Arbitrary Finite Domains*, CT-RSA
    /// 2002). The twin of `shuffled` in `shaders/gradient/order.wgsl`.
    pub fn row(&self, position: u32) -> u32 {
        let half_bits = self.half_bits();
        let mask = (1 << half_bits) - 1;
        let mut at = position;
        loop {
            let (mut high, mut low) = (at >> half_bits, at & mask);
            for round in 0..6u32 {
                let key = self.key[round as usize % 2].wrapping_add(round.wrapping_mul(0x9e37_79b9));
                let mixed = (low ^ key).wrapping_mul(0x85eb_ca6b);
                let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0xc2b2_ae35);
                (high, low) = (low, high ^ ((mixed >> 16) & mask));
            }
            at = (high << half_bits) | low;
            if at < self.rows {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_exactly_once() {
        for rows in [1, 2, 3, 4, 5, 16, 17, 1000, 65_537] {
            let window = Window { first: 0, rows, key: [7, 11] };
            let mut seen: Vec<u32> = (0..rows).map(|i| window.row(i)).collect();
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..rows), "{rows}");
        }
    }

    /// Where a row comes is uniform over keys, and neighbours do not stay neighbours.
    #[test]
    fn orders_are_all_sorts_of_orders() {
        let (rows, keys) = (50, 20_000);
        let mut places = vec![0u32; rows as usize];
        let mut neighbours = 0;
        for key in 0..keys {
            let window = Window { first: 0, rows, key: [key, !key] };
            places[window.row(3) as usize] += 1;
            neighbours += u32::from(window.row(8) == window.row(7) + 1);
        }
        let expected = f64::from(keys) / f64::from(rows);
        let chi: f64 = places.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        // 49 degrees of freedom: mean 49, standard deviation 9.9.
        assert!(chi < 49.0 + 5.0 * 9.9, "{chi}");
        let share = f64::from(neighbours) / f64::from(keys);
        assert!((share - 0.02).abs() < 5.0 * (0.02f64 / f64::from(keys)).sqrt(), "{share}");
    }

    #[test]
    fn a_batch_takes_its_place_in_the_windows_order() {
        let window = Window { first: 100, rows: 40, key: [1, 2] };
        let batch = Batch { first: 110, rows: 5, window: Some(window) };
        assert_eq!(batch.row(2), 100 + u64::from(window.row(12)));
        assert_eq!(Batch::new(7, 3).row(2), 9);
    }
}
