//! What [`Sgd`](crate::Sgd) means; the twins of `shaders/update/sgd.wgsl` and `sgd_momentum.wgsl`.

use super::{Real, Step};
use crate::Sgd;

#[derive(Clone, Copy)]
pub struct Hyper<R> {
    momentum: R,
    one_minus_dampening: R,
    nesterov: bool,
}

impl<R: Real> Hyper<R> {
    pub fn new(rule: &Sgd) -> Self {
        Hyper {
            momentum: R::of(rule.momentum),
            one_minus_dampening: R::of(1.0 - rule.dampening),
            nesterov: rule.nesterov,
        }
    }
}

#[inline(always)]
pub fn update<R: Real>(step: &Step<R>, param: &mut R, gradient: R) {
    *param -= step.lr * gradient;
}

#[inline(always)]
pub fn update_with_momentum<R: Real>(
    step: &Step<R>,
    hyper: &Hyper<R>,
    param: &mut R,
    gradient: R,
    momentum_buffer: &mut R,
) {
    let weight = if step.first { R::one() } else { hyper.one_minus_dampening };
    *momentum_buffer = hyper.momentum * *momentum_buffer + weight * gradient;
    let ahead = gradient + hyper.momentum * *momentum_buffer;
    let direction = if hyper.nesterov { ahead } else { *momentum_buffer };
    *param -= step.lr * direction;
}
