//! Access to the rows of a problem, scaled, and with classes as indices.

use super::table::Features;
use super::{Problem, ProblemError, Source, tasks};
use crate::Error;
use crate::cpu::Real;
use crate::regression::Batch;
use crate::regression::machine::available_memory;

/// Allocations below this many bytes are not checked against the available memory, because the check takes longer than
/// filling a small batch.
const LARGE: u64 = 1 << 26;

impl Problem {
    /// Fills `x` with the features and `aux` with the auxiliary columns of the rows from index `first`, both
    /// row-major, rounded to `R` (f32 on devices).
    ///
    /// # Errors
    /// [`ProblemError`] if the rows are those of a file that cannot be read, or changed after it was opened.
    ///
    /// # Panics
    /// If `x` and `aux` have different numbers of rows, or extend past the end.
    pub fn fill<R: Real>(&self, first: u64, x: &mut [R], aux: &mut [R]) -> Result<(), ProblemError> {
        match &self.source {
            Source::Table { x: all_x, aux: all_aux } => {
                let first = first as usize;
                let (at, from_aux) =
                    (first * self.features, &all_aux[first * self.aux_columns()..][..aux.len()]);
                match all_x {
                    Features::Single(all) => self.round(&all[at..][..x.len()], from_aux, x, aux),
                    Features::Double(all) => self.round(&all[at..][..x.len()], from_aux, x, aux),
                }
            }
            #[cfg(feature = "files")]
            Source::File(file) => {
                let (mut from_x, mut from_aux) = (vec![0.0; x.len()], vec![0.0; aux.len()]);
                let (features, aux_columns) = (self.features, self.aux_columns());
                match &self.order {
                    None => file.read(first, &mut from_x, &mut from_aux)?,
                    Some(order) => {
                        let count = (x.len() / features) as u64;
                        order.runs(first, count, |at, row, many| {
                            let (at, many) = (at as usize, many as usize);
                            let x = &mut from_x[at * features..][..many * features];
                            file.read(row, x, &mut from_aux[at * aux_columns..][..many * aux_columns])
                        })?;
                    }
                }
                self.round(&from_x, &from_aux, x, aux);
            }
            Source::Synthetic(problem, truth, _) => {
                let task = (1 << 14) / self.features.max(1) + 1;
                let (x, aux) = ((x, task * self.features), (aux, task * self.targets));
                tasks::for_chunks(x, aux, |i, x, aux| {
                    let (mut row, mut targets) = (vec![0.0; self.features], vec![0.0; self.targets]);
                    let rows = x.chunks_mut(self.features).zip(aux.chunks_mut(self.targets));
                    for (at, (x, aux)) in (first + (i * task) as u64..).zip(rows) {
                        problem.fill_row(truth, at, &mut row, &mut targets);
                        x.iter_mut().zip(&row).for_each(|(to, &from)| *to = R::of(from.into()));
                        aux.iter_mut().zip(&targets).for_each(|(to, &y)| *to = R::of(y.into()));
                    }
                });
            }
        }
        Ok(())
    }

    fn round<S: Real, R: Real>(&self, from_x: &[S], from_aux: &[f64], x: &mut [R], aux: &mut [R]) {
        match &self.scaling {
            None => x.iter_mut().zip(from_x).for_each(|(to, &from)| *to = R::of(from.f64())),
            Some(scaling) => {
                for (to, from) in x.chunks_mut(self.features).zip(from_x.chunks(self.features)) {
                    scaling.write(from, to);
                }
            }
        }
        aux.iter_mut().zip(from_aux).for_each(|(to, &from)| *to = R::of(from));
        if self.weighted && self.weight_scale != 1.0 {
            let weights = from_aux.iter().skip(self.targets).step_by(self.aux_columns());
            for (to, weight) in
                aux.iter_mut().skip(self.targets).step_by(self.aux_columns()).zip(weights)
            {
                *to = R::of(weight * self.weight_scale);
            }
        }
        if let Some(classes) = &self.classes {
            let targets = from_aux.iter().step_by(self.aux_columns());
            for (to, y) in aux.iter_mut().step_by(self.aux_columns()).zip(targets) {
                // In a file that has changed, a value may be no class: it counts as the next one.
                *to = R::of(classes.partition_point(|class| class < y).min(classes.len() - 1) as f64);
            }
        }
    }

    /// Returns the features and auxiliary columns of a batch, in its order.
    ///
    /// # Errors
    /// Those of [`fill`](Self::fill), and [`Error::OutOfMemory`].
    pub fn rows_of<R: Real>(&self, batch: &Batch) -> Result<(Vec<R>, Vec<R>), ProblemError> {
        let (first, rows) = match &batch.window {
            None => (batch.first, batch.rows),
            Some(window) => (window.first, window.rows.into()),
        };
        let (mut x, mut aux) = (self.zeros(rows, self.features)?, self.zeros(rows, self.aux_columns())?);
        self.fill(first, &mut x, &mut aux)?;
        if batch.window.is_none() {
            return Ok((x, aux));
        }
        let gather = |from: &[R], width: usize| {
            let row = |i| &from[(batch.row(i) - first) as usize * width..][..width];
            (0..batch.rows).flat_map(row).copied().collect()
        };
        Ok((gather(&x, self.features), gather(&aux, self.aux_columns())))
    }

    /// Returns the features and auxiliary columns of all rows.
    ///
    /// # Errors
    /// Those of [`rows_of`](Self::rows_of).
    pub fn materialize<R: Real>(&self) -> Result<(Vec<R>, Vec<R>), ProblemError> {
        self.rows_of(&Batch::new(0, self.rows))
    }

    fn zeros<R: Real>(&self, rows: u64, width: usize) -> Result<Vec<R>, Error> {
        let needed = rows.saturating_mul(width as u64).saturating_mul(size_of::<R>() as u64);
        let error = || Error::OutOfMemory {
            what: "the rows on the host",
            reason: format!(
                "{rows} rows × {width} numbers need {needed} bytes, but {} are available",
                available_memory()
            ),
        };
        // The system may overcommit memory.
        if needed > LARGE && needed > available_memory() {
            return Err(error());
        }
        let len = usize::try_from(rows).ok().and_then(|rows| rows.checked_mul(width));
        let len = len.ok_or_else(error)?;
        let mut values = Vec::new();
        values.try_reserve_exact(len).map_err(|_| error())?;
        values.resize(len, R::zero());
        Ok(values)
    }
}
