//! Rows that the caller has in memory.

use super::{Problem, ProblemError, Source, held_out, scaling};
use crate::Error;
use crate::cpu::Real;
use std::convert::Infallible;
use std::sync::Arc;

/// Rows in memory, as slices of f32 or f64: [`Problem::from_table`] copies them.
///
/// ```
/// use wgpu_optim::regression::{Problem, Table};
/// let x = [0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0];
/// let problem = Problem::from_table("pairs", Table::new(2, &x, &[1.0, 2.0, 3.0]))?;
/// assert_eq!((problem.rows, problem.features), (3, 2));
/// # Ok::<(), wgpu_optim::regression::ProblemError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Table<'a, R> {
    features: usize,
    x: &'a [R],
    targets: (usize, &'a [R]),
    weights: Option<&'a [R]>,
    offsets: Option<&'a [R]>,
}

impl<'a, R: Element> Table<'a, R> {
    /// Rows of `features` features, row-major in `x`, and one target each.
    pub fn new(features: usize, x: &'a [R], targets: &'a [R]) -> Self {
        Table { features, x, targets: (1, targets), weights: None, offsets: None }
    }

    /// Takes the targets as `outputs` a row, row-major.
    pub fn outputs(self, outputs: usize) -> Self {
        Table { targets: (outputs, self.targets.1), ..self }
    }

    /// A weight ≥ 0 for each row.
    pub fn weights(self, weights: &'a [R]) -> Self {
        Table { weights: Some(weights), ..self }
    }

    /// An offset for each row, which is added to its scores: the logarithm of an exposure.
    pub fn offsets(self, offsets: &'a [R]) -> Self {
        Table { offsets: Some(offsets), ..self }
    }

    /// Checks lengths and values, and returns the number of rows.
    fn check(&self, name: &str) -> Result<usize, ProblemError> {
        let (outputs, targets) = self.targets;
        for (what, count) in [("features", self.features), ("targets", outputs), ("rows", targets.len())]
        {
            if count == 0 {
                return Err(ProblemError::Empty { name: name.into(), what });
            }
        }
        let rows = targets.len() / outputs;
        let columns = [
            ("targets", Some((targets, outputs)), f64::NEG_INFINITY),
            ("features", Some((self.x, self.features)), f64::NEG_INFINITY),
            ("weights", self.weights.map(|weights| (weights, 1)), 0.0),
            ("offsets", self.offsets.map(|offsets| (offsets, 1)), f64::NEG_INFINITY),
        ];
        for (what, column, least) in columns {
            let Some((values, width)) = column else { continue };
            let (actual, expected) = (values.len() as u64, rows as u64 * width as u64);
            if actual != expected {
                let what = format!("{name}: {what}");
                return Err(Error::Length { what, actual, expected }.into());
            }
            let usable = |value: f64| (value as f32).is_finite() && value >= least;
            if let Some(at) = values.iter().position(|value| !usable(value.f64())) {
                let range = if least == 0.0 { "finite in f32 and ≥ 0" } else { "finite in f32" };
                let (name, row, value) = (name.into(), (at / width) as u64, values[at].f64());
                return Err(ProblemError::Value { name, what, row, value, range });
            }
        }
        Ok(rows)
    }
}

/// f32 or f64.
pub trait Element: Real {
    #[doc(hidden)]
    fn features(values: Vec<Self>) -> Features;
}

impl Element for f32 {
    fn features(values: Vec<f32>) -> Features {
        Features::Single(Arc::new(values))
    }
}

impl Element for f64 {
    fn features(values: Vec<f64>) -> Features {
        Features::Double(Arc::new(values))
    }
}

/// The features of a table, as wide as the caller's.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub enum Features {
    Single(Arc<Vec<f32>>),
    Double(Arc<Vec<f64>>),
}

impl Features {
    /// The rows in the order that puts those held out last.
    pub(super) fn reorder(&self, order: &held_out::Order, width: usize) -> Self {
        match self {
            Features::Single(x) => Features::Single(Arc::new(reorder(x, order, width))),
            Features::Double(x) => Features::Double(Arc::new(reorder(x, order, width))),
        }
    }
}

/// Rows of `width` numbers in the order that puts those held out last.
pub(super) fn reorder<R: Copy>(from: &[R], order: &held_out::Order, width: usize) -> Vec<R> {
    let mut to = Vec::with_capacity(from.len());
    let Ok(()) = order.runs::<Infallible>(0, (from.len() / width) as u64, |_, first, rows| {
        to.extend_from_slice(&from[first as usize * width..][..rows as usize * width]);
        Ok(())
    });
    to
}

