//! The reference path: what every kernel means, written once and generic over the number.
//!
//! In f64 these functions are the definition that kernels are compared with; in [`Bounded`] the same
//! functions say how far a device may be from it. In f32 they make the same roundings as the shaders do
//! where the device rounds to nearest and does not contract, and with the feature `cpu` they run in
//! parallel on whatever SIMD the processor has.

mod adagrad;
mod adam;
mod adamax;
mod bounded;
mod conditioning;
mod evaluation;
mod exponential;
pub mod gradient;
pub(crate) mod gradient_bounds;
#[cfg(feature = "cpu")]
mod gradient_simd;
mod integer;
mod lion;
pub mod loss;
mod nadam;
mod number;
#[cfg(feature = "cpu")]
pub mod parallel;
pub(crate) mod prefetch;
pub mod random;
mod rmsprop;
mod sgd;
mod step_state;
pub mod synthetic;
mod update;

pub use bounded::Bounded;
pub use conditioning::{all_finite, clip_factor, condition, norm};
pub use evaluation::evaluate;
pub use gradient_bounds::BoundedSums;
pub use number::{Number, Real};
pub use step_state::{RuleConstants, StepState, exact_step, one_minus_power};
pub(crate) use update::Change;
pub(crate) use update::hyper_words;
pub use update::{Step, update, update_penalized};
