//! Where a gradient's rows are, and which of them a batch is.

use super::shape::Shape;
use super::{Chunk, Samples};
use crate::batch::Batch;
use crate::{Error, Model};
use wgpu::{BindGroupLayout, Buffer, ComputePass};

/// The rows of a data set, for kernels that sum over them.
#[derive(Clone, Debug)]
pub struct Rows {
    samples: Samples,
}

/// A run of a batch's rows within one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub chunk: usize,
    /// In the chunk: of the run, or of the window where the batch is shuffled.
    pub first_row: u32,
    pub rows: u32,
    /// In the window.
    pub position: u32,
    /// The row of the whole problem that the chunk begins with, where rows are made and not stored.
    pub base: u64,
}

impl From<&Samples> for Rows {
    fn from(samples: &Samples) -> Self {
        Rows { samples: samples.clone() }
    }
}

impl Rows {
    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.samples.rows()
    }

    /// The shape of a model's gradient over these rows.
    pub(crate) fn check(&self, model: &Model) -> Result<Shape, Error> {
        let shape = Shape::new(model)?;
        let made_for = self.samples.shape();
        let same = |what: &str, actual: u32, expected: u32| {
            let (what, actual, expected) = (what.into(), actual.into(), expected.into());
            if actual == expected { Ok(()) } else { Err(Error::Length { what, actual, expected }) }
        };
        same("features of the model", shape.features, made_for.features)?;
        same("what lies beside the model's rows", shape.side, made_for.side)?;
        Ok(shape)
    }

    pub(crate) fn is_stored(&self) -> bool {
        true
    }

    /// X, where it is stored, and what lies beside it; of each chunk.
    pub(crate) fn buffers(&self) -> impl Iterator<Item = (Option<&Buffer>, &Buffer)> {
        self.samples.chunks().iter().map(|chunk| (Some(&chunk.x), &chunk.sides))
    }

    pub(crate) fn generator_layout(&self) -> Option<&BindGroupLayout> {
        None
    }

    pub(crate) fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![]
    }

    pub(crate) fn bind_generator(&self, _: &mut ComputePass) {}

    pub(crate) fn record_targets(&self, _: &mut ComputePass, _: &Buffer, _: u32, _: u32) {}

    /// The most runs that a batch of so many rows can come in, wherever it starts.
    pub(crate) fn most_runs(&self, max_batch: u64) -> u64 {
        let runs = max_batch.div_ceil(self.samples.shape().run_rows());
        let crossings = match self.samples.chunks() {
            [] | [_] => 0,
            [first, ..] => max_batch / u64::from(first.rows) + 2,
        };
        runs + crossings
    }

    /// The runs of a batch, in order.
    ///
    /// # Errors
    /// [`Error::Shape`] for a shuffled batch where `shuffled` does not allow one, or a window that lies in
    /// several chunks.
    pub(crate) fn places(&self, batch: &Batch, shuffled: bool) -> Result<Vec<Place>, Error> {
        let run = self.samples.shape().run_rows();
        let starts = (0..batch.rows).step_by(run as usize);
        let slices = starts.map(|at| (at, run.min(batch.rows - at)));
        let Some(window) = batch.window else {
            let cut = slices.flat_map(|(at, rows)| self.samples.runs(batch.first + at, rows));
            let place = |(chunk, first_row, rows)| Place { chunk, first_row, rows, position: 0, base: 0 };
            return Ok(cut.map(place).collect());
        };
        let error = |what, value, range| Err(Error::Shape { what, value, range });
        if !shuffled {
            let range = "not in a window where shuffling was not asked for";
            return error("the first row of a batch", batch.first, range);
        }
        let (first, end) = (batch.first, batch.first.saturating_add(batch.rows));
        let window_end = window.first.saturating_add(window.rows.into());
        if first < window.first || end > window_end {
            return error("the end of a batch", end, "within its window");
        }
        let holds = |chunk: &Chunk| {
            chunk.first_row <= window.first && window_end <= chunk.first_row + u64::from(chunk.rows)
        };
        let Some(chunk) = self.samples.chunks().iter().position(holds) else {
            return error("the end of a window", window_end, "within one chunk of the data");
        };
        let first_row = (window.first - self.samples.chunks()[chunk].first_row) as u32;
        let place = |(at, rows): (u64, u64)| {
            let position = (first - window.first + at) as u32;
            Place { chunk, first_row, rows: rows as u32, position, base: 0 }
        };
        Ok(slices.map(place).collect())
    }
}
