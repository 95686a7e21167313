use crate::Arithmetic;
use bytemuck::{Pod, Zeroable};

/// An optimizer's counters and the measurements of its last step: the content of the buffer
/// [`Optimizer::control`](super::Optimizer::control), which can be copied and read without waiting.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Control {
    /// Steps taken.
    pub steps: u64,
    /// Steps skipped because of a non-finite gradient.
    pub skipped: u64,
    /// Consecutive skipped steps up to the last step.
    pub skipped_in_a_row: u32,
    /// Micro-batches accumulated towards the next step.
    pub micro_batch: u32,
    nonfinite: u32,
    verdict: u32,
    /// Global norm of the last step's gradients before clipping; 0 if it is not measured.
    pub norm: f32,
    /// Factor by which the last step's gradients were multiplied.
    pub grad_factor: f32,
    /// 1 / `grad_scale`. A kernel of the caller may write it before a step.
    pub inv_grad_scale: f32,
    /// Zero, which no compiler knows.
    zero: u32,
}

impl Control {
    pub(super) fn new(grad_scale: f64, arithmetic: Arithmetic) -> Self {
        let inv_grad_scale = arithmetic.constant((1.0 / grad_scale) as f32);
        Control { inv_grad_scale, ..Control::zeroed() }
    }
}
