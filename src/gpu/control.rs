use bytemuck::{Pod, Zeroable};

/// An optimizer's own counters and what it found out about its last step, as they lie in the buffer
/// [`Optimizer::control`](super::Optimizer::control): copy that to read them without waiting.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Control {
    /// Steps taken.
    pub steps: u64,
    /// Steps that were not taken, for a gradient that was not finite.
    pub skipped: u64,
    /// How many of those came one after the other, up to the last step.
    pub skipped_in_a_row: u32,
    /// Micro-batches gathered towards the next step.
    pub micro_batch: u32,
    nonfinite: u32,
    verdict: u32,
    /// The global norm of the last step's gradients, ahead of clipping; 0 where nothing asks for it.
    pub norm: f32,
    /// What the last step's gradients were multiplied by.
    pub grad_factor: f32,
    /// 1 / `grad_scale`. A kernel of the caller's may write it ahead of a step.
    pub inv_grad_scale: f32,
    reserved: u32,
}

impl Control {
    pub(super) fn new(grad_scale: f64) -> Self {
        Control { inv_grad_scale: (1.0 / grad_scale) as f32, ..Control::zeroed() }
    }
}
