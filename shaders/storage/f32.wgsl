// Parameters, gradients and state as f32, four to a thread.
//
// The bindings are exactly as long as the piece they belong to, so arrayLength is the count.
// Gradients are declared read_write because they may lie in the same buffer as what is written,
// and WebGPU allows one buffer two bindings of a dispatch only if both are of one kind.

// Moments and what else is kept for every parameter lie one plane behind the other.
override PLANES: u32 = 1u;

@group(0) @binding(1) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4f>;

fn count() -> u32 {
    return arrayLength(&params);
}

fn lanes(i: u32) -> u32 {
    return 4u;
}

fn load_param(i: u32) -> vec4f {
    return params[i];
}

fn store_param(i: u32, value: vec4f) {
    params[i] = value;
}

fn load_grad(i: u32) -> vec4f {
    return grads[i];
}

fn store_grad(i: u32, value: vec4f) {
    grads[i] = value;
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
