//! The definition of [`RmsProp`]; the twin of `shaders/update/rmsprop.wgsl`.

use super::{Change, Definition, Number, Slices, Step, each};
use crate::RmsProp;
use crate::rule::UpdateRule;

impl Definition for RmsProp {
    fn hyper_words<R: Number>(&self) -> Vec<R> {
        Hyper::new(self).words()
    }

    #[inline(always)]
    fn update<R: Number>(&self, slices: Slices<R>) {
        let (hyper, step) = (Hyper::new(self), slices.step());
        macro_rules! change {
            ($g:ident, $v:ident, $m:expr, $b:expr) => {
                change(self, &hyper, step, $g, $v, $m, $b)
            };
        }
        match (self.centered, self.momentum != 0.0) {
            (false, false) => each!(slices, |g, [v]| change!(g, v, None, None)),
            (true, false) => each!(slices, |g, [v, m]| change!(g, v, Some(m), None)),
            (false, true) => each!(slices, |g, [v, b]| change!(g, v, None, Some(b))),
            (true, true) => each!(slices, |g, [v, m, b]| change!(g, v, Some(m), Some(b))),
        }
    }
}

#[derive(Clone, Copy)]
struct Hyper<R> {
    alpha: R,
    one_minus_alpha: R,
    eps_inside: R,
    momentum: R,
    initial_accumulator: R,
}

impl<R: Number> Hyper<R> {
    pub fn new(rule: &RmsProp) -> Self {
        Hyper {
            alpha: R::of(rule.alpha),
            one_minus_alpha: R::of(1.0 - rule.alpha),
            eps_inside: R::of(rule.eps_inside()),
            momentum: R::of(rule.momentum),
            initial_accumulator: R::of(rule.initial_accumulator),
        }
    }

    pub fn words(&self) -> Vec<R> {
        vec![self.alpha, self.one_minus_alpha, self.eps_inside, self.momentum, self.initial_accumulator]
    }
}

#[inline(always)]
fn change<R: Number>(
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
