//! Why a run diverged, according to its data.

use super::{TrainError, TrainPlan};
use crate::regression::{Problem, ProblemError};
use std::fmt::{self, Display, Formatter};

/// Numbers of X that are examined, in all and at a time.
const MOST: u64 = 1 << 26;
const TOGETHER: u64 = 1 << 20;
/// About the root of the largest f32: larger values have no squared loss and no second moment in f32.
const ROOT: f64 = 1e18;
/// Weights this small vanish beside others in f32.
const TINY: f64 = 1e-30;
/// How much steeper than with standardized features a loss must be for the features to be the cause.
const STEEPER: f64 = 10.0;

/// Why a run diverged, as far as its data show.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// Not examined.
    #[default]
    Unknown,
    /// The data are unremarkable, which leaves the learning rate.
    LearningRate {
        /// The learning rate of the update.
        lr: f64,
    },
    /// Features differ in scale, or are too large for f32.
    Features {
        /// The name of the largest one.
        name: String,
        /// Its largest magnitude in training.
        largest: f64,
        /// Whether the features are standardized.
        standardized: bool,
        /// The learning rate of the update.
        lr: f64,
    },
    /// Targets are too large for f32.
    Targets {
        /// The largest magnitude.
        largest: f64,
    },
    /// Offsets are too large for f32.
    Offsets {
        /// The largest magnitude.
        largest: f64,
    },
    /// All rows to train on have tiny weights beside held-out rows.
    Weights {
        /// The largest weight of a row to train on, where the largest of all rows is in [1, 2).
        largest: f64,
    },
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Cause::Unknown => Ok(()),
            Cause::LearningRate { lr } => write!(f, "; a lower learning rate than {lr} may help"),
            Cause::Features { name, largest, standardized: true, .. } => write!(
                f,
                "; feature `{}` reaches {largest:e} after it was standardized: look at its outliers",
                name.escape_debug()
            ),
            Cause::Features { name, largest, lr, .. } => write!(
                f,
                "; feature `{}` reaches {largest:e}: features on one scale (--standardize), or a lower learning \
                 rate than {lr}, may help",
                name.escape_debug()
            ),
            Cause::Targets { largest } => write!(
                f,
                "; targets are too large for f32: they reach {largest:e}, and need a larger unit"
            ),
            Cause::Offsets { largest } => {
                write!(f, "; offsets are too large for f32: they reach {largest:e}")
            }
            Cause::Weights { largest } => write!(
                f,
                "; weights are too small for f32: those to train on are at most {largest:e} of the largest one"
            ),
        }
    }
}

/// Extreme values of the rows to train on.
struct Extremes {
    /// The largest magnitude and the mean square of each feature.
    features: Vec<(f64, f64)>,
    target: f64,
    offset: f64,
    weight: f64,
}

impl Extremes {
    fn of(problem: &Problem, rows: u64) -> Result<Self, ProblemError> {
        let (features, aux_columns) = (problem.features, problem.aux_columns());
        let rows = rows.min(MOST / features as u64).max(1);
        let mut found =
            Extremes { features: vec![(0.0, 0.0); features], target: 0.0, offset: 0.0, weight: 0.0 };
        let part = (TOGETHER / features as u64).max(1);
        for first in (0..rows).step_by(part as usize) {
            let many = part.min(rows - first) as usize;
            let (mut x, mut aux) = (vec![0.0f64; many * features], vec![0.0; many * aux_columns]);
            problem.fill(first, &mut x, &mut aux)?;
            for row in x.chunks(features) {
                for ((largest, square), x) in found.features.iter_mut().zip(row) {
                    *largest = largest.max(x.abs());
                    *square += x * x / rows as f64;
                }
            }
            for aux_row in aux.chunks(aux_columns) {
                let (targets, rest) = aux_row.split_at(problem.targets);
                found.target = targets.iter().fold(found.target, |largest, y| largest.max(y.abs()));
                let (weight, offset) = rest.split_at(usize::from(problem.weighted));
                found.weight = weight.first().map_or(1.0, |weight| found.weight.max(*weight));
                found.offset = offset.iter().fold(found.offset, |largest, z| largest.max(z.abs()));
            }
        }
        Ok(found)
    }

    /// The index and the magnitude of the largest feature.
    fn largest_feature(&self) -> (usize, f64) {
        let largest = |best: (usize, f64), (j, &(x, _)): (usize, &(f64, f64))| {
            if x > best.1 { (j, x) } else { best }
        };
        self.features.iter().enumerate().fold((0, 0.0), largest)
    }
}

