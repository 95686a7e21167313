//! The definition of [`Adamax`]; the twin of `shaders/update/adamax.wgsl`.

use super::{Change, Definition, Number, Slices, Step, each};
use crate::Adamax;
use crate::rule::UpdateRule;

impl Definition for Adamax {
    fn hyper_words<R: Number>(&self) -> Vec<R> {
        Hyper::new(self).words()
    }

    #[inline(always)]
    fn update<R: Number>(&self, slices: Slices<R>) {
        let (hyper, step) = (Hyper::new(self), slices.step());
        each!(slices, |g, [m, norm]| change(&hyper, step, g, m, norm));
    }
}

#[derive(Clone, Copy)]
struct Hyper<R> {
    beta1: R,
    one_minus_beta1: R,
    beta2: R,
    eps_inside: R,
}

impl<R: Number> Hyper<R> {
    pub fn new(rule: &Adamax) -> Self {
        Hyper {
            beta1: R::of(rule.betas.0),
            one_minus_beta1: R::of(1.0 - rule.betas.0),
            beta2: R::of(rule.betas.1),
            eps_inside: R::of(rule.eps_inside()),
        }
    }

    pub fn words(&self) -> Vec<R> {
        vec![self.beta1, self.one_minus_beta1, self.beta2, self.eps_inside]
    }
}

#[inline(always)]
fn change<R: Number>(
    hyper: &Hyper<R>,
    step: &Step<R>,
    gradient: R,
    exp_avg: &mut R,
    exp_inf: &mut R,
) -> Change<R> {
    *exp_avg = hyper.beta1 * *exp_avg + hyper.one_minus_beta1 * gradient;
    *exp_inf = (hyper.beta2 * *exp_inf).larger(gradient.magnitude() + hyper.eps_inside);
    let denominator = *exp_inf + step.eps;
    Change { by: step.step_size * *exp_avg / denominator, denominator }
}
