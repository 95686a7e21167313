// The gradient goes into a step of a rule where it was summed, and not to memory. Composed with reduce.wgsl,
// step.wgsl and, behind it, accumulation.wgsl, update.wgsl and a rule.

// Moments and what else is kept for every parameter lie one plane behind the other.
override PLANES: u32 = 1u;

@group(1) @binding(0) var<uniform> the_step: Step;
@group(1) @binding(1) var<storage, read_write> params: array<vec4f>;
@group(1) @binding(2) var<storage, read_write> state: array<vec4f>;

var<private> reduced: vec4f;

fn finish(column: u32, gradient: vec4f) {
    reduced = gradient;
    update_vector(column, the_step);
}

fn load_grad(i: u32) -> vec4f {
    return reduced;
}

fn store_grad(i: u32, value: vec4f) {
    reduced = value;
}

fn load_param(i: u32) -> vec4f {
    return params[i];
}

fn store_param(i: u32, value: vec4f) {
    params[i] = value;
}

fn state_index(plane: u32, i: u32) -> u32 {
    return plane * (arrayLength(&state) / PLANES) + i;
}

fn load_state(plane: u32, i: u32) -> vec4f {
    return state[state_index(plane, i)];
}

fn store_state(plane: u32, i: u32, value: vec4f) {
    state[state_index(plane, i)] = value;
}
