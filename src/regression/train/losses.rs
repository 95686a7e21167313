//! Evaluations of whole data sets, outside of the updates.

use super::{Cause, TrainError, TrainPlan, Worker};
use crate::Evaluation;
use crate::regression::{Batch, Problem, ProblemError};
use std::sync::atomic::{AtomicBool, Ordering};

/// Numbers of X in memory at a time, where only targets are needed.
const READ: u64 = 1 << 22;
/// Numbers of X that are evaluated between two looks at the stop flag.
const EVALUATED: u64 = 1 << 28;
/// Rows whose mean is taken.
const MEAN_ROWS: u64 = 4096;

/// An f32 near the mean of the targets of `rows` rows from `first` on: the mean of the first of them that have
/// weight.
pub fn near_mean(problem: &Problem, first: u64, rows: u64) -> Result<f64, ProblemError> {
    let rows = rows.min(MEAN_ROWS);
    let part = (READ / problem.features.max(1) as u64).clamp(1, rows.max(1));
    let has_weight = |aux_row: &&[f32]| !problem.weighted || aux_row[problem.targets] > 0.0;
    let (mut sum, mut count) = (0.0, 0.0f64);
    for at in (0..rows).step_by(part as usize) {
        let (_, aux) = problem.rows_of::<f32>(&Batch::new(first + at, part.min(rows - at)))?;
        for aux_row in aux.chunks(problem.aux_columns()).filter(has_weight) {
            sum += f64::from(aux_row[0]);
            count += 1.0;
        }
    }
    Ok(((sum / count.max(1.0)) as f32).into())
}

/// The loss over all rows before the first update.
pub async fn initial_loss(
    problem: &Problem,
    plan: &TrainPlan,
    worker: &mut dyn Worker,
    stop: &AtomicBool,
    shift: f64,
) -> Result<f64, TrainError> {
    let initial = evaluate(worker, problem, stop, (0, plan.rows, shift), 0).await?;
    if initial.weight == 0.0 {
        return Err(TrainError::NoWeight);
    }
    let loss = initial.mean_loss();
    // Updates that are skipped may be the reason.
    if !loss.is_finite() && plan.max_skips == 0 {
        return Err(TrainError::NotFinite { loss, cause: Cause::Unknown });
    }
    Ok(loss)
}

/// Evaluates rows after update `update`; a stop is heeded in between, since the run can be resumed from there.
pub async fn evaluate(
    worker: &mut dyn Worker,
    problem: &Problem,
    stop: &AtomicBool,
    (first, rows, shift): (u64, u64, f64),
    update: u64,
) -> Result<Evaluation, TrainError> {
    let part = match EVALUATED / problem.features as u64 {
        // Whole batches of the sums on a device.
        many if many >= 1 << 16 => many >> 16 << 16,
        few => few.max(1),
    };
    let mut all = Evaluation { shift, ..Evaluation::default() };
    for at in (0..rows).step_by(part as usize) {
        if stop.load(Ordering::Relaxed) {
            return Err(TrainError::Interrupted { update });
        }
        all.add(&worker.evaluate(first + at, part.min(rows - at), shift).await?);
    }
    Ok(all)
}
