//! The f64 definition of a step from f32 bits, and how far a device may be from it.
//!
//! The bounds of an update come from [`Bounded`]: the rule itself, run with the error that WGSL allows
//! each operation.
//!
//! Sums are held to what rounding to nearest gives (1u an operation, with u = 2⁻²⁴), as every device does
//! that is known to us; a device that used WGSL's licence to round the other way could exceed their bound.

use super::Snapshot;
use crate::Rule;
use crate::cpu::gradient::BLOCK;
use crate::cpu::{self, Bounded, exact_step};
use crate::gpu::Batch;
use crate::regression::Problem;
use rayon::prelude::*;

const U: f64 = 1.0 / 16_777_216.0;
const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// One update of `rule` at step `t` by its definition, from the state and the gradient that a device
/// had: the parameters and each moment.
pub fn update(
    rule: &Rule,
    t: u64,
    before: &Snapshot,
    grads: &[f32],
) -> (Vec<Bounded>, Vec<Vec<Bounded>>) {
    let exactly = |values: &[f32]| values.iter().map(|&x| Bounded::exactly(x)).collect::<Vec<_>>();
    let step = exact_step::<Bounded>(rule, t, rule.lr());
    let mut params = exactly(&before.params);
    let mut moments: Vec<Vec<Bounded>> = before.moments.iter().map(|m| exactly(m)).collect();
    let mut slices: Vec<&mut [Bounded]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
    cpu::update(rule, &step, &mut params, &exactly(grads), &mut slices);
    (params, moments)
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
        error: scale * (sum_error * terms + dot_error * dots) + FLUSHED,
    };
    let grads = sums.columns.iter().map(|c| bounded(c.sum, c.terms, c.dots, 2.0 / n)).collect();
    // With an error e in r, r² moves by 2re + e²: near a perfect fit the second is the larger.
    let mut loss = bounded(sums.squares.sum, sums.squares.sum, 2.0 * sums.squares.dots, 1.0 / n);
    loss.error += dot_error * dot_error * sums.squared_sizes / n;
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
