//! Early stopping while a run goes through its epochs.

use super::stopping::{Basis, Criterion, EarlyStopState, EarlyStopping, Verdict, score};
use super::{TrainError, TrainPlan, Worker};

/// Watches the epochs of a run.
pub struct EpochMonitor<'a> {
    pub watched: EarlyStopState,
    stopping: EarlyStopping,
    plan: &'a TrainPlan,
    basis: Basis,
    /// An f32 near the mean of the held-out targets.
    shift: f64,
    /// The mean deviance of a constant model on the rows held out.
    null_deviance: f64,
}

impl<'a> EpochMonitor<'a> {
    /// Starts, or resumes from `watched`; `shift` is an f32 near the mean of the held-out targets.
    pub async fn new(
        stopping: EarlyStopping,
        watched: Option<EarlyStopState>,
        worker: &mut dyn Worker,
        plan: &'a TrainPlan,
        shift: f64,
    ) -> Result<Self, TrainError> {
        let held_out = match stopping.validation_rows {
            0 => None,
            rows => Some(worker.evaluate(plan.rows, rows, shift).await?),
        };
        let mut watched = watched.unwrap_or_default();
        let new = || Basis::new(&plan.recipe.model.loss, held_out.as_ref());
        let basis = *watched.basis.get_or_insert_with(new);
        let null_deviance = held_out.map_or(f64::NAN, |all| all.null_poisson_deviance());
        Ok(EpochMonitor { watched, stopping, plan, basis, shift, null_deviance })
    }

    /// The criterion.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Adds the loss of an update's batch of `rows` rows.
    pub fn batch(&mut self, loss: f64, rows: u64) {
        self.watched.loss += loss * rows as f64;
        self.watched.rows += rows;
    }

    /// Ends an epoch, and returns whether training ends with it.
    pub async fn end(&mut self, worker: &mut dyn Worker, lr: f64) -> Result<bool, TrainError> {
        let training_loss = self.watched.loss / self.watched.rows as f64;
        (self.watched.loss, self.watched.rows) = (0.0, 0);
        let held_out = match self.basis.criterion {
            Criterion::TrainingLoss => None,
            _ => {
                let rows = self.stopping.validation_rows;
                Some(worker.evaluate(self.plan.rows, rows, self.shift).await?)
            }
        };
        let value = loop {
            let value = match (self.basis.criterion, &held_out) {
                (Criterion::Score, Some(held_out)) => {
                    -score(&self.plan.recipe.model.loss, held_out, self.null_deviance)
                }
                (Criterion::HeldOutLoss, Some(held_out)) => held_out.mean_loss(),
                _ => training_loss,
            };
            match self.basis.next() {
                // A value that is not finite cannot be compared.
                Some(next) if !value.is_finite() => {
                    self.basis = next;
                    self.watched.go_by(next);
                }
                _ => break value,
            }
        };
        Ok(self.watched.epoch(&self.stopping, value, lr) == Verdict::Stop)
    }
}
