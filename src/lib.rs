#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod cpu;
mod error;
pub mod gpu;
#[cfg(feature = "cli")]
pub mod regression;
pub mod rule;
#[cfg(feature = "cli")]
pub mod series;
#[cfg(feature = "cli")]
pub mod train;
#[cfg(feature = "cli")]
pub mod verify;

pub use error::Error;
pub use gpu::{Optimizer, Span};
pub use rule::{Adam, RmsProp, Rule, Sgd};
pub use wgpu;
