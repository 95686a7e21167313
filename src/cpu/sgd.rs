//! The definition of [`Sgd`]; the twins of `shaders/update/sgd.wgsl` and `sgd_momentum.wgsl`.

use super::{Change, Definition, Number, Slices, Step, each};
use crate::Sgd;

impl Definition for Sgd {
    fn hyper_words<R: Number>(&self) -> Vec<R> {
        Hyper::new(self).words()
    }

    #[inline(always)]
    fn update<R: Number>(&self, slices: Slices<R>) {
        let (hyper, step) = (Hyper::new(self), slices.step());
        if self.momentum == 0.0 {
            each!(slices, |g, []| change(step, g));
        } else {
            each!(slices, |g, [b]| change_with_momentum(self, &hyper, step, g, b));
        }
    }
}

#[derive(Clone, Copy)]
struct Hyper<R> {
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
fn change<R: Number>(step: &Step<R>, gradient: R) -> Change<R> {
    Change::by(step.lr * gradient)
}

#[inline(always)]
fn change_with_momentum<R: Number>(
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
