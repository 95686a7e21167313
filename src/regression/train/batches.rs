//! The batch of every update.

use crate::cpu::random::philox;
use crate::regression::{Batch, Window};

/// The batches of a run.
#[derive(Clone, Debug)]
pub enum Batches {
    /// Batches of `size` rows, epoch after epoch; the last one of an epoch has the remaining rows.
    Epochs {
        /// Rows of an epoch, from row 0.
        rows: u64,
        /// Rows of a batch, from 1 to `rows`.
        size: u64,
        /// The number of updates.
        updates: u64,
        /// A new order in every epoch; without it, the order of the data.
        shuffle: Option<Shuffle>,
    },
    /// A batch for every update.
    Given(Vec<Batch>),
}

/// A new order of the rows in every epoch, computed and not stored.
///
/// Rows are permuted within windows of whole batches, and the windows among themselves, so that one window is in memory
/// at a time; up to the size of a window it is a shuffle of all rows. Batches larger than a window are permuted as
/// wholes. An incomplete window or batch comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shuffle {
    /// The seed of the orders.
    pub seed: u64,
    /// The most rows of a window, before rounding to whole batches:
    /// [`GradientLayout::segment_rows`](crate::regression::kernels::GradientLayout::segment_rows).
    pub window: u64,
}

impl Shuffle {
    /// Rows of a window of batches of `size` rows; 0 if a batch is larger.
    pub fn window_rows(&self, size: u64) -> u64 {
        self.window / size.max(1) * size
    }

    /// The key of an order in an epoch.
    fn key(&self, epoch: u64, which: u64) -> [u32; 2] {
        let word = |x: u64| [x as u32, (x >> 32) as u32];
        let ([a, b], [c, d]) = (word(epoch), word(which));
        let [x, y, ..] = philox([a, b, c, d], word(self.seed));
        [x, y]
    }

    /// The item at place `i` of `count` in an epoch, in the order of windows or of large batches.
    fn place(&self, epoch: u64, i: u64, count: u64) -> u64 {
        match u32::try_from(count) {
            Ok(rows) => Window { first: 0, rows, key: self.key(epoch, u64::MAX) }.row(i as u32).into(),
            Err(_) => i,
        }
    }

    /// The `i`-th batch of an epoch.
    fn batch(&self, epoch: u64, i: u64, rows: u64, size: u64) -> Batch {
        let wide = self.window_rows(size);
        if wide == 0 {
            let full = rows / size;
            let place = if i < full { self.place(epoch, i, full) } else { i };
            return Batch::new(place * size, size.min(rows - place * size));
        }
        let (full, per_window) = (rows / wide, wide / size);
        let at = i / per_window;
        let (which, window_rows) =
            if at < full { (self.place(epoch, at, full), wide) } else { (full, rows - full * wide) };
        let first = which * wide + i % per_window * size;
        let rows = size.min(which * wide + window_rows - first);
        let (start, key) = (which * wide, self.key(epoch, which));
        Batch { first, rows, window: Some(Window { first: start, rows: window_rows as u32, key }) }
    }
}

impl Batches {
    /// Batches of `size` of the first `rows` rows, for a number of epochs, in the order of the data.
    pub fn epochs(rows: u64, size: u64, epochs: u64) -> Self {
        let updates = epochs.saturating_mul(rows.div_ceil(size.max(1)));
        Batches::Epochs { rows, size, updates, shuffle: None }
    }

    /// The number of updates.
    pub fn updates(&self) -> u64 {
        match self {
            Batches::Epochs { updates, .. } => *updates,
            Batches::Given(batches) => batches.len() as u64,
        }
    }

    /// Updates of an epoch; all updates, if batches are given.
    pub fn epoch(&self) -> u64 {
        match self {
            Batches::Epochs { rows, size, .. } => rows.div_ceil(*size),
            Batches::Given(batches) => batches.len() as u64,
        }
    }

    /// The most rows of a batch.
    pub fn max_rows(&self) -> u64 {
        match self {
            Batches::Epochs { size, .. } => *size,
            Batches::Given(batches) => batches.iter().map(|b| b.rows).max().unwrap_or(1),
        }
    }

    /// Rows that must be in memory together: a batch, or a window of batches.
    pub fn unit(&self) -> u64 {
        match self {
            Batches::Epochs { size, shuffle: Some(shuffle), .. } => {
                shuffle.window_rows(*size).max(*size)
            }
            _ => self.max_rows(),
        }
    }

    /// Whether any batch belongs to a window.
    pub fn shuffled(&self) -> bool {
        match self {
            Batches::Epochs { shuffle, .. } => shuffle.is_some(),
            Batches::Given(batches) => batches.iter().any(|batch| batch.window.is_some()),
        }
    }

    /// The batch of update `index`, from 0.
    pub fn get(&self, index: u64) -> Batch {
        match self {
            &Batches::Epochs { rows, size, shuffle, .. } => {
                let (epoch, i) = (index / rows.div_ceil(size), index % rows.div_ceil(size));
                match shuffle {
                    Some(shuffle) => shuffle.batch(epoch, i, rows, size),
                    None => Batch::new(i * size, size.min(rows - i * size)),
                }
            }
            Batches::Given(batches) => batches[index as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(rows: u64, size: u64, window: Option<u64>, epoch: u64) -> Vec<u64> {
        let shuffle = window.map(|window| Shuffle { seed: 3, window });
        let batches = Batches::Epochs { rows, size, updates: 1000, shuffle };
        let first = epoch * batches.epoch();
        let batches = (first..first + batches.epoch()).map(|i| batches.get(i));
        batches.flat_map(|batch| (0..batch.rows).map(move |i| batch.row(i))).collect()
    }

    #[test]
    fn every_epoch_has_every_row_once() {
        for (rows, size) in [(1, 1), (100, 10), (103, 10), (1000, 7), (64, 64), (50, 33)] {
            assert!(epoch(rows, size, None, 2).into_iter().eq(0..rows));
            for window in [5, 20, 64, 1 << 20] {
                let mut seen = epoch(rows, size, Some(window), 2);
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..rows), "{rows} rows by {size} in windows of {window}");
            }
        }
    }

    #[test]
    fn every_epoch_has_an_order_of_its_own() {
        let orders: Vec<Vec<u64>> = (0..4).map(|i| epoch(1000, 10, Some(1 << 20), i)).collect();
        for (i, order) in orders.iter().enumerate() {
            assert!(!order.is_sorted());
            assert!(orders[..i].iter().all(|other| other != order));
        }
    }
}
