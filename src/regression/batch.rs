//! Batches, and the shuffle of rows within windows.

/// The rows of an update: consecutive rows of the data, or consecutive positions in a shuffled window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the first row; in a window, the window's first row plus the first position in its order.
    pub first: u64,
    /// Number of rows, at least one.
    pub rows: u64,
    /// The shuffled window that contains the batch.
    pub window: Option<Window>,
}

/// Rows that a shuffle permutes among themselves. The permutation is computed, not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Index of the first row.
    pub first: u64,
    /// Number of rows, at least one.
    pub rows: u32,
    /// Key of the permutation.
    pub key: [u32; 2],
}

impl Batch {
    /// Returns a batch in the order of the data.
    pub fn new(first: u64, rows: u64) -> Self {
        Batch { first, rows, window: None }
    }

    /// Returns the index in the data of the batch's row `i`.
    pub fn row(&self, i: u64) -> u64 {
        match &self.window {
            None => self.first + i,
            Some(window) => window.first + u64::from(window.row((self.first - window.first + i) as u32)),
        }
    }
}

impl Window {
    /// Half the bits of a position: the network permutes a power of four that is at least `rows`.
    pub(crate) fn half_bits(&self) -> u32 {
        let bits = u32::BITS - self.rows.saturating_sub(1).leading_zeros();
        bits.div_ceil(2).max(1)
    }

    /// Returns the window's row, from 0, at `position`: a Feistel network of six rounds with cycle walking (Black &
    /// Rogaway, *Ciphers with Arbitrary Finite Domains*, CT-RSA 2002). Equals `shuffled` in
    /// `shaders/gradient/order.wgsl`.
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

    /// The position of a row is uniform over keys, and neighbours are separated.
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
