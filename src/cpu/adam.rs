//! The definition of [`Adam`]; the twin of `shaders/update/adam.wgsl`.

use super::{Change, Definition, Number, Slices, Step, each};
use crate::Adam;
use crate::rule::AmsgradOf;
use crate::rule::UpdateRule;

impl Definition for Adam {
    fn hyper_words<R: Number>(&self) -> Vec<R> {
        Hyper::new(self.betas, self.eps_inside()).words()
    }

    #[inline(always)]
    fn update<R: Number>(&self, slices: Slices<R>) {
        let (hyper, step) = (Hyper::new(self.betas, self.eps_inside()), slices.step());
        if self.amsgrad {
            each!(slices, |g, [m, v, max]| change(self, &hyper, step, g, m, v, Some(max)));
        } else {
            each!(slices, |g, [m, v]| change(self, &hyper, step, g, m, v, None));
        }
    }
}

#[derive(Clone, Copy)]
pub struct Hyper<R> {
    beta1: R,
    one_minus_beta1: R,
    beta2: R,
    one_minus_beta2: R,
    eps_inside: R,
}

impl<R: Number> Hyper<R> {
    pub fn new(betas: (f64, f64), eps_inside: f64) -> Self {
        Hyper {
            beta1: R::of(betas.0),
            one_minus_beta1: R::of(1.0 - betas.0),
            beta2: R::of(betas.1),
            one_minus_beta2: R::of(1.0 - betas.1),
            eps_inside: R::of(eps_inside),
        }
    }

    pub fn words(&self) -> Vec<R> {
        vec![self.beta1, self.one_minus_beta1, self.beta2, self.one_minus_beta2, self.eps_inside]
    }

    /// Both moments take the gradient in.
    #[inline(always)]
    pub fn take_in(&self, gradient: R, exp_avg: &mut R, exp_avg_sq: &mut R) {
        *exp_avg = self.beta1 * *exp_avg + self.one_minus_beta1 * gradient;
        *exp_avg_sq = self.beta2 * *exp_avg_sq + self.one_minus_beta2 * (gradient * gradient);
    }
}

#[inline(always)]
fn change<R: Number>(
    rule: &Adam,
    hyper: &Hyper<R>,
    step: &Step<R>,
    gradient: R,
    exp_avg: &mut R,
    exp_avg_sq: &mut R,
    max_exp_avg_sq: Option<&mut R>,
) -> Change<R> {
    hyper.take_in(gradient, exp_avg, exp_avg_sq);
    let second = match max_exp_avg_sq {
        None => *exp_avg_sq * step.inv_bias_correction2,
        Some(max) if rule.amsgrad_of == AmsgradOf::Corrected => {
            *max = max.larger(*exp_avg_sq * step.inv_bias_correction2);
            *max
        }
        Some(max) => {
            *max = max.larger(*exp_avg_sq);
            *max * step.inv_bias_correction2
        }
    };
    let denominator = (second + hyper.eps_inside).root() + step.eps;
    Change { by: step.step_size * *exp_avg / denominator, denominator }
}
