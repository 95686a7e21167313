//! The f64 definition of a step from f32 bits, and how far a device may be from it.
//!
//! With u = 2⁻²⁴, WGSL allows 2u for + − ×, 9u for a root and 5u for a quotient; a constant that was
//! rounded to f32 has 1u. Counting these to first order along each rule's formula gives the factors
//! below. Anything below 2⁻¹²⁶ may be flushed to zero, which adds that much once.
//!
//! Sums are held to what rounding to nearest gives (1u an operation), as every device does that is known
//! to us; a device that used WGSL's licence to round the other way could exceed their bound.

use super::Snapshot;
use crate::Rule;
use crate::cpu::gradient::BLOCK;
use crate::cpu::{self, exact_step};
use crate::gpu::Batch;
use crate::regression::Problem;
use rayon::prelude::*;

const U: f64 = 1.0 / 16_777_216.0;
const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// A value by its definition, and how far from it a device may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// The value.
    pub value: f64,
    /// The largest error allowed, ≥ 0.
    pub bound: f64,
}

/// One update of `rule` at step `t` by its f64 definition, from the state and the gradient that a device
/// had: the parameters and each moment.
pub fn update(
    rule: &Rule,
    t: u64,
    before: &Snapshot,
    grads: &[f32],
) -> (Vec<Bounded>, Vec<Vec<Bounded>>) {
    let widen = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let step = exact_step::<f64>(rule, t, rule.lr());
    let mut params = widen(&before.params);
    let grads = widen(grads);
    let mut moments: Vec<Vec<f64>> = before.moments.iter().map(|m| widen(m)).collect();
    let mut slices: Vec<&mut [f64]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
    cpu::update(rule, &step, &mut params, &grads, &mut slices);

    let mut param_bounds = Vec::with_capacity(params.len());
    let mut moment_bounds = vec![Vec::with_capacity(params.len()); moments.len()];
    for (i, &param) in params.iter().enumerate() {
        let old = |moment: usize| f64::from(before.moments[moment][i]);
        let g = grads[i].abs();
        // What was subtracted from the parameter may be wrong by this much.
        let moved = match rule {
            // lr 1, product 2.
            Rule::Sgd(sgd) if sgd.momentum == 0.0 => 3.0 * U * step.lr * g,
            Rule::Sgd(sgd) => {
                // Each term: constant 1, product 2; their sum 2; rounded up to 6.
                let weight = if step.first { 1.0 } else { 1.0 - sgd.dampening };
                let scale = sgd.momentum * old(0).abs() + weight * g;
                moment_bounds[0].push(6.0 * U * scale + FLUSHED);
                // The look-ahead adds constant 1, product 2, sum 2; lr adds 3.
                if sgd.nesterov {
                    14.0 * U * step.lr * (g + sgd.momentum * scale)
                } else {
                    9.0 * U * step.lr * scale
                }
            }
            Rule::RmsProp(rmsprop) => {
                let square_avg = moments[0][i];
                moment_bounds[0].push(8.0 * U * square_avg + FLUSHED);
                24.0 * U * step.lr * g / (square_avg.sqrt() + rmsprop.eps)
            }
            Rule::Adam(adam) => {
                // Errors of exp_avg are relative to its terms, which may cancel.
                let scale = adam.betas.0 * old(0).abs() + (1.0 - adam.betas.0) * g;
                let exp_avg_sq = moments[1][i];
                moment_bounds[0].push(8.0 * U * scale + FLUSHED);
                moment_bounds[1].push(8.0 * U * exp_avg_sq + FLUSHED);
                let denominator = (exp_avg_sq * step.inv_bias_correction2).sqrt() + adam.eps;
                32.0 * U * step.step_size * scale / denominator
            }
        };
        param_bounds.push(2.0 * U * param.abs() + moved + FLUSHED);
    }
    let zip = |values: Vec<f64>, bounds: Vec<f64>| -> Vec<Bounded> {
        let pairs = values.into_iter().zip(bounds);
        pairs.map(|(value, bound)| Bounded { value, bound }).collect()
    };
    let moments = moments.into_iter().zip(moment_bounds).map(|(m, b)| zip(m, b)).collect();
    (zip(params, param_bounds), moments)
}

