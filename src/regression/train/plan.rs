//! The definition of a run.

use super::{Batches, EarlyStopping};
use crate::regression::Problem;
use crate::schedule::Schedule;
use crate::{Error, Model, Penalty, Rule};

/// Rows of a batch and epochs of a run, where nothing else is set.
const BATCH: u64 = 32;
const EPOCHS: u64 = 10;

/// A model and the definition of its update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The model.
    pub model: Model,
    /// The update rule; its learning rate is replaced by that of the [`TrainPlan`].
    pub rule: Rule,
    /// The penalty of weights; intercepts have none.
    pub penalty: Penalty,
    /// The decay of a moving average of the parameters, in [0, 1). A run with an average ends with it as its
    /// parameters.
    pub average: Option<f64>,
}

impl Recipe {
    /// A model and a rule, without penalty and average.
    pub fn new(model: Model, rule: Rule) -> Self {
        Recipe { model, rule, penalty: Penalty::default(), average: None }
    }

    /// Checks every part.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], and the errors of the parts.
    pub fn validate(&self) -> Result<(), Error> {
        self.model.validate()?;
        self.rule.validate()?;
        self.penalty.validate()?;
        match self.average {
            Some(decay) => crate::check::Check("average").decay("decay", decay),
            None => Ok(()),
        }
    }
}

/// When an update of the device is compared with the f64 definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyEvery {
    /// Never.
    Never,
    /// The first update, then as often as checks stay below a share of the training time.
    Budget,
    /// Updates 1, 1 + k, 1 + 2k …
    Updates(u64),
}

/// The definition of a run.
#[derive(Clone, Debug)]
pub struct TrainPlan {
    /// The model and its update.
    pub recipe: Recipe,
    /// The learning rate of every update.
    pub learning_rate: Schedule,
    /// The batches, in order; the run ends with the last one.
    pub batches: Batches,
    /// Rows to train on, from row 0; the loss over all rows is that over them.
    pub rows: u64,
    /// When to stop before the last batch, if at all.
    pub stopping: Option<EarlyStopping>,
    /// How often an update is verified.
    pub verify: VerifyEvery,
    /// Updates between two losses over all rows; 0 evaluates only after the last update.
    pub eval_every: u64,
    /// Whether the observer gets the parameters after every update.
    pub trace: bool,
    /// How many consecutive updates may be skipped because their loss, a parameter or a moment is not finite. With
    /// 0 nothing is skipped: the run fails at the first loss that is not finite.
    pub max_skips: u32,
}

impl TrainPlan {
    /// Ten epochs over all rows in batches of 32, in the order of the data, at the rule's own learning rate and
    /// without verification.
    ///
    /// # Errors
    /// [`Error`] if the recipe is not valid.
    pub fn new(problem: &Problem, recipe: Recipe) -> Result<Self, Error> {
        recipe.validate()?;
        Ok(TrainPlan {
            recipe,
            learning_rate: Schedule::constant(recipe.rule.lr())?,
            batches: Batches::epochs(problem.rows, BATCH.min(problem.rows), EPOCHS),
            rows: problem.rows,
            stopping: None,
            verify: VerifyEvery::Never,
            eval_every: 0,
            trace: false,
            max_skips: 0,
        })
    }

    /// Checks the plan against the rows of a problem.
    ///
    /// # Errors
    /// [`Error`] for a recipe that is not valid, a model of other rows, or a batch that has no rows or rows that
    /// the problem does not have.
    pub fn validate(&self, problem: &Problem) -> Result<(), Error> {
        self.recipe.validate()?;
        let model = &self.recipe.model;
        for (what, actual, expected) in [
            ("features of the model", model.features, problem.features),
            ("auxiliary columns of the model", model.aux_columns(), problem.aux_columns()),
        ] {
            if actual != expected {
                let (actual, expected) = (actual as u64, expected as u64);
                return Err(Error::Length { what: what.into(), actual, expected });
            }
        }
        let between = |what, value: u64, holds| match holds {
            true => Ok(()),
            false => Err(Error::Shape { what, value, range: "1 ≤ value ≤ rows of the problem" }),
        };
        let held_out = self.stopping.map_or(0, |stopping| stopping.validation_rows);
        let needed = self.rows.saturating_add(held_out);
        between("rows to train on and to hold out", needed, self.rows > 0 && needed <= problem.rows)?;
        match &self.batches {
            Batches::Epochs { rows, size, .. } => {
                between("rows of an epoch", *rows, (1..=problem.rows).contains(rows))?;
                between("rows of a batch", *size, (1..=*rows).contains(size))
            }
            Batches::Given(batches) => batches.iter().try_for_each(|batch| {
                let (first, rows) = match &batch.window {
                    Some(window) => (window.first, window.rows.into()),
                    None => (batch.first, batch.rows),
                };
                let inside = first.checked_add(rows).is_some_and(|end| end <= problem.rows);
                between("rows of a batch", batch.rows, batch.rows > 0 && inside)
            }),
        }
    }
}
