//! What runs on the device: spans of the caller's buffers, the recorded step, the regression gradient,
//! synthetic data and reading back.
//!
//! Everything here is made on a [`wgpu::Device`] and records into the caller's passes and encoders. Nothing
//! submits, polls, sets a device callback or allocates per step, save `Gpu`, which the command has of its
//! own.

mod advance;
mod arena;
mod bindings;
mod builder;
#[cfg(feature = "cli")]
mod context;
mod control;
mod descent;
mod dispatch;
#[cfg(feature = "cli")]
mod environment;
mod epochs;
mod evaluation;
mod gradient;
mod kernels;
mod needs;
mod optimizer;
mod optimizer_state;
mod readback;
mod row_sums;
mod rows;
mod run;
mod samples;
mod saving;
#[cfg(feature = "cli")]
pub(crate) mod seeded;
pub mod shader;
mod shape;
pub mod span;
mod steps;
mod sweep;
mod synthetic;

pub use advance::Selection;
pub use arena::{Arena, ArenaTensor};
pub use builder::OptimizerBuilder;
#[cfg(feature = "cli")]
pub use context::{Gpu, OpenError, adapters, answers_to, check_adapter};
pub use control::Control;
pub use descent::{Descending, Descent};
pub use epochs::{Epochs, Fit};
pub use evaluation::Evaluator;
pub use gradient::Gradient;
#[cfg(feature = "cli")]
pub(crate) use kernels::{measured_vectors, workgroup};
pub use optimizer::{Optimizer, Tensor};
pub use optimizer_state::{GroupState, OptimizerState, TensorState};
pub use readback::ReadBack;
#[cfg(feature = "cli")]
pub(crate) use row_sums::Purpose;
pub use rows::Rows;
#[cfg(feature = "cli")]
pub(crate) use rows::most_runs;
#[cfg(feature = "cli")]
pub(crate) use samples::Layout;
pub use samples::{Chunk, Samples};
pub use saving::Saving;
pub use shape::{Shape, Sums};
pub use span::Span;
pub use sweep::{Sweep, Sweeping};
pub use synthetic::{Generator, SyntheticRows};

/// Features of a device that make something faster and that nothing depends on: none yet.
pub const OPTIONAL_FEATURES: wgpu::Features = wgpu::Features::empty();

/// The limits to ask of an adapter that offers `available`: everything that lets a span be cut into
/// fewer pieces, and WebGPU's defaults otherwise.
///
/// The result never exceeds `available`, so a device can always be requested with it; what is then
/// too little for a given optimizer is said when that is built.
pub fn required_limits(available: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_buffer_size: available.max_buffer_size,
        max_storage_buffer_binding_size: available.max_storage_buffer_binding_size,
        min_storage_buffer_offset_alignment: available.min_storage_buffer_offset_alignment,
        ..wgpu::Limits::default().or_worse_values_from(available)
    }
}
