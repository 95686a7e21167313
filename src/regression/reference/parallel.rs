//! The gradient and synthetic rows in f32 on every thread, with the widest SIMD of this processor.
//!
//! The bits are those of the plain functions, because the order of sums is fixed. Threads are those of the caller's rayon
//! pool.

use super::gradient::{BatchSums, Rows};
use super::gradient_simd::AddBlock;
use super::synthetic::{Synthetic, Truth};
use crate::Model;
use pulp::Arch;
use rayon::prelude::*;

/// Elements of X per task of the generator.
const TASK: usize = 1 << 14;

/// Computes [`gradient`](crate::regression::reference::gradient::gradient) in parallel.
///
/// # Panics
/// As the plain function.
pub fn gradient(model: &Model, rows: Rows<f32>, params: &[f32], grads: &mut [f32]) -> f32 {
    let mut sums = BatchSums::new(model);
    for slice in rows.slices(model) {
        add(&mut sums, slice, params);
    }
    sums.finish(grads)
}

/// Computes [`BatchSums::add`] in parallel.
///
/// # Panics
/// As the plain method.
pub fn add(sums: &mut BatchSums<f32>, rows: Rows<f32>, params: &[f32]) {
    let arch = Arch::new();
    sums.add_parallel(rows, params, |model, rows, params, sums| {
        arch.dispatch(AddBlock { model, rows, params, sums });
    });
}

/// Generates the rows of a synthetic problem from `first_row`, until `targets` is full.
///
/// # Panics
/// As [`Synthetic::fill_row`].
pub fn synthetic_rows(
    problem: &Synthetic,
    truth: &Truth,
    first_row: u64,
    x: &mut [f32],
    targets: &mut [f32],
) {
    let (features, width) = (problem.features().max(1) as usize, problem.targets() as usize);
    let task = (TASK / features).max(1);
    let tasks = x.par_chunks_mut(task * features).zip(targets.par_chunks_mut(task * width));
    tasks.enumerate().for_each(|(i, (x, targets))| {
        let rows = x.chunks_mut(features).zip(targets.chunks_mut(width));
        for (row, (x, targets)) in (first_row + (i * task) as u64..).zip(rows) {
            problem.fill_row(truth, row, x, targets);
        }
    });
}
