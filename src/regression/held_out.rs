//! Held-out rows, for validation.

use super::table::reorder;
use super::{Problem, ProblemError, Source};
use crate::regression::Window;
use std::sync::Arc;

/// Number of rows per draw, if there are more rows than a window can have.
const TOGETHER: u64 = 1 << 31;
const WORD: u64 = u64::BITS as u64;
/// Words per block, which has one count.
const BLOCK: usize = 8;

/// The set of held-out rows, and the resulting order: training rows in the order of the data, then held-out rows. Uses
/// one bit per row and one count per 512 rows, also for streamed files.
pub(super) struct Order {
    rows: u64,
    kept: u64,
    held_out: Vec<u64>,
    /// Number of held-out rows before each block of words.
    ahead: Vec<u64>,
}

impl Order {
    /// Draws `held` of the rows, as a function of the three arguments alone.
    ///
    /// Up to 2³² − 1 rows, the held-out rows are the first ones of a shuffled window of all rows. Beyond, every 2³¹
    /// consecutive rows are drawn separately, in proportion to their number.
    fn draw(rows: u64, held: u64, seed: u64) -> Self {
        let part = if u32::try_from(rows).is_ok() { rows.max(1) } else { TOGETHER };
        Self::draw_by(part, rows, held, seed)
    }

    /// Draws like [`draw`](Self::draw), from `part` rows at a time.
    fn draw_by(part: u64, rows: u64, held: u64, seed: u64) -> Self {
        let mut held_out = vec![0; rows.div_ceil(WORD) as usize];
        let share = |rows_ahead: u64| {
            (u128::from(held) * u128::from(rows_ahead) / u128::from(rows.max(1))) as u64
        };
        for (index, first) in (0..rows).step_by(part as usize).enumerate() {
            let many = part.min(rows - first);
            let key = [seed as u32 ^ (index as u32).wrapping_mul(0x9e37_79b9), (seed >> 32) as u32];
            let window = Window { first, rows: many as u32, key };
            for place in 0..share(first + many) - share(first) {
                let row = first + u64::from(window.row(place as u32));
                held_out[(row / WORD) as usize] |= 1 << (row % WORD);
            }
        }
        let (mut ahead, mut sum) = (Vec::with_capacity(held_out.len().div_ceil(BLOCK)), 0);
        for block in held_out.chunks(BLOCK) {
            ahead.push(sum);
            sum += block.iter().map(|word: &u64| u64::from(word.count_ones())).sum::<u64>();
        }
        Order { rows, kept: rows - held, held_out, ahead }
    }

    /// The index in the data of a place in the order.
    fn row(&self, place: u64) -> u64 {
        let held = place >= self.kept;
        let mut left = if held { place - self.kept } else { place };
        let before = |block: usize| {
            let ones = self.ahead[block];
            if held { ones } else { (block * BLOCK) as u64 * WORD - ones }
        };
        // The last block with at most this many rows before it.
        let (mut low, mut high) = (0, self.ahead.len());
        while high - low > 1 {
            let middle = low.midpoint(high);
            if before(middle) <= left { low = middle } else { high = middle }
        }
        left -= before(low);
        let mut word = low * BLOCK;
        loop {
            let mut bits = self.of_kind(word, held);
            let count = u64::from(bits.count_ones());
            if left < count {
                (0..left).for_each(|_| bits &= bits - 1);
                return word as u64 * WORD + u64::from(bits.trailing_zeros());
            }
            left -= count;
            word += 1;
        }
    }

    /// The bits of a word's held-out rows, or of its training rows.
    fn of_kind(&self, word: usize, held: bool) -> u64 {
        if held { self.held_out[word] } else { !self.held_out[word] }
    }

    /// Calls `with` for every contiguous range of rows among the `count` places from `place`: its place relative to
    /// `place`, its first row in the data, and its number of rows.
    pub(super) fn runs<E>(
        &self,
        place: u64,
        count: u64,
        mut with: impl FnMut(u64, u64, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done = 0;
        while done < count {
            let held = place + done >= self.kept;
            let end = if held { self.rows } else { self.kept };
            let most = (count - done).min(end - (place + done));
            let first = self.row(place + done);
            let many = self.alike(first, held, most);
            with(done, first, many)?;
            done += many;
        }
        Ok(())
    }

    /// The number of rows of one kind from `first`, at most `most`.
    fn alike(&self, first: u64, held: bool, most: u64) -> u64 {
        let mut row = first;
        while row < first + most {
            let (word, bit) = ((row / WORD) as usize, row % WORD);
            let alike = u64::from((!self.of_kind(word, held) >> bit).trailing_zeros()).min(WORD - bit);
            row += alike;
            if alike < WORD - bit {
                break;
            }
        }
        (row - first).min(most)
    }
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Order({} rows, {} kept)", self.rows, self.kept)
    }
}

impl Problem {
    /// The number of rows in a share, at least one and not all.
    ///
    /// # Errors
    /// [`ProblemError::Targets`] for a single row.
    fn share(&self, fraction: f64) -> Result<u64, ProblemError> {
        if self.rows < 2 {
            let reason = "a single row cannot be split into training and held-out rows".into();
            return Err(ProblemError::Targets { name: self.name.clone(), reason });
        }
        Ok(((self.rows as f64 * fraction).ceil() as u64).clamp(1, self.rows - 1))
    }

