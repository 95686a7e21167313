// The constants of one step of a tensor: a slot of 256 bytes for every tensor.
// step_state.wgsl writes the first eight words ahead of every step, the host the others once.
// Composed with a struct Hyper, the constants of a rule's own formula: more than 16 bytes and at most 32, so
// that Step is as long in the layouts of every language that this is translated to; GLSL has no @size.

// Bits of `flags`.
const FIRST = 1u;       // the tensor's first step
const GRADIENT = 2u;    // its gradient is used
const ACCUMULATED = 4u; // the accumulated gradients are used
const KEEP = 8u;        // their sum is only accumulated
const STEP = 16u;       // the rule is applied
const UNRECTIFIED = 32u; // in RAdam: by its momentum alone

struct Step {
    lr: f32,
    step_size: f32,     // lr / (1 − beta1ᵗ); for NAdam see src/cpu/update.rs
    gradient_size: f32,
    inv_bias_correction2: f32,
    eps: f32,           // outside the root
    decay: f32,         // lr · weight_decay where that is decoupled
    grad_factor: f32,
    flags: u32,

    weight_decay: f32,  // where it is coupled
    group: u32,
    zero: u32,          // unknown to compilers
    reserved: u32,
    hyper: Hyper,
    unused: array<vec4u, 11>,
}
