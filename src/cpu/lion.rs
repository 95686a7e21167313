//! The definition of [`Lion`]; the twin of `shaders/update/lion.wgsl`.

use super::{Change, Definition, Number, Slices, Step, each};
use crate::Lion;

impl Definition for Lion {
    fn hyper_words<R: Number>(&self) -> Vec<R> {
        Hyper::new(self).words()
    }

    #[inline(always)]
    fn update<R: Number>(&self, slices: Slices<R>) {
        let (hyper, step) = (Hyper::new(self), slices.step());
        each!(slices, |g, [m]| change(&hyper, step, g, m));
    }
}

#[derive(Clone, Copy)]
struct Hyper<R> {
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
fn change<R: Number>(hyper: &Hyper<R>, step: &Step<R>, gradient: R, exp_avg: &mut R) -> Change<R> {
    let direction = (hyper.beta1 * *exp_avg + hyper.one_minus_beta1 * gradient).sign();
    *exp_avg = hyper.beta2 * *exp_avg + hyper.one_minus_beta2 * gradient;
    Change::by(step.lr * direction)
}
