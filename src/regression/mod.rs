//! Regression problems and their data, models, kernels, training and metrics.

mod batch;
mod blog;
mod column;
#[cfg(feature = "files")]
pub mod data;
pub mod device;
mod evaluation;
mod held_out;
#[cfg(feature = "files")]
mod identity;
pub mod kernels;
mod loss;
pub mod machine;
pub mod metrics;
mod model;
#[cfg(feature = "files")]
pub mod model_file;
pub mod nodes;
pub mod reference;
mod rows;
mod scaling;
mod table;
mod tasks;
pub mod train;
pub mod verification;

pub use batch::{Batch, Window};
pub use blog::BlogRandom;
pub use column::Column;
pub use device::Gpu;
pub use evaluation::Evaluation;
pub use loss::{Loss, TargetKind};
pub use model::Model;
pub use scaling::Scaling;
pub use table::{Element, Table};

#[cfg(feature = "files")]
use self::data::{About, DataError, FileData, FileOptions, Skipped, Targets};
use self::table::Features;
use crate::Error;
use crate::check::Check;
use crate::regression::reference::synthetic::{Options, Synthetic, Truth};
#[cfg(feature = "files")]
use std::path::Path;
use std::sync::Arc;

/// A problem with fewer elements of X is small: evaluating all rows after every update is cheap.
const SMALL: u64 = 1 << 16;

/// A data set for training: features X and auxiliary columns.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Name in reports.
    pub name: String,
    /// Number of rows of X.
    pub rows: u64,
    /// Number of columns of X.
    pub features: usize,
    /// Names of the features; empty if they have none.
    pub names: Vec<String>,
    /// Names of the targets; empty if they have none.
    pub target_names: Vec<String>,
    /// Number of targets of a row.
    pub targets: usize,
    /// Whether rows have weights.
    pub weighted: bool,
    /// Whether rows have offsets.
    pub offset: bool,
    /// Labels of the classes in ascending order, if the target is a class: a row has the index of its label.
    pub classes: Option<Vec<f64>>,
    /// Names of the [`classes`](Self::classes), if labels are words.
    pub class_names: Option<Vec<String>>,
    /// True parameters in the order of [`Model`], if they are known.
    pub truth: Option<Vec<f64>>,
    /// Scaling of the features, if they are scaled.
    pub scaling: Option<Scaling>,
    /// Rows of the file that were skipped.
    #[cfg(feature = "files")]
    pub skipped: Skipped,
    /// Metadata of the file, if the rows come from a file.
    #[cfg(feature = "files")]
    pub file: Option<Arc<About>>,
    /// Factor of the sample weights.
    weight_scale: f64,
    /// Order of the rows of a streamed file with held-out rows.
    #[cfg(feature = "files")]
    order: Option<Arc<held_out::Order>>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Table {
        x: Features,
        aux: Arc<Vec<f64>>,
    },
    Synthetic(Synthetic, Arc<Truth>, #[cfg_attr(not(feature = "files"), expect(dead_code))] Options),
    #[cfg(feature = "files")]
    File(Arc<FileData>),
}

