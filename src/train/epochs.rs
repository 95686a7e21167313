//! What a run keeps of its epochs, for stopping early.

use super::stopping::{EarlyStopping, Verdict, Watched, score};
use super::{Plan, TrainError, Worker};

/// What is known of the epochs so far.
pub struct Epochs<'a> {
    pub watched: Watched,
    stopping: EarlyStopping,
    plan: &'a Plan,
    shift: f64,
    /// The mean deviance of a constant model on the rows held out.
    null_deviance: f64,
}

impl<'a> Epochs<'a> {
    /// Goes on from what is known.
    pub fn new(
        stopping: EarlyStopping,
        watched: Option<Watched>,
        worker: &mut dyn Worker,
        plan: &'a Plan,
        shift: f64,
    ) -> Result<Self, TrainError> {
        let mut null_deviance = 1.0;
        if stopping.validation_rows > 0 && matches!(plan.recipe.model.loss, crate::Loss::Poisson) {
            let all = worker.evaluate(plan.rows, stopping.validation_rows, shift)?;
            null_deviance = all.null_poisson_deviance();
        }
        let watched = watched.unwrap_or_default();
        Ok(Epochs { watched, stopping, plan, shift, null_deviance })
    }

    /// An update was made from so many rows.
    pub fn batch(&mut self, loss: f64, rows: u64) {
        self.watched.loss += loss * rows as f64;
        self.watched.rows += rows;
    }

    /// Ends an epoch; whether training is to end with it.
    pub fn end(&mut self, worker: &mut dyn Worker, lr: f64) -> Result<bool, TrainError> {
        let watched = match self.stopping.validation_rows {
            0 => self.watched.loss / self.watched.rows as f64,
            rows => {
                let held_out = worker.evaluate(self.plan.rows, rows, self.shift)?;
                -score(&self.plan.recipe.model.loss, &held_out, self.null_deviance)
            }
        };
        (self.watched.loss, self.watched.rows) = (0.0, 0);
        Ok(self.watched.epoch(&self.stopping, watched, lr) == Verdict::Stop)
    }
}
