//! What [`RmsProp`] means; the twin of `shaders/update/rmsprop.wgsl`.

use super::{Change, Number, Step};
use crate::RmsProp;

#[derive(Clone, Copy)]
pub struct Hyper<R> {
    alpha: R,
    one_minus_alpha: R,
    eps_inside: R,
    momentum: R,
    initial_accumulator: R,
}

impl<R: Number> Hyper<R> {
    pub fn new(rule: &RmsProp, eps_inside: f64) -> Self {
        Hyper {
            alpha: R::of(rule.alpha),
            one_minus_alpha: R::of(1.0 - rule.alpha),
            eps_inside: R::of(eps_inside),
            momentum: R::of(rule.momentum),
            initial_accumulator: R::of(rule.initial_accumulator),
        }
    }

    pub fn words(&self) -> Vec<R> {
        vec![self.alpha, self.one_minus_alpha, self.eps_inside, self.momentum, self.initial_accumulator]
    }
}

#[inline(always)]
pub fn change<R: Number>(
    rule: &RmsProp,
    hyper: &Hyper<R>,
    step: &Step<R>,
    gradient: R,
    square_avg: &mut R,
    grad_avg: Option<&mut R>,
    momentum_buffer: Option<&mut R>,
) -> Change<R> {
    let starts = step.first && rule.initial_accumulator != 0.0;
    let old = if starts { hyper.initial_accumulator } else { *square_avg };
    *square_avg = hyper.alpha * old + hyper.one_minus_alpha * (gradient * gradient);
    let mut variance = *square_avg * step.inv_bias_correction2;
    if let Some(grad_avg) = grad_avg {
        *grad_avg = hyper.alpha * *grad_avg + hyper.one_minus_alpha * gradient;
        let mean = *grad_avg * step.inv_bias_correction2;
        variance = variance - mean * mean;
        if rule.clamp_variance {
            variance = variance.larger(R::of(0.0));
        }
    }
    let denominator = (variance + hyper.eps_inside).root() + step.eps;
    let Some(momentum_buffer) = momentum_buffer else {
        return Change { by: step.lr * gradient / denominator, denominator };
    };
    let taken = if rule.lr_in_momentum { step.lr * gradient } else { gradient };
    let direction = taken / denominator;
    *momentum_buffer = hyper.momentum * *momentum_buffer + direction;
    let by = if rule.lr_in_momentum { *momentum_buffer } else { step.lr * *momentum_buffer };
    Change { by, denominator }
}
