#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod cpu;
mod error;
pub mod gpu;
pub mod rule;

pub use error::Error;
pub use gpu::{Optimizer, Span};
pub use rule::{Adam, RmsProp, Rule, Sgd};
pub use wgpu;
