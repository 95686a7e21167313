//! The f64 definition of a step from f32 inputs, with error bounds.
//!
//! The bounds of an update come from running the rule over [`Bounded`], with the error that WGSL allows for each
//! operation. Those of a gradient come from [`BoundedSums`].

use super::Snapshot;
use crate::cpu::{self, Bounded, Number, exact_step};
use crate::regression::reference::BoundedSums;
use crate::regression::reference::gradient::{BLOCK, Rows};
use crate::regression::tasks;
use crate::regression::train::Recipe;
use crate::{Model, Penalty};

/// Converts values of a device, which have no error.
pub fn exactly(values: &[f32]) -> Vec<Bounded> {
    values.iter().map(|&x| Bounded::exactly(x)).collect()
}

/// Computes the definition of an update at step `t` with the learning rate `lr`, from the state and the gradient of a
/// device. Returns the parameters and each moment.
pub fn update(
    recipe: &Recipe,
    (t, lr): (u64, f64),
    before: &Snapshot,
    grads: &[f32],
) -> (Vec<Bounded>, Vec<Vec<Bounded>>) {
    let Recipe { model, rule, penalty, .. } = recipe;
    let step = exact_step::<Bounded>(rule, t, lr);
    let (mut params, grads) = (exactly(&before.params), exactly(grads));
    let mut moments: Vec<Vec<Bounded>> = before.moments.iter().map(|m| exactly(m)).collect();
    // Intercepts are not penalised.
    let weights = model.weights();
    let (mut low, mut high): (Vec<&mut [Bounded]>, Vec<&mut [Bounded]>) =
        moments.iter_mut().map(|moment| moment.split_at_mut(weights)).unzip();
    let (penalized, free) = params.split_at_mut(weights);
    cpu::update_penalized(rule, penalty, &step, penalized, &grads[..weights], &mut low);
    cpu::update_penalized(rule, &Penalty::default(), &step, free, &grads[weights..], &mut high);
    (params, moments)
}

/// Computes the definition of the parameters' moving average after step `t`, from the average before the step and the
/// parameters after it. The first step copies the parameters.
pub fn average(decay: f64, t: u64, before: &[f32], params: &[f32]) -> Vec<Bounded> {
    let (decay, rest) = (Bounded::of(decay), Bounded::of(1.0 - decay));
    let of = |(&average, &param): (&f32, &f32)| {
        let (average, param) = (Bounded::exactly(average), Bounded::exactly(param));
        if t == 1 { param } else { decay * average + rest * param }
    };
    before.iter().zip(params).map(of).collect()
}

/// Computes the gradient of a batch and its loss in f64, from the f32 rows and parameters of a device.
///
/// `depths` are the longest chains of additions of an element and of a score.
pub fn gradient(
    model: &Model,
    rows: Rows<f32>,
    params: &[f32],
    depths: (u32, u32),
) -> (Vec<Bounded>, Bounded) {
    sums(model, rows, params, depths.1).finish(depths.0)
}

/// Computes the sums of the gradient over rows that may be a part of a batch.
pub fn sums(model: &Model, rows: Rows<f32>, params: &[f32], dot_depth: u32) -> BoundedSums {
    let len = rows.len(model);
    let part = |block: usize| {
        let part = rows.part(model, block * BLOCK, BLOCK.min(len - block * BLOCK));
        BoundedSums::of(model, part, params, dot_depth)
    };
    tasks::sum(len.div_ceil(BLOCK), part, || BoundedSums::zero(model), BoundedSums::with)
}