    /// Moves a share of the rows to the end, keeping the order of the others, and returns their number. The rows are
    /// drawn by `seed`, independently of the placement: a streamed file and the same file in memory have the same
    /// held-out rows. The rows of a synthetic problem are independent draws, so its last rows are held out.
    ///
    /// Reading a streamed file in this order takes two passes: one for the training rows, one for the held-out rows.
    ///
    /// # Errors
    /// [`ProblemError`] if there is only one row, or the file cannot be read.
    pub fn hold_out(&mut self, fraction: f64, seed: u64) -> Result<u64, ProblemError> {
        let held = self.share(fraction)?;
        let draw = || Order::draw(self.rows, held, seed);
        let (x, aux) = match &self.source {
            Source::Synthetic(..) => return Ok(held),
            #[cfg(feature = "files")]
            Source::File(_) if self.is_streamed() => {
                self.order = Some(Arc::new(draw()));
                return Ok(held);
            }
            Source::Table { x, aux } => (x.clone(), aux.clone()),
            #[cfg(feature = "files")]
            Source::File(file) => {
                let mut x = vec![0.0; self.rows as usize * self.features];
                let mut aux = vec![0.0; self.rows as usize * self.aux_columns()];
                file.read(0, &mut x, &mut aux)?;
                (super::table::Features::Double(Arc::new(x)), Arc::new(aux))
            }
        };
        let order = draw();
        let (x, aux) = (x.reorder(&order, self.features), reorder(&aux, &order, self.aux_columns()));
        self.source = Source::Table { x, aux: Arc::new(aux) };
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(order: &Order) -> Vec<u64> {
        (0..order.rows).map(|place| order.row(place)).collect()
    }

    proptest! {
        #[test]
        fn an_order_has_every_row_once_and_its_ranges_agree(
            rows_of_data in 2u64..5000, fraction in 0.0f64..1.0, seed: u64, part in 1u64..3000,
            first in 0.0f64..1.0,
        ) {
            let held = ((rows_of_data as f64 * fraction) as u64).clamp(1, rows_of_data - 1);
            for order in [
                Order::draw(rows_of_data, held, seed),
                Order::draw_by(part, rows_of_data, held, seed),
            ] {
                let all = rows(&order);
                let (kept, out) = all.split_at(order.kept as usize);
                prop_assert_eq!(out.len() as u64, held);
                prop_assert!(kept.is_sorted() && out.is_sorted());
                let mut sorted = all.clone();
                sorted.sort_unstable();
                prop_assert!(sorted.into_iter().eq(0..rows_of_data));
                let first = (rows_of_data as f64 * first) as u64;
                let mut seen = Vec::new();
                let Ok(()) = order.runs::<std::convert::Infallible>(
                    first, rows_of_data - first, |at, row, many| {
                        assert_eq!(at as usize, seen.len());
                        seen.extend(row..row + many);
                        Ok(())
                    });
                prop_assert_eq!(&seen, &all[first as usize..]);
            }
        }
    }

    /// Draws the same rows as earlier versions.
    #[test]
    fn held_out_rows_are_the_first_of_a_windows_shuffle() {
        for (count, held, seed) in [(100u32, 10, 7u64), (60, 6, 1), (4097, 410, u64::MAX - 3)] {
            let window = Window { first: 0, rows: count, key: [seed as u32, (seed >> 32) as u32] };
            let mut out: Vec<u64> = (0..held).map(|i| window.row(i).into()).collect();
            out.sort_unstable();
            let order = Order::draw(count.into(), held.into(), seed);
            assert_eq!(rows(&order)[(count - held) as usize..], out);
        }
    }

    #[test]
    fn parts_give_up_rows_in_proportion() {
        let order = Order::draw_by(1000, 3500, 350, 5);
        let out = &rows(&order)[3150..];
        let of = |part: u64| out.iter().filter(|&&row| row / 1000 == part).count();
        assert_eq!([of(0), of(1), of(2), of(3)], [100, 100, 100, 50]);
        assert!(!out[..100].iter().zip(&out[100..200]).all(|(a, b)| a + 1000 == *b));
    }

    #[test]
    fn held_out_rows_are_drawn_and_put_behind_all_others() {
        let y: Vec<f64> = (0..100).map(f64::from).collect();
        let mut problem = Problem::table("t", 1, y.clone(), y.clone());
        assert_eq!(problem.hold_out(0.1, 7).unwrap(), 10);
        let (x, aux) = problem.materialize::<f64>().unwrap();
        assert_eq!(x, aux);
        assert!(x[..90].is_sorted() && x[90..].is_sorted());
        assert_ne!(x[90..], y[90..]);
        let mut all = x.clone();
        all.sort_by(f64::total_cmp);
        assert_eq!(all, y);
        assert_eq!(problem.hold_out(1.0, 7).unwrap(), 99);
        Problem::table("t", 1, vec![1.0], vec![1.0]).hold_out(0.5, 1).unwrap_err();
    }
}