/// The gradient of a batch and its loss in f64, from the f32 rows and parameters that a device has.
///
/// `depths` are the longest chains of additions behind an element and behind a residual. A sum of n
/// rounded terms is off by at most 4u√n times the sum of their magnitudes, save with a probability that
/// is negligible (Higham & Mary 2019, λ = 4).
pub fn gradient(
    problem: &Problem,
    batch: Batch,
    params: &[f32],
    depths: (u32, u32),
) -> (Vec<Bounded>, Bounded) {
    let features = problem.features;
    let params: Vec<f64> = params.iter().map(|&p| f64::from(p)).collect();
    let blocks = batch.rows.div_ceil(BLOCK as u64);
    let sums = (0..blocks).into_par_iter().map(|block| {
        let first = batch.first + block * BLOCK as u64;
        let rows = (BLOCK as u64).min(batch.first + batch.rows - first) as usize;
        let (mut x, mut y) = (vec![0.0f32; rows * features], vec![0.0f32; rows]);
        problem.fill(first, &mut x, &mut y);
        Sums::of(&x, &y, &params)
    });
    let sums = sums.reduce(|| Sums::zero(features + 1), Sums::add);

    let n = batch.rows as f64;
    let error = |depth: u32| 4.0 * U * f64::from(depth).sqrt();
    let (sum_error, dot_error) = (error(depths.0 + 2), error(depths.1 + 1));
    let bounded = |sum: f64, terms: f64, dots: f64, scale: f64| Bounded {
        value: scale * sum,
        bound: scale * (sum_error * terms + dot_error * dots) + FLUSHED,
    };
    let grads = sums.columns.iter().map(|c| bounded(c.sum, c.terms, c.dots, 2.0 / n)).collect();
    // With an error e in r, r² moves by 2re + e²: near a perfect fit the second is the larger.
    let mut loss = bounded(sums.squares.sum, sums.squares.sum, 2.0 * sums.squares.dots, 1.0 / n);
    loss.bound += dot_error * dot_error * sums.squared_sizes / n;
    (grads, loss)
}

/// Sums over rows in f64.
#[derive(Default)]
struct Sums {
    /// Of xᵢⱼ rᵢ for every column, and of rᵢ.
    columns: Vec<Column>,
    /// Of rᵢ².
    squares: Column,
    /// Of Sᵢ².
    squared_sizes: f64,
}

#[derive(Clone, Copy, Default)]
struct Column {
    sum: f64,
    /// Σ |term|.
    terms: f64,
    /// Σ |xᵢⱼ| Sᵢ with Sᵢ = Σ |xᵢₖ wₖ| + |b| + |yᵢ|: what the residuals' own errors scale with.
    dots: f64,
}

impl Column {
    fn add(&mut self, other: &Column) {
        self.sum += other.sum;
        self.terms += other.terms;
        self.dots += other.dots;
    }
}

impl Sums {
    fn zero(columns: usize) -> Self {
        Sums { columns: vec![Column::default(); columns], ..Sums::default() }
    }

    fn of(x: &[f32], y: &[f32], params: &[f64]) -> Self {
        let features = params.len() - 1;
        let mut sums = Sums::zero(params.len());
        for (x, &y) in x.chunks(features).zip(y) {
            let intercept = params[features];
            let (mut dot, mut size) = (0.0, 0.0);
            for (&x, w) in x.iter().zip(params) {
                let product = f64::from(x) * w;
                dot += product;
                size += product.abs();
            }
            let residual = dot + intercept - f64::from(y);
            let size = size + intercept.abs() + f64::from(y).abs();
            for (&x, column) in x.iter().chain(&[1.0]).zip(&mut sums.columns) {
                let term = f64::from(x) * residual;
                let dots = f64::from(x).abs() * size;
                column.add(&Column { sum: term, terms: term.abs(), dots });
            }
            let (sum, dots) = (residual * residual, residual.abs() * size);
            sums.squares.add(&Column { sum, terms: sum, dots });
            sums.squared_sizes += size * size;
        }
        sums
    }

    fn add(mut self, other: Sums) -> Self {
        self.columns.iter_mut().zip(&other.columns).for_each(|(a, b)| a.add(b));
        self.squares.add(&other.squares);
        self.squared_sizes += other.squared_sizes;
        self
    }
}