impl Problem {
    /// A problem from rows in memory, which are copied; features stay as wide as they are.
    ///
    /// # Errors
    /// [`Error::Length`] for slices that are not of the same number of rows, [`ProblemError::Empty`] for no rows,
    /// features or targets, and [`ProblemError::Value`] for a value that is not finite in f32 or a negative weight.
    pub fn from_table<R: Element>(name: &str, table: Table<R>) -> Result<Self, ProblemError> {
        let rows = table.check(name)?;
        let (outputs, targets) = table.targets;
        let of = |column: Option<&[R]>, row: usize| column.map(|values| values[row].f64());
        let mut aux = Vec::with_capacity(targets.len() + 2 * rows);
        for (row, targets) in targets.chunks(outputs).enumerate() {
            aux.extend(targets.iter().map(|target| target.f64()));
            aux.extend(of(table.weights, row));
            aux.extend(of(table.offsets, row));
        }
        let weights = table.weights.into_iter().flatten();
        let greatest = weights.fold(0.0, |greatest: f64, weight| greatest.max(weight.f64()));
        Ok(Problem {
            name: name.into(),
            rows: rows as u64,
            targets: outputs,
            weighted: table.weights.is_some(),
            offset: table.offsets.is_some(),
            weight_scale: scaling::of_weights(greatest),
            source: Source::Table { x: R::features(table.x.to_vec()), aux: Arc::new(aux) },
            ..Self::of_shape(table.features)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loss;

    const X: [f32; 6] = [0.5, -1.0, 2.0, 0.25, -0.5, 3.0];
    const Y: [f32; 3] = [1.0, -2.0, 0.5];

    #[test]
    fn rows_of_a_table_are_the_callers() {
        let (weights, offsets) = ([4.0f32, 0.0, 6.0], [0.1f32, 0.2, 0.3]);
        let table = Table::new(2, &X, &Y).weights(&weights).offsets(&offsets);
        let mut problem = Problem::from_table("t", table).unwrap();
        let model = problem.model(Loss::Mse, true).unwrap();
        assert!(model.weighted && model.offset);
        let (x, aux) = problem.materialize::<f32>().unwrap();
        assert_eq!(x, X);
        // The greatest weight is scaled into [1, 2).
        assert_eq!(aux, [1.0, 1.0, 0.1, -2.0, 0.0, 0.2, 0.5, 1.5, 0.3]);
        let pairs = Problem::from_table("t", Table::new(3, &X, &Y[..2]).outputs(1)).unwrap();
        assert_eq!((pairs.rows, pairs.targets), (2, 1));
        let pairs = Problem::from_table("t", Table::new(6, &X, &Y).outputs(3)).unwrap();
        assert_eq!((pairs.rows, pairs.targets), (1, 3));
    }

    #[test]
    fn f32_and_f64_are_the_same_problem() {
        let (wide_x, wide_y) = (X.map(f64::from), Y.map(f64::from));
        let mut problems = [
            Problem::from_table("t", Table::new(2, &X, &Y)).unwrap(),
            Problem::from_table("t", Table::new(2, &wide_x, &wide_y)).unwrap(),
            Problem::table("t", 2, wide_x.to_vec(), wide_y.to_vec()),
        ];
        for problem in &mut problems {
            problem.standardize();
            problem.hold_out(0.3, 7).unwrap();
        }
        let [single, double, table] = problems.each_ref().map(|p| p.materialize::<f64>().unwrap());
        assert_eq!(single, double);
        assert_eq!(single, table);
    }

    #[test]
    fn what_is_not_a_table_is_refused_with_numbers() {
        let refused = |table: Table<f32>| Problem::from_table("t", table).unwrap_err().to_string();
        let short = refused(Table::new(2, &X[..5], &Y));
        assert!(short.contains("t: features") && short.contains('5') && short.contains('6'), "{short}");
        let long = refused(Table::new(2, &X, &Y).weights(&X));
        assert!(long.contains("t: weights") && long.contains('3') && long.contains('6'), "{long}");
        assert!(refused(Table::new(2, &X, &Y).offsets(&Y[..1])).contains("t: offsets"));
        assert!(refused(Table::new(2, &X, &Y).outputs(2)).contains("t: targets"));
        assert_eq!(refused(Table::new(0, &[], &Y)), "t has no features");
        assert_eq!(refused(Table::new(2, &[], &[])), "t has no rows");
        assert_eq!(refused(Table::new(2, &X, &Y).outputs(0)), "t has no targets");
        let negative = refused(Table::new(2, &X, &Y).weights(&Y));
        assert_eq!(negative, "t: weights of row 1 are -2, and must be finite in f32 and ≥ 0");
        let nan = [0.0, f32::NAN, 0.0];
        assert!(refused(Table::new(2, &X, &nan)).contains("targets of row 1 are NaN"));
        let wide = [0.0, 1e39, 0.0];
        let error = Problem::from_table("t", Table::new(1, &wide, &[0.0; 3])).unwrap_err().to_string();
        assert!(error.contains("features of row 1 are 1"), "{error}");
    }
}
