//! A step's constants as the device reads them: `struct Step` in `shaders/step.wgsl`.

use crate::Rule;
use crate::cpu::hyper_words;

/// Bytes from one step's constants to the next one's: what any device can bind at.
pub const SLOT: u64 = 256;
/// Where the words of a slot end that are counted from step to step.
pub const COUNTED: usize = 32;
/// Where the words lie that do not change from step to step: the coupled weight decay, the group, and the
/// rule's own constants, in bytes.
const WEIGHT_DECAY: usize = COUNTED;
const GROUP: usize = 36;
const HYPER: usize = 48;

/// Writes `data` into a slot.
pub fn write(slot: &mut [u8], at: usize, data: &[u8]) {
    slot[at..][..data.len()].copy_from_slice(data);
}

/// Writes what does not change from step to step into a slot.
pub fn write_rule(slot: &mut [u8], rule: &Rule, group: u32) {
    write(slot, WEIGHT_DECAY, bytemuck::bytes_of(&(rule.common_terms().coupled as f32)));
    write(slot, GROUP, bytemuck::bytes_of(&group));
    write(slot, HYPER, bytemuck::cast_slice(&hyper_words::<f32>(rule)));
}
