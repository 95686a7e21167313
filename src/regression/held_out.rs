//! Rows that are kept out of training.

use super::{Problem, ProblemError, Source};
use crate::batch::Window;
use std::sync::Arc;

impl Problem {
    /// How many rows a share of them is, at least one and not all.
    ///
    /// # Errors
    /// [`ProblemError::Targets`] if there is one row alone.
    fn share(&self, fraction: f64) -> Result<u64, ProblemError> {
        if self.rows < 2 {
            let reason = "there is one row, and none can be held out".into();
            return Err(ProblemError::Targets { name: self.name.clone(), reason });
        }
        Ok(((self.rows as f64 * fraction).ceil() as u64).clamp(1, self.rows - 1))
    }

    /// Puts a share of the rows behind all others, and returns how many they are. Those of a table or of a
    /// file in memory are drawn by `seed`, and all others keep their order; the rows of a synthetic problem
    /// are all alike, and those of a streamed file stay where they are: they are the last ones.
    ///
    /// # Errors
    /// [`ProblemError`] if there is one row alone, or the file cannot be read.
    pub fn hold_out(&mut self, fraction: f64, seed: u64) -> Result<u64, ProblemError> {
        let held = self.share(fraction)?;
        let drawn = !matches!(self.source, Source::Synthetic(..)) && !self.is_streamed();
        let Some(rows) = u32::try_from(self.rows).ok().filter(|_| drawn) else { return Ok(held) };
        let window = Window { first: 0, rows, key: [seed as u32, (seed >> 32) as u32] };
        let mut out: Vec<u64> = (0..held as u32).map(|i| window.row(i).into()).collect();
        out.sort_unstable();
        let kept = (0..self.rows).filter(|row| out.binary_search(row).is_err());
        let order: Vec<u64> = kept.chain(out.iter().copied()).collect();

        let (x, sides) = match &self.source {
            Source::Table { x, sides } => (x.to_vec(), sides.to_vec()),
            Source::File(file) => {
                let mut x = vec![0.0; self.rows as usize * self.features];
                let mut sides = vec![0.0; self.rows as usize * self.side()];
                file.read(0, &mut x, &mut sides)?;
                (x, sides)
            }
            Source::Synthetic(..) => return Ok(held),
        };
        let reorder = |from: Vec<f64>, width: usize| {
            let row = |&row: &u64| &from[row as usize * width..][..width];
            Arc::new(order.iter().flat_map(row).copied().collect())
        };
        let (features, side) = (self.features, self.side());
        self.source = Source::Table { x: reorder(x, features), sides: reorder(sides, side) };
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_rows_are_drawn_and_put_behind_all_others() {
        let y: Vec<f64> = (0..100).map(f64::from).collect();
        let mut problem = Problem::table("t", 1, y.clone(), y.clone());
        assert_eq!(problem.hold_out(0.1, 7).unwrap(), 10);
        let (x, sides) = problem.materialize::<f64>().unwrap();
        assert_eq!(x, sides);
        assert!(x[..90].is_sorted() && x[90..].is_sorted());
        assert_ne!(x[90..], y[90..]);
        let mut all = x.clone();
        all.sort_by(f64::total_cmp);
        assert_eq!(all, y);
        assert_eq!(problem.hold_out(1.0, 7).unwrap(), 99);
        Problem::table("t", 1, vec![1.0], vec![1.0]).hold_out(0.5, 1).unwrap_err();
    }
}
