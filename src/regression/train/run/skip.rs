//! Updates that are undone because their result is not finite.

use super::Run;
use crate::regression::Batch;
use crate::regression::train::{Cause, TrainError};

impl Run<'_> {
    /// Makes updates of which some may be skipped: if the result is not finite, they are undone and repeated in
    /// halves.
    pub async fn run_or_skip(
        &mut self,
        done: u64,
        batches: &[Batch],
        rates: &[f64],
        trace: &mut Vec<Vec<f64>>,
    ) -> Result<Vec<f64>, TrainError> {
        let traced = trace.len();
        let mut losses = self.worker.run(batches, rates, self.plan.trace.then_some(&mut *trace)).await?;
        if let [loss] = losses[..] {
            if !self.is_finite_or_undone(done + 1, loss).await?
                && let Some(last) = trace.last_mut()
            {
                *last = self.worker.params().await?;
            }
            return Ok(losses);
        }
        let state = self.worker.save().await?;
        if state.is_finite() && losses.iter().all(|loss| loss.is_finite()) {
            self.skips.in_a_row = 0;
            self.good = Some(state);
            return Ok(losses);
        }
        if let Some(good) = &self.good {
            self.worker.restore(good).await?;
        }
        trace.truncate(traced);
        let (first, second) = batches.split_at(batches.len() / 2);
        let (first_rates, second_rates) = rates.split_at(first.len());
        losses = Box::pin(self.run_or_skip(done, first, first_rates, trace)).await?;
        let done = done + first.len() as u64;
        losses.extend(Box::pin(self.run_or_skip(done, second, second_rates, trace)).await?);
        Ok(losses)
    }

    /// Whether an update is finite, if some may be skipped; if not, it is undone.
    pub async fn is_finite_or_undone(&mut self, update: u64, loss: f64) -> Result<bool, TrainError> {
        let Some(good) = &mut self.good else { return Ok(true) };
        let state = self.worker.save().await?;
        if loss.is_finite() && state.is_finite() {
            self.skips.in_a_row = 0;
            *good = state;
            return Ok(true);
        }
        self.worker.restore(good).await?;
        self.skips.total += 1;
        self.skips.in_a_row += 1;
        let skips = self.skips.in_a_row;
        if skips >= self.plan.max_skips {
            return Err(TrainError::Skipped { update, skips, cause: Cause::Unknown });
        }
        Ok(false)
    }
}
