// Advances the step by one and leaves this step's constants where the update reads them.
//
// Everything that decides a bit is integer arithmetic, which no driver reorders, contracts or
// flushes: 1 − betaᵗ is carried as 64-bit fixed point and is the same bits on every device.
// The twin of this file is src/cpu/step_state.rs. Composed with integer.wgsl.

// 64-bit words are (low, high).
struct State {
    t: vec2u,
    bias_correction1: vec2u, // 1 − beta1ᵗ, in units of 2⁻⁶⁴
    bias_correction2: vec2u,
    beta1: vec2u, // in units of 2⁻⁶⁴
    beta2: vec2u,
    one_minus_beta1: vec2u,
    one_minus_beta2: vec2u,
    lr_position: u32, // the entry of the learning-rate table that the next step takes
    reserved: u32,
}

struct Constants {
    lr: f32,
    step_size: f32,
    inv_bias_correction2: f32,
    first: u32,
}

@group(0) @binding(0) var<storage, read_write> state: State;
@group(0) @binding(1) var<storage, read_write> constants: Constants;
@group(0) @binding(2) var<storage, read> learning_rates: array<f32>;

// 1 − betaᵗ = beta · (1 − betaᵗ⁻¹) + (1 − beta). The product is truncated, never rounded up,
// so the sum stays below one.
fn next_bias_correction(previous: vec2u, beta: vec2u, one_minus_beta: vec2u) -> vec2u {
    return add64(mul64_high(previous, beta), one_minus_beta);
}

@compute @workgroup_size(1)
fn main() {
    state.t = add64(state.t, vec2u(1u, 0u));
    state.bias_correction1 =
        next_bias_correction(state.bias_correction1, state.beta1, state.one_minus_beta1);
    state.bias_correction2 =
        next_bias_correction(state.bias_correction2, state.beta2, state.one_minus_beta2);

    // The last entry of the table holds.
    let last = arrayLength(&learning_rates) - 1u;
    let position = min(state.lr_position, last);
    let lr = learning_rates[position];
    state.lr_position = min(position + 1u, last);

    constants.lr = lr;
    constants.step_size = lr * reciprocal(state.bias_correction1);
    constants.inv_bias_correction2 = reciprocal(state.bias_correction2);
    constants.first = select(0u, 1u, state.t.x == 1u && state.t.y == 0u);
}
