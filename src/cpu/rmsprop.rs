//! What [`RmsProp`](crate::RmsProp) means; the twin of `shaders/update/rmsprop.wgsl`.

use super::{Real, Step};
use crate::RmsProp;

#[derive(Clone, Copy)]
pub struct Hyper<R> {
    alpha: R,
    one_minus_alpha: R,
    eps: R,
}

impl<R: Real> Hyper<R> {
    pub fn new(rule: &RmsProp) -> Self {
        Hyper {
            alpha: R::of(rule.alpha),
            one_minus_alpha: R::of(1.0 - rule.alpha),
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
    square_avg: &mut R,
) {
    *square_avg = hyper.alpha * *square_avg + hyper.one_minus_alpha * (gradient * gradient);
    *param -= step.lr * gradient / (square_avg.sqrt() + hyper.eps);
}
