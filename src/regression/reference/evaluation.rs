//! What evaluates a model on rows; the definition of the gradient kernels' metrics.

use super::gradient::{Rows, Side, class, score};
use super::loss;
use crate::cpu::Real;
use crate::{Evaluation, Loss, Model};

/// The sums of some rows.
///
/// # Panics
/// If the lengths of rows and `params` are not those of the model.
pub fn evaluate<R: Real>(model: &Model, rows: Rows<R>, params: &[R], shift: f64) -> Evaluation {
    let mut sums = Evaluation { outputs: vec![[0.0; 4]; model.outputs], shift, ..Default::default() };
    let mut scores = vec![R::zero(); model.outputs];
    for i in 0..rows.len(model) {
        let x = &rows.x[i * model.features..][..model.features];
        let side = Side::of(model, &rows, i);
        let weight = side.weight.map_or(1.0, Real::f64);
        for (k, z) in scores.iter_mut().enumerate() {
            *z = score(model, x, params, k) + side.offset;
        }
        sums.weight += weight;
        if let Loss::Softmax { .. } = model.loss {
            let own = class(model, side.targets[0]);
            // The first of the largest, as on the device.
            let largest = (1..scores.len()).fold(0, |a, b| if scores[b] > scores[a] { b } else { a });
            sums.correct += if largest == own { weight } else { 0.0 };
            sums.loss += weight * loss::row(&model.loss, &mut scores, side.targets, |_| own).f64();
            continue;
        }
        for ((&z, &y), output) in scores.iter().zip(side.targets).zip(&mut sums.outputs) {
            let correct = loss::is_correct(&model.loss, z, y);
            sums.correct += if correct { weight / model.outputs as f64 } else { 0.0 };
            // Of the score as it is: what the loss of large counts is above a perfect model's is the small
            // difference of the two.
            let (z, y) = (z.f64(), y.f64());
            let point = loss::point(&model.loss, z, y).loss;
            // Beyond the range of the type that is trained in it is infinite, as it is on a device.
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
