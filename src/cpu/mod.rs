//! The reference path: what every kernel means, written once and generic over the float.
//!
//! In f64 these functions are the definition that kernels are compared with; in f32 the same functions
//! make the same roundings as the shaders do where the device rounds to nearest and does not
//! contract, and with the feature `cpu` they run in parallel on whatever SIMD the processor has.

mod adam;
pub mod gradient;
#[cfg(feature = "cpu")]
mod gradient_simd;
mod integer;
#[cfg(feature = "cpu")]
pub mod parallel;
pub mod random;
mod rmsprop;
mod sgd;
mod step_state;

pub use step_state::{StepConstants, StepState, exact_step, one_minus_power};

use crate::Rule;

/// f32 or f64.
pub trait Real:
    num_traits::Float + num_traits::NumAssign + std::iter::Sum + Send + Sync + std::fmt::Debug + 'static
{
    /// The nearest value of this type.
    fn of(x: f64) -> Self;
    /// The value in f64, exactly.
    fn f64(self) -> f64;
}

impl Real for f32 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
}

/// The constants of one step, as the rules read them.
#[derive(Clone, Copy, Debug)]
pub struct Step<R> {
    /// This step's learning rate.
    pub lr: R,
    /// lr / (1 − beta1ᵗ).
    pub step_size: R,
    /// 1 / (1 − beta2ᵗ).
    pub inv_bias_correction2: R,
    /// Whether this is the first step.
    pub first: bool,
}

/// One step of `rule` over `params`, in place.
///
/// `grads` is as long as `params`; `moments` holds one slice of that length for each of
/// [`Rule::moments`], zero before the first step.
///
/// # Panics
/// If there are fewer moments than the rule has. Elements past the shortest slice are left alone.
#[inline(always)]
pub fn update<R: Real>(
    rule: &Rule,
    step: &Step<R>,
    params: &mut [R],
    grads: &[R],
    moments: &mut [&mut [R]],
) {
    let params_and_grads = params.iter_mut().zip(grads);
    match rule {
        Rule::Sgd(sgd) if sgd.momentum == 0.0 => {
            for (param, &gradient) in params_and_grads {
                sgd::update(step, param, gradient);
            }
        }
        Rule::Sgd(sgd) => {
            let hyper = sgd::Hyper::new(sgd);
            for ((param, &gradient), momentum_buffer) in params_and_grads.zip(&mut *moments[0]) {
                sgd::update_with_momentum(step, &hyper, param, gradient, momentum_buffer);
            }
        }
        Rule::RmsProp(rmsprop) => {
            let hyper = rmsprop::Hyper::new(rmsprop);
            for ((param, &gradient), square_avg) in params_and_grads.zip(&mut *moments[0]) {
                rmsprop::update(step, &hyper, param, gradient, square_avg);
            }
        }
        Rule::Adam(adam) => {
            let hyper = adam::Hyper::new(adam);
            let (first, second) = moments.split_at_mut(1);
            let moments = first[0].iter_mut().zip(&mut *second[0]);
            for ((param, &gradient), (exp_avg, exp_avg_sq)) in params_and_grads.zip(moments) {
                adam::update(step, &hyper, param, gradient, exp_avg, exp_avg_sq);
            }
        }
    }
}
