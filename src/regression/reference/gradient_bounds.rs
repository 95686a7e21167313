//! Error bounds of a batch's gradient in f32.
//!
//! The error of a sum of n rounded terms is at most 4u√n times the sum of their magnitudes, u = 2⁻²⁴, except with
//! negligible probability (Higham & Mary 2019, λ = 4). This bounds scores and sums over rows. It assumes rounding to
//! nearest, which all known devices use. The propagation of a score's error through a loss follows from running the loss
//! over [`Bounded`].

use super::gradient::{Rows, class};
use super::loss;
use crate::Model;
use crate::cpu::Bounded;

const U: f64 = 1.0 / 16_777_216.0;
pub(crate) const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// Sums over rows in f64: of the terms that a device sums in f32, and of their possible errors. Sums of disjoint rows can
/// be added.
#[derive(Clone, Debug)]
pub struct BoundedSums {
    model: Model,
    /// Sums of the gradient of every weight, then of every intercept.
    columns: Vec<Column>,
    loss: Column,
    rows: u64,
    weight: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Column {
    sum: f64,
    /// Σ |term|.
    terms: f64,
    /// Sum of the errors of the terms.
    errors: f64,
}

impl Column {
    fn take(&mut self, factor: f64, term: Bounded) {
        let sum = factor * term.value;
        self.add(&Column { sum, terms: sum.abs(), errors: factor.abs() * term.error });
    }

    fn add(&mut self, other: &Column) {
        self.sum += other.sum;
        self.terms += other.terms;
        self.errors += other.errors;
    }
}

/// The scores of a row with bounds; `dot_depth` is the longest chain of additions of a score.
pub(crate) fn score(
    model: &Model,
    (x, aux_row): (&[f32], &[f32]),
    params: &[f32],
    dot_depth: u32,
    scores: &mut [Bounded],
) {
    let (weights, intercepts) = params.split_at(model.weights());
    let dot_error = of_sum(dot_depth + 1);
    let offset = model.offset_at().map_or(0.0, |at| f64::from(aux_row[at]));
    for (k, score) in scores.iter_mut().enumerate() {
        let intercept = intercepts.get(k).map_or(0.0, |&b| f64::from(b));
        let (mut value, mut size) = (intercept + offset, intercept.abs() + offset.abs());
        for (&x, &w) in x.iter().zip(&weights[k * model.features..]) {
            let product = f64::from(x) * f64::from(w);
            value += product;
            size += product.abs();
        }
        *score = Bounded { value, error: dot_error * size };
    }
}

/// The error of a sum with this chain of additions, relative to the sum of magnitudes.
pub(crate) fn of_sum(depth: u32) -> f64 {
    4.0 * U * f64::from(depth).sqrt()
}

impl BoundedSums {
    /// The sums of no rows.
    pub fn zero(model: &Model) -> Self {
        let columns = vec![Column::default(); model.weights() + model.outputs];
        BoundedSums { model: *model, columns, loss: Column::default(), rows: 0, weight: 0.0 }
    }

    /// The sums for the f32 rows and parameters of a device; `dot_depth` is the longest chain of additions of a score.
    pub fn of(model: &Model, rows: Rows<f32>, params: &[f32], dot_depth: u32) -> Self {
        let mut sums = Self::zero(model);
        let (features, aux_columns) = (model.features, model.aux_columns());
        let mut scores = vec![Bounded::default(); model.outputs];
        for (i, aux_row) in rows.aux.chunks(aux_columns).enumerate() {
            let x = &rows.x[i * features..][..features];
            score(model, (x, aux_row), params, dot_depth, &mut scores);
            let targets: Vec<Bounded> =
                aux_row[..model.targets()].iter().map(|&y| Bounded::exactly(y)).collect();
            let class = |y: Bounded| class(model, y.value);
            let mut cost = loss::row(&model.loss, &mut scores, &targets, class);
            if let Some(at) = model.weight_at() {
                let weight = Bounded::exactly(aux_row[at]);
                scores.iter_mut().for_each(|score| *score = *score * weight);
                cost = cost * weight;
                sums.weight += weight.value;
            }
            sums.loss.take(1.0, cost);
            for (k, &score) in scores.iter().enumerate() {
                for (&x, column) in x.iter().zip(&mut sums.columns[k * features..]) {
                    column.take(x.into(), score);
                }
                sums.columns[model.weights() + k].take(1.0, score);
            }
            sums.rows += 1;
        }
        sums
    }

    /// The sums of the rows of both.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.columns.iter_mut().zip(&other.columns).for_each(|(a, b)| a.add(b));
        self.loss.add(&other.loss);
        self.rows += other.rows;
        self.weight += other.weight;
        self
    }

    /// The gradient of the batch and its loss, with bounds; `depth` is the longest chain of additions of an element.
    pub fn finish(&self, depth: u32) -> (Vec<Bounded>, Bounded) {
        let over = if self.model.weighted { self.weight } else { self.rows as f64 };
        let (of_loss, of_gradient) = self.model.loss.factors();
        let sum_error = of_sum(depth + 2);
        // The divisor, the sum of weights, has an error too.
        let of_weight = if self.model.weighted { sum_error + 7.0 * U } else { 0.0 };
        let bounded = |column: &Column, factor: f64| {
            if over == 0.0 {
                return Bounded::default();
            }
            let (value, scale) = (factor / over * column.sum, factor / over);
            let error = scale * (sum_error * column.terms + column.errors);
            Bounded { value, error: error + of_weight * (value.abs() + error) + FLUSHED }
        };
        let params = self.model.params();
        let grads = self.columns[..params].iter().map(|column| bounded(column, of_gradient));
        (grads.collect(), bounded(&self.loss, of_loss))
    }
}
