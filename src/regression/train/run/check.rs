//! Updates that are compared with their definition.

use super::Run;
use crate::regression::train::clock::Instant;
use crate::regression::train::{Numbers, TrainError, VerifyEvery};
use crate::regression::verification::{self, ObservedStep, Verification};

impl Run<'_> {
    /// Makes an update and compares it with its definition.
    pub async fn check(&mut self, lr: f64, trace: &mut Vec<Vec<f64>>) -> Result<f64, TrainError> {
        let plan = self.plan;
        let ahead = self.average_to_check().await?;
        let step = self.observe(lr).await?;
        let loss = f64::from(step.gradient.loss);
        let made = self.is_finite_or_undone(self.done + 1, loss).await?;
        if made {
            self.compare_step(&step, ahead).await?;
        }
        if plan.trace {
            let snapshot = if made { &step.after } else { &step.before };
            trace.push(snapshot.params.iter().map(|&p| p.into()).collect());
        }
        Ok(loss)
    }

    /// Makes the next update, with its inputs and outputs.
    async fn observe(&mut self, lr: f64) -> Result<ObservedStep, TrainError> {
        let (plan, model) = (self.plan, &self.plan.recipe.model);
        let batch = plan.batches.get(self.done);
        let sample = verification::sample(batch, self.problem.features * model.outputs, self.done + 1);
        Ok(self.worker.run_observed(batch, lr, sample).await?)
    }

    /// The moving average, if there is one.
    async fn average_to_check(&mut self) -> Result<Option<Numbers>, TrainError> {
        match self.plan.recipe.average {
            Some(_) => Ok(self.worker.save().await?.average),
            None => Ok(None),
        }
    }

    /// Compares an update with its definition; `ahead` is the average before it.
    async fn compare_step(
        &mut self,
        step: &ObservedStep,
        ahead: Option<Numbers>,
    ) -> Result<(), TrainError> {
        let behind = self.average_to_check().await?;
        let Some(report) = &mut self.verification else { return Ok(()) };
        verification::check(report, &self.plan.recipe, self.problem, step)?;
        if let (Some(decay), Some(ahead), Some(behind)) = (self.plan.recipe.average, ahead, behind) {
            let (ahead, behind) = (ahead.singles(), behind.singles());
            verification::check_average(report, decay, step.t, &ahead, &step.after.params, &behind);
        }
        Ok(())
    }

    /// Checks one update more if the run stopped early, at an update that was not known to be the last: it starts from
    /// the final state, and is undone.
    pub async fn check_end(&mut self) -> Result<(), TrainError> {
        let checked = self.verification.as_ref().map(Verification::last_update);
        let due =
            self.plan.verify == VerifyEvery::Budget && checked.is_some_and(|last| last < self.done);
        if !due || self.done >= self.plan.batches.updates() {
            return Ok(());
        }
        let started = Instant::now();
        let state = self.worker.save().await?;
        let factor = self.epochs.as_ref().map_or(1.0, |epochs| epochs.watched.factor);
        let step = self.observe(self.plan.learning_rate.at(self.done) * factor).await?;
        if step.gradient.loss.is_finite() && self.worker.save().await?.is_finite() {
            self.compare_step(&step, state.average.clone()).await?;
        }
        self.worker.restore(&state).await?;
        self.pace.checked(started.elapsed());
        Ok(())
    }
}