/// An error of preparing or reading a problem.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemError {
    /// The data cannot be read.
    #[cfg(feature = "files")]
    #[error(transparent)]
    Data(#[from] DataError),
    /// There are no rows, features or targets.
    #[error("{name} has no {what}")]
    Empty {
        /// The data set.
        name: String,
        /// The absent part.
        what: &'static str,
    },
    /// Out of memory, or a setting is out of range.
    #[error(transparent)]
    Library(#[from] Error),
    /// A value in memory cannot be trained on.
    #[error("{name}: {what} of row {row} are {value}, and must be {range}")]
    Value {
        /// The data set.
        name: String,
        /// The slice.
        what: &'static str,
        /// The row, from 0.
        row: u64,
        /// The value.
        value: f64,
        /// The permitted range.
        range: &'static str,
    },
    /// The targets do not suit the loss.
    #[error("{name}: {reason}")]
    Targets {
        /// The data set.
        name: String,
        /// The reason.
        reason: String,
    },
}

impl Problem {
    /// Maximum number of rows of a synthetic problem.
    pub const MAX_ROWS: u64 = 1 << 40;

    /// Returns the data of the blog series: 100 values from U(−1, 1), y = 2.5·x + 1, without noise.
    pub fn blog() -> Self {
        let mut random = BlogRandom::new();
        let x: Vec<f64> = (0..100).map(|_| random.uniform()).collect();
        let y = x.iter().map(|x| 2.5 * x + 1.0).collect();
        let truth = Some(vec![2.5, 1.0]);
        Problem { truth, ..Self::table("blog", 1, x, y) }
    }

    /// Returns a problem with known parameters, generated from a seed: see [`Synthetic`].
    ///
    /// # Errors
    /// [`ProblemError::Empty`] for no rows; [`Error`] for options out of range.
    pub fn synthetic(rows: u64, options: &Options) -> Result<Self, ProblemError> {
        let name = String::from("synthetic");
        if rows == 0 {
            return Err(ProblemError::Empty { name, what: "rows: --samples is 0" });
        }
        // At one row per nanosecond the maximum takes a quarter of an hour.
        let (holds, range) = (rows <= Self::MAX_ROWS, "1 ≤ value ≤ 1099511627776");
        Check("synthetic").that(holds, "samples", rows as f64, range)?;
        let problem = Synthetic::with_options(options)?;
        let truth = Arc::new(problem.truth());
        let params = truth.params().into_iter().map(f64::from).collect();
        let features = problem.features() as usize;
        let targets = problem.targets() as usize;
        let classes = match options.response {
            crate::regression::reference::synthetic::Response::Bernoulli => Some(2),
            crate::regression::reference::synthetic::Response::Categorical => Some(problem.outputs()),
            _ => None,
        };
        Ok(Problem {
            name,
            rows,
            targets,
            classes: classes.map(|classes| (0..classes).map(f64::from).collect()),
            truth: Some(params),
            source: Source::Synthetic(problem, truth, *options),
            ..Self::of_shape(features)
        })
    }

    /// Opens a file with [`data::open`].
    ///
    /// # Errors
    /// [`DataError`], naming the row and the column of the defect.
    #[cfg(feature = "files")]
    pub fn file(path: &Path, options: &FileOptions) -> Result<Self, DataError> {
        let file = data::open(path, options)?;
        Ok(Problem {
            name: file.name.clone(),
            rows: file.rows,
            names: file.names.clone(),
            target_names: file.target_names.clone(),
            targets: file.targets,
            weighted: file.weighted,
            offset: file.offset,
            skipped: file.skipped.clone(),
            file: Some(file.about.clone()),
            weight_scale: scaling::of_weights(file.greatest_weight),
            ..Self::of_shape(file.features())
        }
        .from(Source::File(Arc::new(file))))
    }

    /// Opens a CSV file with a header. `target` names the column of y, by default the last one.
    ///
    /// # Errors
    /// Those of [`file`](Self::file).
    #[cfg(feature = "files")]
    pub fn csv(path: &Path, target: Option<&str>) -> Result<Self, DataError> {
        let targets = target.map_or(Targets::Last, |target| Targets::Named(vec![target.into()]));
        Self::file(path, &FileOptions { targets, ..FileOptions::default() })
    }

    /// Returns a problem from numbers in memory: `x` in row-major order, and one target per row. [`Problem::from_table`]
    /// checks them.
    pub fn table(name: &str, features: usize, x: Vec<f64>, y: Vec<f64>) -> Self {
        let rows = y.len() as u64;
        let source = Source::Table { x: Features::Double(Arc::new(x)), aux: Arc::new(y) };
        Problem { name: name.into(), rows, ..Self::of_shape(features) }.from(source)
    }

    fn of_shape(features: usize) -> Self {
        Problem {
            name: String::new(),
            rows: 0,
            features,
            names: Vec::new(),
            target_names: Vec::new(),
            targets: 1,
            weighted: false,
            offset: false,
            classes: None,
            class_names: None,
            truth: None,
            scaling: None,
            #[cfg(feature = "files")]
            skipped: Skipped::default(),
            #[cfg(feature = "files")]
            file: None,
            weight_scale: 1.0,
            #[cfg(feature = "files")]
            order: None,
            source: Source::Table { x: Features::Double(Arc::default()), aux: Arc::default() },
        }
    }

    fn from(self, source: Source) -> Self {
        Problem { source, ..self }
    }

    /// Returns the number of auxiliary columns: targets, sample weight, offset.
    pub fn aux_columns(&self) -> usize {
        self.targets + usize::from(self.weighted) + usize::from(self.offset)
    }

    /// Standardizes every feature to mean 0 and standard deviation 1 over all rows, as scikit-learn's `StandardScaler`
    /// does. Leaves synthetic problems unchanged, whose features have a common scale.
    pub fn standardize(&mut self) {
        self.scaling = match &self.source {
            Source::Synthetic(..) => None,
            Source::Table { x: Features::Single(x), .. } => Some(Scaling::fit(x, self.features)),
            Source::Table { x: Features::Double(x), .. } => Some(Scaling::fit(x, self.features)),
            #[cfg(feature = "files")]
            Source::File(file) => Some(Scaling::of_columns(&file.columns, file.rows)),
        };
    }

    /// Returns a model of this problem. For a classification it finds the classes, after which rows have class indices,
    /// and sets the number of `classes` of a softmax.
    ///
    /// # Errors
    /// [`ProblemError::Targets`] if the targets do not suit the loss; [`Error`] of [`Model::validate`].
    pub fn model(&mut self, loss: Loss, intercept: bool) -> Result<Model, ProblemError> {
        let refuse =
            |name: &String, reason: String| Err(ProblemError::Targets { name: name.clone(), reason });
        if loss.is_classifier() {
            if self.targets != 1 {
                let reason =
                    format!("there are {} targets, but a classifier needs exactly one", self.targets);
                return refuse(&self.name, reason);
            }
            let found = self.labels()?;
            let two = loss.target_kind() == TargetKind::Binary;
            if found.len() < 2 || (two && found.len() > 2) {
                let expected = if two { "two classes" } else { "at least two classes" };
                let reason = format!(
                    "the target has {} different values, but {} needs {expected}",
                    found.len(),
                    loss.name()
                );
                return refuse(&self.name, reason);
            }
            self.class_names = self.names_of_classes(&found);
            self.classes = Some(found);
        } else {
            (self.classes, self.class_names) = (None, None);
            if matches!(loss, Loss::Poisson) {
                let (least, greatest) = self.target_range();
                let most = Loss::MAX_LOG_MEAN;
                if least < 0.0 {
                    let reason = "a target is negative, but poisson counts from 0".into();
                    return refuse(&self.name, reason);
                }
                if greatest > most.exp() {
                    let reason = format!(
                        "a target is {greatest:e}, but poisson counts up to e^{most} = {:.6e}: use a larger unit",
                        most.exp()
                    );
                    return refuse(&self.name, reason);
                }
            }
        }
        let loss = match (&self.classes, loss) {
            (Some(classes), Loss::Softmax { .. }) => Loss::Softmax { classes: classes.len() as u32 },
            _ => loss,
        };
        let outputs = match loss {
            Loss::Softmax { classes } => classes as usize,
            _ => self.targets,
        };
        let (weighted, offset) = (self.weighted, self.offset);
        let model = Model { outputs, intercept, weighted, offset, ..Model::new(self.features, loss) };
        model.validate()?;
        Ok(model)
    }

    /// The names of classes, if labels of the file are words.
    #[cfg(feature = "files")]
    fn names_of_classes(&self, found: &[f64]) -> Option<Vec<String>> {
        let names = self.file.as_ref()?.labels.as_ref()?;
        // Some labels may occur only in skipped rows.
        Some(found.iter().filter_map(|&i| names.get(i as usize).cloned()).collect())
    }

    #[cfg(not(feature = "files"))]
    fn names_of_classes(&self, _: &[f64]) -> Option<Vec<String>> {
        None
    }

    /// The distinct values of the target.
    fn labels(&self) -> Result<Vec<f64>, ProblemError> {
        let too_many = || ProblemError::Targets {
            name: self.name.clone(),
            reason: "the target has more than 4096 different values, too many for classes".into(),
        };
        match &self.source {
            Source::Synthetic(..) => Ok(self.classes.clone().unwrap_or_default()),
            #[cfg(feature = "files")]
            Source::File(file) => file.target_values.clone().ok_or_else(too_many),
            Source::Table { aux, .. } => {
                let mut values: Vec<f64> = aux.iter().step_by(self.aux_columns()).copied().collect();
                values.sort_by(f64::total_cmp);
                values.dedup();
                if values.len() > Loss::MAX_OUTPUTS as usize { Err(too_many()) } else { Ok(values) }
            }
        }
    }

    /// The smallest and the largest target of a Poisson regression; for a synthetic problem a valid range.
    fn target_range(&self) -> (f64, f64) {
        match &self.source {
            Source::Synthetic(..) => (0.0, 0.0),
            #[cfg(feature = "files")]
            Source::File(file) => (file.least_target, file.greatest_target),
            Source::Table { aux, .. } => {
                let targets =
                    aux.chunks(self.aux_columns()).flat_map(|aux_row| &aux_row[..self.targets]);
                let widen = |(least, greatest): (f64, f64), &y: &f64| (least.min(y), greatest.max(y));
                targets.fold((f64::INFINITY, f64::NEG_INFINITY), widen)
            }
        }
    }

    /// Whether evaluating all rows after every update is cheap.
    pub fn is_small(&self) -> bool {
        self.rows.saturating_mul(self.features as u64) <= SMALL
    }

    /// Whether the rows are streamed from a file that exceeds the memory limit.
    pub fn is_streamed(&self) -> bool {
        match &self.source {
            #[cfg(feature = "files")]
            Source::File(file) => file.is_streamed(),
            _ => false,
        }
    }

    /// Returns the generator of a synthetic problem.
    pub fn generator(&self) -> Option<&Synthetic> {
        match &self.source {
            Source::Synthetic(problem, ..) => Some(problem),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synthetic(rows: u64, features: u32) -> Result<Problem, ProblemError> {
        Problem::synthetic(rows, &Options { features, noise: 0.1, seed: 5, ..Options::default() })
    }

    /// From NumPy 2.4.6: `np.random.seed(1); np.random.uniform(-1, 1, 100)`.
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
        for problem in [synthetic(1000, 7).unwrap(), Problem::blog()] {
            let (x, y) = problem.materialize::<f32>().unwrap();
            let d = problem.features;
            let (mut part_x, mut part_y) = (vec![0.0; 9 * d], vec![0.0; 9]);
            problem.fill(41, &mut part_x, &mut part_y).unwrap();
            assert_eq!(part_x, x[41 * d..50 * d]);
            assert_eq!(part_y, y[41..50]);
        }
    }

    #[test]
    fn a_synthetic_problem_needs_rows_and_features() {
        synthetic(0, 3).unwrap_err();
        synthetic(3, 0).unwrap_err();
    }

    #[test]
    fn classes_are_found_and_rows_have_their_indices() {
        let labels = vec![7.0, -1.0, 7.0, 3.0];
        let mut problem = Problem::table("t", 1, vec![0.0; 4], labels);
        let model = problem.model(Loss::Softmax { classes: 2 }, true).unwrap();
        assert_eq!(model.loss, Loss::Softmax { classes: 3 });
        assert_eq!(problem.classes, Some(vec![-1.0, 3.0, 7.0]));
        let (_, aux) = problem.materialize::<f64>().unwrap();
        assert_eq!(aux, [2.0, 0.0, 2.0, 1.0]);
        let error = problem.model(Loss::Logistic, true).unwrap_err().to_string();
        assert_eq!(error, "t: the target has 3 different values, but logistic needs two classes");
        let error = problem.model(Loss::Poisson, true).unwrap_err().to_string();
        assert_eq!(error, "t: a target is negative, but poisson counts from 0");
        let mut counts = Problem::table("t", 1, vec![0.0; 2], vec![0.0, Loss::MAX_LOG_MEAN.exp()]);
        counts.model(Loss::Poisson, true).unwrap();
        let mut counts = Problem::table("t", 1, vec![0.0; 2], vec![0.0, 4e16]);
        let error = counts.model(Loss::Poisson, true).unwrap_err().to_string();
        assert!(
            error.starts_with("t: a target is 4e16, but poisson counts up to e^38 = 3.18559"),
            "{error}"
        );
    }
}