impl Cause {
    /// The cause for a run that diverged at this learning rate; `None` before its first update.
    fn of(problem: &Problem, plan: &TrainPlan, lr: Option<f64>) -> Result<Self, ProblemError> {
        let found = Extremes::of(problem, plan.rows)?;
        let (j, largest) = found.largest_feature();
        let features = |lr: f64| Cause::Features {
            name: problem.names.get(j).cloned().unwrap_or_else(|| format!("x{}", j + 1)),
            largest,
            standardized: problem.scaling.is_some(),
            lr,
        };
        if problem.weighted && found.weight < TINY {
            return Ok(Cause::Weights { largest: found.weight });
        }
        // All parameters are 0 at the start, so features have no effect.
        let Some(lr) = lr else {
            return Ok(match found.offset > found.target {
                true => Cause::Offsets { largest: found.offset },
                false => Cause::Targets { largest: found.target },
            });
        };
        if found.offset >= ROOT {
            return Ok(Cause::Offsets { largest: found.offset });
        }
        // The gradient is a product of targets and features.
        if found.target >= ROOT || largest >= ROOT || found.target.max(1.0) * largest >= ROOT {
            let feature = largest > found.target;
            return Ok(if feature { features(lr) } else { Cause::Targets { largest: found.target } });
        }
        // The trace of the features' second moments bounds how steep the loss is.
        let steepness: f64 = found.features.iter().map(|(_, square)| square).sum();
        let standardized = problem.scaling.is_some();
        if !standardized && steepness > STEEPER * (problem.features as f64 + 1.0) {
            return Ok(features(lr));
        }
        Ok(Cause::LearningRate { lr })
    }
}

impl TrainError {
    /// Adds the cause to a divergence.
    pub(super) fn explained(mut self, problem: &Problem, plan: &TrainPlan) -> Self {
        let (cause, update) = match &mut self {
            TrainError::Diverged { cause, update, .. }
            | TrainError::Overflow { cause, update }
            | TrainError::Skipped { cause, update, .. } => (cause, Some(*update)),
            TrainError::NotFinite { cause, .. } => (cause, None),
            _ => return self,
        };
        let lr = update.map(|update| plan.learning_rate.at(update.saturating_sub(1)));
        // If the rows cannot be read any more, the cause stays unknown.
        *cause = Cause::of(problem, plan, lr).unwrap_or_default();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regression::train::{Batches, Recipe, VerifyEvery};
    use crate::schedule::Schedule;
    use crate::{Loss, Sgd};

    fn cause(x: &[f64], y: &[f64], standardize: bool, lr: Option<f64>) -> String {
        let mut problem = Problem::table("t", x.len() / y.len(), x.to_vec(), y.to_vec());
        if standardize {
            problem.standardize();
        }
        let model = problem.model(Loss::Mse, true).unwrap();
        let rows = problem.rows;
        let plan = TrainPlan {
            recipe: Recipe::new(model, Sgd::default().into()),
            learning_rate: Schedule::constant(0.5).unwrap(),
            batches: Batches::Epochs { rows, size: 1, updates: 1, shuffle: None },
            rows,
            stopping: None,
            verify: VerifyEvery::Never,
            eval_every: 0,
            trace: false,
            max_skips: 0,
        };
        Cause::of(&problem, &plan, lr).unwrap().to_string()
    }

    #[test]
    fn the_cause_is_what_the_data_say() {
        let (x, y) = ([1.0, 0.0, -1.0, 0.5], [1.0, 2.0, -1.0, 0.0]);
        let lr = Some(0.5);
        assert_eq!(cause(&x, &y, false, lr), "; a lower learning rate than 0.5 may help");
        let large = x.map(|x| 1e4 * x);
        let scale = "; feature `x1` reaches 1e4: features on one scale (--standardize), or a lower learning rate \
                     than 0.5, may help";
        assert_eq!(cause(&large, &y, false, lr), scale);
        // Standardized features need no advice to standardize.
        assert_eq!(cause(&large, &y, true, lr), "; a lower learning rate than 0.5 may help");
        let targets = "; targets are too large for f32: they reach 2e30, and need a larger unit";
        for (lr, x) in [(lr, x), (None, x), (None, x.map(|x| 1e35 * x))] {
            assert_eq!(cause(&x, &y.map(|y| 1e30 * y), false, lr), targets);
        }
        let text = cause(&x.map(|x| 1e30 * x), &y, false, lr);
        assert!(text.starts_with("; feature `x1` reaches 1e30:"), "{text}");
    }
}
