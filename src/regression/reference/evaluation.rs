//! Evaluation of a model on rows: the definition of the kernels' metrics.

use super::gradient::{AuxRow, Rows, class, score};
use super::loss;
use crate::cpu::Real;
use crate::{Evaluation, Loss, Model};

/// Evaluates a model on rows.
///
/// # Panics
/// If the lengths of `rows` and `params` do not match the model.
pub fn evaluate<R: Real>(model: &Model, rows: Rows<R>, params: &[R], shift: f64) -> Evaluation {
    let mut sums = Evaluation { outputs: vec![[0.0; 4]; model.outputs], shift, ..Default::default() };
    let mut scores = vec![R::zero(); model.outputs];
    for i in 0..rows.len(model) {
        let x = &rows.x[i * model.features..][..model.features];
        let aux_row = AuxRow::of(model, &rows, i);
        let weight = aux_row.weight.map_or(1.0, Real::f64);
        for (k, z) in scores.iter_mut().enumerate() {
            *z = score(model, x, params, k) + aux_row.offset;
        }
        sums.weight += weight;
        if let Loss::Softmax { .. } = model.loss {
            let own = class(model, aux_row.targets[0]);
            // The first maximum, as on the device.
            let largest = (1..scores.len()).fold(0, |a, b| if scores[b] > scores[a] { b } else { a });
            sums.correct += if largest == own { weight } else { 0.0 };
            sums.loss += weight * loss::row(&model.loss, &mut scores, aux_row.targets, |_| own).f64();
            continue;
        }
        for ((&z, &y), output) in scores.iter().zip(aux_row.targets).zip(&mut sums.outputs) {
            let correct = loss::is_correct(&model.loss, z, y);
            sums.correct += if correct { weight / model.outputs as f64 } else { 0.0 };
            // In f64: for large counts the deviance is a small difference of two losses.
            let (z, y) = (z.f64(), y.f64());
            let point = loss::point(&model.loss, z, y).loss;
            // Infinite beyond the range of `R`, as on a device.
            let rounded = R::of(point).f64();
            sums.loss += weight * if rounded.is_infinite() { rounded } else { point };
            sums.saturated += weight * loss::saturated(&model.loss, y);
            let (error, y) = (loss::mean(&model.loss, z) - y, y - shift);
            let terms = [error * error, error.abs(), y, y * y];
            output.iter_mut().zip(terms).for_each(|(sum, term)| *sum += weight * term);
        }
    }
    sums.loss *= model.loss.factors().0;
    sums
}
