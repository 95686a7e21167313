//! The constants of a step in device memory: `struct Step` in `shaders/step.wgsl`.

use crate::cpu::hyper_words;
use crate::{Arithmetic, Rule};

/// Stride of the constants of steps in bytes: an alignment that every device supports.
pub const SLOT: u64 = 256;
/// End of the bytes of a slot that change from step to step.
pub const COUNTED: usize = 32;
/// Byte offsets of the constants that do not change from step to step: the coupled weight decay, the group, and the
/// rule's own constants.
const WEIGHT_DECAY: usize = COUNTED;
const GROUP: usize = 36;
const HYPER: usize = 48;

/// Writes `data` into a slot.
pub fn write(slot: &mut [u8], at: usize, data: &[u8]) {
    slot[at..][..data.len()].copy_from_slice(data);
}

/// Writes the constants that do not change from step to step into a slot.
pub fn write_rule(slot: &mut [u8], rule: &Rule, group: u32, arithmetic: Arithmetic) {
    let constant = |x: f32| arithmetic.constant(x);
    let weight_decay = constant(rule.common_terms().coupled as f32);
    write(slot, WEIGHT_DECAY, bytemuck::bytes_of(&weight_decay));
    write(slot, GROUP, bytemuck::bytes_of(&group));
    let words: Vec<f32> = hyper_words::<f32>(rule).into_iter().map(constant).collect();
    write(slot, HYPER, bytemuck::cast_slice(&words));
}
