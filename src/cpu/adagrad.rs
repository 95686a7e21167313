//! What [`Adagrad`] means; the twin of `shaders/update/adagrad.wgsl`.

use super::{Change, Number, Step};
use crate::Adagrad;

#[derive(Clone, Copy)]
pub struct Hyper<R> {
    eps_inside: R,
    initial_accumulator: R,
}

impl<R: Number> Hyper<R> {
    pub fn new(rule: &Adagrad, eps_inside: f64) -> Self {
        let initial_accumulator = R::of(rule.initial_accumulator);
        Hyper { eps_inside: R::of(eps_inside), initial_accumulator }
    }

    pub fn words(&self) -> Vec<R> {
        vec![self.eps_inside, self.initial_accumulator]
    }
}

#[inline(always)]
pub fn change<R: Number>(
    rule: &Adagrad,
    hyper: &Hyper<R>,
    step: &Step<R>,
    gradient: R,
    sum: &mut R,
) -> Change<R> {
    let starts = step.first && rule.initial_accumulator != 0.0;
    let old = if starts { hyper.initial_accumulator } else { *sum };
    *sum = old + gradient * gradient;
    let denominator = (*sum + hyper.eps_inside).root() + step.eps;
    Change { by: step.lr * gradient / denominator, denominator }
}
