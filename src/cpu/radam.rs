//! The definition of [`RAdam`]; the twin of `shaders/update/radam.wgsl`.

use super::adam::Hyper;
use super::{Change, Definition, Number, Slices, Step, each};
use crate::RAdam;

impl Definition for RAdam {
    fn hyper_words<R: Number>(&self) -> Vec<R> {
        Hyper::new(self.betas, 0.0).words()
    }

    #[inline(always)]
    fn update<R: Number>(&self, slices: Slices<R>) {
        let (hyper, step) = (Hyper::new(self.betas, 0.0), slices.step());
        each!(slices, |g, [m, v]| change(&hyper, step, g, m, v));
    }
}

#[inline(always)]
fn change<R: Number>(
    hyper: &Hyper<R>,
    step: &Step<R>,
    gradient: R,
    exp_avg: &mut R,
    exp_avg_sq: &mut R,
) -> Change<R> {
    hyper.take_in(gradient, exp_avg, exp_avg_sq);
    if step.unrectified {
        return Change::by(step.step_size * *exp_avg);
    }
    let denominator = (*exp_avg_sq * step.inv_bias_correction2).root() + step.eps;
    Change { by: step.step_size * *exp_avg / denominator, denominator }
}
