//! The definition of a regression's gradient, loss and synthetic rows, generic over the number like [`crate::cpu`].

mod evaluation;
pub mod gradient;
pub(crate) mod gradient_bounds;
#[cfg(feature = "cpu")]
mod gradient_simd;
pub mod loss;
#[cfg(feature = "cpu")]
pub mod parallel;
pub mod synthetic;

pub use evaluation::evaluate;
pub use gradient_bounds::BoundedSums;
