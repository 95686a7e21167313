//! What [`Lion`] means; the twin of `shaders/update/lion.wgsl`.

use super::{Change, Number, Step};
use crate::Lion;

#[derive(Clone, Copy)]
pub struct Hyper<R> {
    beta1: R,
    one_minus_beta1: R,
    beta2: R,
    one_minus_beta2: R,
}

impl<R: Number> Hyper<R> {
    pub fn new(rule: &Lion) -> Self {
        Hyper {
            beta1: R::of(rule.betas.0),
            one_minus_beta1: R::of(1.0 - rule.betas.0),
            beta2: R::of(rule.betas.1),
            one_minus_beta2: R::of(1.0 - rule.betas.1),
        }
    }

    pub fn words(&self) -> Vec<R> {
        vec![self.beta1, self.one_minus_beta1, self.beta2, self.one_minus_beta2]
    }
}

#[inline(always)]
pub fn change<R: Number>(hyper: &Hyper<R>, step: &Step<R>, gradient: R, exp_avg: &mut R) -> Change<R> {
    let direction = (hyper.beta1 * *exp_avg + hyper.one_minus_beta1 * gradient).sign();
    *exp_avg = hyper.beta2 * *exp_avg + hyper.one_minus_beta2 * gradient;
    Change::by(step.lr * direction)
}
