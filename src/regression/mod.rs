//! Regression problems: where the rows come from, and what is known about them.

mod blog;
mod error;
mod file;
mod scaling;

pub use blog::BlogRandom;
pub use error::DataError;
pub use scaling::Scaling;

use crate::Error;
use crate::cpu::Real;
use crate::cpu::synthetic::{Synthetic, Truth};
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// Below this many numbers in X a problem is small: its whole loss may be taken after every update.
const SMALL: u64 = 1 << 16;

/// A linear regression problem: y ≈ X·w + b.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What to call it in reports.
    pub name: String,
    /// Rows of X.
    pub rows: u64,
    /// Columns of X.
    pub features: usize,
    /// The weights that made y, and last the intercept, where they are known.
    pub truth: Option<Vec<f64>>,
    /// How the features were scaled, where they were.
    pub scaling: Option<Scaling>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Table { x: Vec<f64>, y: Vec<f64> },
    Synthetic(Synthetic, Arc<Truth>),
}

impl Problem {
    /// The series' own data: 100 values from U(−1, 1), y = 2.5·x + 1, no noise.
    pub fn blog() -> Self {
        let mut random = BlogRandom::new();
        let x: Vec<f64> = (0..100).map(|_| random.uniform()).collect();
        let y = x.iter().map(|x| 2.5 * x + 1.0).collect();
        let truth = Some(vec![2.5, 1.0]);
        Problem { truth, ..Self::table("blog", 1, x, y) }
    }

    /// A problem of any size with known weights, made from a seed: see [`Synthetic`].
    ///
    /// # Errors
    /// [`DataError::Empty`] for no rows or no features.
    pub fn synthetic(rows: u64, features: u32, noise: f64, seed: u64) -> Result<Self, DataError> {
        let empty = |what| DataError::Empty { name: "synthetic".into(), what };
        match (rows, features) {
            (0, _) => return Err(empty("rows: --samples is 0")),
            (_, 0) => return Err(empty("features: --features is 0")),
            _ => {}
        }
        let problem = Synthetic::new(features, noise, seed);
        let truth = problem.truth();
        Ok(Problem {
            name: "synthetic".into(),
            rows,
            features: features as usize,
            truth: Some(truth.params().into_iter().map(f64::from).collect()),
            scaling: None,
            source: Source::Synthetic(problem, Arc::new(truth)),
        })
    }

    /// A CSV file with a header line. `target` names the column of y, by default the last one.
    ///
    /// # Errors
    /// [`DataError`], naming the row and the column of what cannot be used.
    pub fn csv(path: &Path, target: Option<&str>) -> Result<Self, DataError> {
        file::read(path, target)
    }

    /// A problem from numbers in memory, `x` row after row.
    pub fn table(name: &str, features: usize, x: Vec<f64>, y: Vec<f64>) -> Self {
        Problem {
            name: name.into(),
            rows: y.len() as u64,
            features,
            truth: None,
            scaling: None,
            source: Source::Table { x, y },
        }
    }

    /// Scales every feature to mean 0 and standard deviation 1 (over all rows, as scikit-learn's
    /// `StandardScaler` does). A synthetic problem already has one scale, and stays as it is.
    pub fn standardize(&mut self) {
        if let Source::Table { x, .. } = &mut self.source {
            let scaling = Scaling::fit(x, self.features);
            scaling.apply(x);
            self.scaling = Some(scaling);
        }
    }

    /// Whether looking at all rows after every update costs nothing.
    pub fn is_small(&self) -> bool {
        self.rows.saturating_mul(self.features as u64) <= SMALL
    }

    /// The generator, where the rows need not be stored.
    pub fn generator(&self) -> Option<&Synthetic> {
        match &self.source {
            Source::Synthetic(problem, _) => Some(problem),
            Source::Table { .. } => None,
        }
    }

    /// Writes the rows from `first` on, as many as `y` is long, rounded to the type asked for.
    /// What a device computes with is `R = f32`.
    pub fn fill<R: Real>(&self, first: u64, x: &mut [R], y: &mut [R]) {
        match &self.source {
            Source::Table { x: from_x, y: from_y } => {
                let first = first as usize;
                let round = |to: &mut [R], from: &[f64]| {
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = R::of(from));
                };
                round(x, &from_x[first * self.features..]);
                round(y, &from_y[first..]);
            }
            Source::Synthetic(problem, truth) => {
                let width = problem.targets() as usize;
                let (mut row, mut targets) = (vec![0.0; self.features], vec![0.0; width]);
                let round = |to: &mut [R], from: &[f32]| {
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = R::of(from.into()));
                };
                for ((i, x), y) in (first..).zip(x.chunks_mut(self.features)).zip(y.chunks_mut(width)) {
                    problem.fill_row(truth, i, &mut row, &mut targets);
                    round(x, &row);
                    round(y, &targets);
                }
            }
        }
    }

    /// All rows in memory, made on all threads.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the host has not enough of it.
    pub fn materialize<R: Real>(&self) -> Result<(Vec<R>, Vec<R>), Error> {
        let zeros = |len: Option<usize>| {
            let mut values = Vec::new();
            let error = || Error::OutOfMemory {
                what: "the rows on the host",
                reason: format!("{} rows × {} features", self.rows, self.features),
            };
            let len = len.ok_or_else(error)?;
            values.try_reserve_exact(len).map_err(|_| error())?;
            values.resize(len, R::zero());
            Ok(values)
        };
        let rows = usize::try_from(self.rows).ok();
        let mut x = zeros(rows.and_then(|rows| rows.checked_mul(self.features)))?;
        let mut y = zeros(rows)?;
        let at_once = (1 << 16) / self.features.max(1) + 1;
        let x_parts = x.par_chunks_mut(at_once * self.features);
        x_parts.zip(y.par_chunks_mut(at_once)).enumerate().for_each(|(i, (x, y))| {
            self.fill((i * at_once) as u64, x, y);
        });
        Ok((x, y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of NumPy 2.4.6: `np.random.seed(1); np.random.uniform(-1, 1, 100)`.
    #[test]
    fn blog_data_are_those_of_numpy() {
        let (x, y) = Problem::blog().materialize::<f64>().unwrap();
        assert_eq!(x[0], -0.165955990594852);
        assert_eq!(x[1], 0.4406489868843162);
        assert_eq!(x[4], -0.7064882183657739);
        assert_eq!(x[99], 0.23428982724144776);
        assert_eq!(y[99], 2.5 * x[99] + 1.0);
    }

    #[test]
    fn parts_of_a_problem_are_those_of_the_whole() {
        for problem in [Problem::synthetic(1000, 7, 0.1, 5).unwrap(), Problem::blog()] {
            let (x, y) = problem.materialize::<f32>().unwrap();
            let d = problem.features;
            let (mut part_x, mut part_y) = (vec![0.0; 9 * d], vec![0.0; 9]);
            problem.fill(41, &mut part_x, &mut part_y);
            assert_eq!(part_x, x[41 * d..50 * d]);
            assert_eq!(part_y, y[41..50]);
        }
    }

    #[test]
    fn a_synthetic_problem_needs_rows_and_features() {
        Problem::synthetic(0, 3, 0.0, 1).unwrap_err();
        Problem::synthetic(3, 0, 0.0, 1).unwrap_err();
    }
}
