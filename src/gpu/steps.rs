//! A step's constants as the device reads them: `struct Step` in `shaders/step.wgsl`.

use crate::Rule;
use crate::cpu::{RuleConstants, Step, StepState, hyper_words};

/// Bytes from one step's constants to the next one's: what any device can bind at.
pub const SLOT: u64 = 256;
/// Where the words of a slot end that are counted from step to step, and those that the rule has.
pub const COUNTED: usize = 32;
pub const USED: usize = 96;
/// Where the words lie that do not change from step to step: the coupled weight decay, the group, and the
/// rule's own constants, in bytes.
const WEIGHT_DECAY: usize = COUNTED;
const GROUP: usize = 36;
const HYPER: usize = 48;

/// Bits of `flags`.
const FIRST: u32 = 1;
const GRADIENT: u32 = 2;
const STEP: u32 = 16;

fn write(slot: &mut [u8], at: usize, data: &[u8]) {
    slot[at..][..data.len()].copy_from_slice(data);
}

/// Writes what does not change from step to step into a slot.
pub fn write_rule(slot: &mut [u8], rule: &Rule, group: u32) {
    write(slot, WEIGHT_DECAY, bytemuck::bytes_of(&(rule.frame().coupled as f32)));
    write(slot, GROUP, bytemuck::bytes_of(&group));
    write(slot, HYPER, bytemuck::cast_slice(&hyper_words::<f32>(rule)));
}

/// Takes a step ahead of the device, which is given its constants, and writes them into a slot.
pub fn advance(slot: &mut [u8], rule: &Rule, state: &mut StepState, lr: f32) -> Step<f32> {
    let step = state.advance(&RuleConstants::new(rule), lr);
    write(slot, 0, bytemuck::cast_slice(&counted(&step)));
    write_rule(slot, rule, 0);
    step
}

/// The first words of a slot: what is counted from step to step.
pub fn counted(step: &Step<f32>) -> [f32; COUNTED / 4] {
    let first = if step.first { FIRST } else { 0 };
    let grad_factor = 1.0;
    [
        step.lr,
        step.step_size,
        step.gradient_size,
        step.inv_bias_correction2,
        step.eps,
        step.decay,
        grad_factor,
        f32::from_bits(first | GRADIENT | STEP),
    ]
}
