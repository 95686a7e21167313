//! What [`Adam`](crate::Adam) means; the twin of `shaders/update/adam.wgsl`.

use super::{Real, Step};
use crate::Adam;

#[derive(Clone, Copy)]
pub struct Hyper<R> {
    beta1: R,
    one_minus_beta1: R,
    beta2: R,
    one_minus_beta2: R,
    eps: R,
}

impl<R: Real> Hyper<R> {
    pub fn new(rule: &Adam) -> Self {
        Hyper {
            beta1: R::of(rule.betas.0),
            one_minus_beta1: R::of(1.0 - rule.betas.0),
            beta2: R::of(rule.betas.1),
            one_minus_beta2: R::of(1.0 - rule.betas.1),
            eps: R::of(rule.eps),
        }
    }
}

#[inline(always)]
pub fn update<R: Real>(
    step: &Step<R>,
    hyper: &Hyper<R>,
    param: &mut R,
    gradient: R,
    exp_avg: &mut R,
    exp_avg_sq: &mut R,
) {
    *exp_avg = hyper.beta1 * *exp_avg + hyper.one_minus_beta1 * gradient;
    *exp_avg_sq = hyper.beta2 * *exp_avg_sq + hyper.one_minus_beta2 * (gradient * gradient);
    let denominator = (*exp_avg_sq * step.inv_bias_correction2).sqrt() + hyper.eps;
    *param -= step.step_size * *exp_avg / denominator;
}
