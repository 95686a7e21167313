//! Rows for the processor.

use crate::Model;
use crate::cpu::Real;
use crate::regression::reference::gradient::Rows;
use crate::regression::{Batch, Window};
use crate::regression::{Problem, ProblemError};

/// The source of rows.
#[derive(Debug)]
pub enum HostRows<'a, R> {
    /// All rows in memory, as [`Problem::materialize`] returns them.
    Resident {
        /// The features, row-major.
        x: &'a [R],
        /// The auxiliary columns, row-major.
        aux: &'a [R],
    },
    /// Rows are generated, or read from a file, whenever they are needed.
    OnDemand(&'a Problem),
}

/// A buffer for the rows of a batch that are not contiguous in memory.
#[derive(Debug)]
pub struct Gathered<R> {
    x: Vec<R>,
    aux: Vec<R>,
    window: Option<(Window, Vec<R>, Vec<R>)>,
}

impl<R: Real> Gathered<R> {
    pub fn new() -> Self {
        Gathered { x: Vec::new(), aux: Vec::new(), window: None }
    }

    /// The rows of a batch, in its order.
    pub fn rows<'b>(
        &'b mut self,
        from: &HostRows<'b, R>,
        model: &Model,
        batch: &Batch,
    ) -> Result<Rows<'b, R>, ProblemError> {
        let (features, aux_columns) = (model.features, model.aux_columns());
        match (from, &batch.window) {
            (HostRows::Resident { x, aux }, None) => {
                let all = Rows { x, aux };
                return Ok(all.part(model, batch.first as usize, batch.rows as usize));
            }
            (HostRows::Resident { x, aux }, Some(_)) => {
                self.gather(batch, 0, (x, features), (aux, aux_columns))
            }
            (HostRows::OnDemand(problem), None) => {
                let rows = batch.rows as usize;
                self.x.resize(rows * features, R::zero());
                self.aux.resize(rows * aux_columns, R::zero());
                problem.fill(batch.first, &mut self.x, &mut self.aux)?;
            }
            (HostRows::OnDemand(problem), Some(window)) => {
                if self.window.as_ref().is_none_or(|(held, ..)| held != window) {
                    let all = Batch::new(window.first, window.rows.into());
                    let (x, aux) = problem.rows_of(&all)?;
                    self.window = Some((*window, x, aux));
                }
                let Some((window, x, aux)) = self.window.take() else { unreachable!("just made") };
                self.gather(batch, window.first, (&x, features), (&aux, aux_columns));
                self.window = Some((window, x, aux));
            }
        }
        Ok(Rows { x: &self.x, aux: &self.aux })
    }

    /// Copies the rows of a batch from those that start at row `first`.
    fn gather(&mut self, batch: &Batch, first: u64, x: (&[R], usize), aux: (&[R], usize)) {
        for (to, (from, width)) in [(&mut self.x, x), (&mut self.aux, aux)] {
            to.clear();
            for i in 0..batch.rows {
                to.extend_from_slice(&from[(batch.row(i) - first) as usize * width..][..width]);
            }
        }
    }
}
