// The last one to three f32 of a span, which fill no vec4: one thread. Composed with f32.wgsl, whose vectors the
// state consists of.
//
// Parameters and gradients are bound from the last multiple of the device's alignment on, so the tail is the
// remainder of their length. State is padded to that multiple, and consists of whole vectors. The missing lanes are
// zero: each element sees the same arithmetic as in vectors.wgsl.

override PLANES: u32 = 1u;
override QUANTUM: u32 = 16u; // the alignment in vec4

@group(0) @binding(1) var<storage, read_write> params: array<f32>;
@group(0) @binding(2) var<storage, read_write> grads: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<StateVector>;

fn count() -> u32 {
    return 1u;
}

fn lanes(i: u32) -> u32 {
    return arrayLength(&params) & 3u;
}

fn first() -> u32 {
    return arrayLength(&params) & ~3u;
}

fn load_param(i: u32) -> vec4f {
    var value = vec4f();
    for (var lane = 0u; lane < lanes(i); lane += 1u) {
        value[lane] = params[first() + lane];
    }
    return unpack_param(value);
}

fn store_param(i: u32, value: vec4f) {
    let stored = pack_param(value);
    for (var lane = 0u; lane < lanes(i); lane += 1u) {
        params[first() + lane] = stored[lane];
    }
}

fn load_grad(i: u32) -> vec4f {
    var value = vec4f();
    for (var lane = 0u; lane < lanes(i); lane += 1u) {
        value[lane] = grads[first() + lane];
    }
    return unpack_grad(value);
}

fn store_grad(i: u32, value: vec4f) {
    let stored = pack_grad(value);
    for (var lane = 0u; lane < lanes(i); lane += 1u) {
        grads[first() + lane] = stored[lane];
    }
}

fn state_index(plane: u32) -> u32 {
    return (plane + 1u) * (arrayLength(&state) / PLANES) - QUANTUM + first() / 4u;
}

fn load_state(plane: u32, i: u32) -> vec4f {
    return unpack_state(state[state_index(plane)]);
}

fn store_state(plane: u32, i: u32, value: vec4f) {
    state[state_index(plane)] = pack_state(value);
}
