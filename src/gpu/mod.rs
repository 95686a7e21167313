//! The recorded optimizer step: spans of the caller's buffers, arenas, state, and reading back.
//!
//! Everything here is made on a [`wgpu::Device`] and records into the caller's passes and encoders. Nothing
//! submits, polls, sets a device callback or allocates per step.

mod advance;
mod arena;
pub(crate) mod bindings;
mod bound_segment;
mod builder;
mod control;
pub(crate) mod dispatch;
pub(crate) mod kernels;
pub(crate) mod needs;
mod optimizer;
mod optimizer_state;
mod readback;
#[cfg(feature = "verify")]
pub(crate) mod seeded;
pub mod shader;
mod snapshot;
pub mod span;
pub(crate) mod steps;

pub use advance::Selection;
pub use arena::{Arena, ArenaTensor};
pub use builder::OptimizerBuilder;
pub use control::Control;
#[cfg(feature = "verify")]
pub(crate) use kernels::measured_vectors;
pub use kernels::workgroup;
pub use optimizer::{Optimizer, Tensor};
pub use optimizer_state::{GroupState, OptimizerState, TensorState};
pub use readback::ReadBack;
pub use snapshot::StateSnapshot;
pub use span::Span;

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
