//! Which rows each update is made from.

use crate::cpu::random::philox;
use crate::regression::{Batch, Window};

/// The rows that each update is made from.
#[derive(Clone, Debug)]
pub enum Batches {
    /// Batches of `size` rows, over and over; the last one of an epoch has what is left.
    Epochs {
        /// Rows to train on, from row 0 on.
        rows: u64,
        /// Rows of a batch, from 1 to `rows`.
        size: u64,
        /// How many updates there are.
        updates: u64,
        /// Another order in every epoch; without it, that of the data.
        shuffle: Option<Shuffle>,
    },
    /// These.
    Given(Vec<Batch>),
}

/// Another order of the rows in every epoch, computed and not stored.
///
/// Rows change places within windows of whole batches, and windows among themselves, so that no more than a
/// window need be at hand at a time; up to the size of one it is a shuffle of all rows. Batches that are
/// larger than a window change places as they are. What fills no window, or no batch, comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shuffle {
    /// Which orders they are.
    pub seed: u64,
    /// Rows of a window at most, before it is rounded to whole batches:
    /// [`GradientLayout::segment_rows`](crate::regression::kernels::GradientLayout::segment_rows).
    pub window: u64,
}

impl Shuffle {
    /// Rows of a window, where batches are of `size` rows; 0 where a batch is larger.
    pub fn window_rows(&self, size: u64) -> u64 {
        self.window / size.max(1) * size
    }

    /// The key of one of an epoch's orders.
    fn key(&self, epoch: u64, which: u64) -> [u32; 2] {
        let word = |x: u64| [x as u32, (x >> 32) as u32];
        let ([a, b], [c, d]) = (word(epoch), word(which));
        let [x, y, ..] = philox([a, b, c, d], word(self.seed));
        [x, y]
    }

    /// What comes at place `i` of `count` things in an epoch; the order of windows among themselves.
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
    /// Batches of `size` of the first `rows` rows, for so many epochs in the order of the data.
    pub fn epochs(rows: u64, size: u64, epochs: u64) -> Self {
        let updates = epochs.saturating_mul(rows.div_ceil(size.max(1)));
        Batches::Epochs { rows, size, updates, shuffle: None }
    }

    /// How many updates there are.
    pub fn updates(&self) -> u64 {
        match self {
            Batches::Epochs { updates, .. } => *updates,
            Batches::Given(batches) => batches.len() as u64,
        }
    }

    /// Updates of one epoch; of given batches, all of them.
    pub fn epoch(&self) -> u64 {
        match self {
            Batches::Epochs { rows, size, .. } => rows.div_ceil(*size),
            Batches::Given(batches) => batches.len() as u64,
        }
    }

    /// The largest batch.
    pub fn max_rows(&self) -> u64 {
        match self {
            Batches::Epochs { size, .. } => *size,
            Batches::Given(batches) => batches.iter().map(|b| b.rows).max().unwrap_or(1),
        }
    }

    /// Rows that must be at hand together: a batch, or a window of them.
    pub fn unit(&self) -> u64 {
        match self {
            Batches::Epochs { size, shuffle: Some(shuffle), .. } => {
                shuffle.window_rows(*size).max(*size)
            }
            _ => self.max_rows(),
        }
    }

    /// Whether any of them is one of a window.
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
