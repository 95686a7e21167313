//! What [`NAdam`](crate::NAdam) means; the twin of `shaders/update/nadam.wgsl`.

use super::adam::Hyper;
use super::{Change, Number, Step};

#[inline(always)]
pub fn change<R: Number>(
    hyper: &Hyper<R>,
    step: &Step<R>,
    gradient: R,
    exp_avg: &mut R,
    exp_avg_sq: &mut R,
) -> Change<R> {
    hyper.take_in(gradient, exp_avg, exp_avg_sq);
    let denominator = (*exp_avg_sq * step.inv_bias_correction2).root() + step.eps;
    let by = (step.gradient_size * gradient + step.step_size * *exp_avg) / denominator;
    Change { by, denominator }
}
