//! A step's constants, if the host counts the steps.

use crate::cpu::{RuleConstants, Step, StepState};
use crate::gpu::steps::{COUNTED, write, write_rule};
use crate::{Arithmetic, Rule};

/// Where the words of a slot end.
pub const USED: usize = 96;

/// Bits of `flags`.
const FIRST: u32 = 1;
const GRADIENT: u32 = 2;
const STEP: u32 = 16;
const UNRECTIFIED: u32 = 32;

/// Takes a step ahead of the device, which is given its constants, and writes them into a slot.
pub fn advance(slot: &mut [u8], rule: &Rule, state: &mut StepState, lr: f32) -> Step<f32> {
    let step = state.advance(&RuleConstants::new(rule), lr);
    write(slot, 0, bytemuck::cast_slice(&counted(&step)));
    write_rule(slot, rule, 0, Arithmetic::Fast);
    step
}

/// The first words of a slot, which change from step to step.
pub fn counted(step: &Step<f32>) -> [f32; COUNTED / 4] {
    let first = if step.first { FIRST } else { 0 };
    let unrectified = if step.unrectified { UNRECTIFIED } else { 0 };
    let grad_factor = 1.0;
    [
        step.lr,
        step.step_size,
        step.gradient_size,
        step.inv_bias_correction2,
        step.eps,
        step.decay,
        grad_factor,
        f32::from_bits(first | unrectified | GRADIENT | STEP),
    ]
}
