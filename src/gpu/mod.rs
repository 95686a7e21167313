//! The recorded optimizer step: spans of the caller's buffers, arenas, state, and reading back.
//!
//! The types are created on a [`wgpu::Device`] and record into the caller's passes and encoders. They never submit,
//! poll, set a device callback or allocate per step.

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
#[cfg(feature = "verify")]
pub(crate) use arena::BLOCK;
pub use arena::{Arena, ArenaTensor};
pub use builder::OptimizerBuilder;
pub use control::Control;
pub use kernels::workgroup;
#[cfg(feature = "verify")]
pub(crate) use kernels::{LANE_VECTORS, LANES, MEASURED, PARTIALS_ALIGNMENT};
pub use optimizer::{Optimizer, Tensor};
pub use optimizer_state::{GroupState, OptimizerState, TensorState};
pub use readback::ReadBack;
pub use snapshot::StateSnapshot;
pub use span::Span;

/// Optional device features that make kernels faster: none yet.
pub const OPTIONAL_FEATURES: wgpu::Features = wgpu::Features::empty();

/// Returns the limits to request from an adapter that offers `available`: the largest available sizes of buffers and
/// bindings, so that spans are split into fewer pieces, and WebGPU's defaults otherwise.
///
/// The result never exceeds `available`, so requesting a device with it succeeds. Limits that are too small for an
/// optimizer are reported when it is built.
pub fn required_limits(available: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_buffer_size: available.max_buffer_size,
        max_storage_buffer_binding_size: available.max_storage_buffer_binding_size,
        min_storage_buffer_offset_alignment: available.min_storage_buffer_offset_alignment,
        ..wgpu::Limits::default().or_worse_values_from(available)
    }
}
