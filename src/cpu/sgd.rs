//! What [`Sgd`] means; the twins of `shaders/update/sgd.wgsl` and `sgd_momentum.wgsl`.

use super::{Change, Number, Step};
use crate::Sgd;

#[derive(Clone, Copy)]
pub struct Hyper<R> {
    momentum: R,
    one_minus_dampening: R,
}

impl<R: Number> Hyper<R> {
    pub fn new(rule: &Sgd) -> Self {
        Hyper { momentum: R::of(rule.momentum), one_minus_dampening: R::of(1.0 - rule.dampening) }
    }

    pub fn words(&self) -> Vec<R> {
        vec![self.momentum, self.one_minus_dampening]
    }
}

#[inline(always)]
pub fn change<R: Number>(step: &Step<R>, gradient: R) -> Change<R> {
    Change::by(step.lr * gradient)
}

#[inline(always)]
pub fn change_with_momentum<R: Number>(
    rule: &Sgd,
    hyper: &Hyper<R>,
    step: &Step<R>,
    gradient: R,
    momentum_buffer: &mut R,
) -> Change<R> {
    let gradient = if rule.lr_in_momentum { step.lr * gradient } else { gradient };
    let weight = if step.first { R::of(1.0) } else { hyper.one_minus_dampening };
    *momentum_buffer = hyper.momentum * *momentum_buffer + weight * gradient;
    let ahead = gradient + hyper.momentum * *momentum_buffer;
    let direction = if rule.nesterov { ahead } else { *momentum_buffer };
    Change::by(if rule.lr_in_momentum { direction } else { step.lr * direction })
}
