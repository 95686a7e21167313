//! The reference path: the definition of every kernel, written once and generic over the number.
//!
//! In f64 these functions are the definition that kernels are compared with; in [`Bounded`] the same
//! functions say how far a device may be from it. In f32 they make the same roundings as the shaders do
//! where the device rounds to nearest and does not contract, and with the feature `cpu` they run in
//! parallel on whatever SIMD the processor has.

mod bounded;
mod conditioning;
mod exponential;
pub(crate) mod integer;
mod number;
#[cfg(feature = "cpu")]
pub mod parallel;
#[doc(hidden)]
pub mod prefetch;
pub mod random;
mod rectification;
mod step_state;
mod strict;
mod update;

crate::rule::for_all_rules!([crate::rule::declare_modules]);

pub use bounded::Bounded;
pub use conditioning::{all_finite, clip_factor, condition, norm};
pub use number::{Number, Real};
pub use step_state::{RuleConstants, StepState, exact_step, one_minus_power};
pub use strict::Strict;
pub(crate) use update::{Change, hyper_words};
use update::{Definition, Slices, each};
pub use update::{Step, update, update_penalized};
