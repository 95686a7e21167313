// Parameters and state in memory, four elements to a thread. Composed with f32.wgsl and a file that declares params
// and state.

// Moments and whatever else a rule keeps for every parameter, one plane after the other.
override PLANES: u32 = 1u;

fn load_param(i: u32) -> vec4f {
    return unpack_param(params[i]);
}

fn store_param(i: u32, value: vec4f) {
    params[i] = pack_param(value);
}

fn state_index(plane: u32, i: u32) -> u32 {
    return plane * (arrayLength(&state) / PLANES) + i;
}

fn load_state(plane: u32, i: u32) -> vec4f {
    return unpack_state(state[state_index(plane, i)]);
}

fn store_state(plane: u32, i: u32, value: vec4f) {
    state[state_index(plane, i)] = pack_state(value);
}
