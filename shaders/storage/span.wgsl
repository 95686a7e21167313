// The buffers of an update, by whole vectors. Composed with f32.wgsl and vectors.wgsl.
//
// The bindings are exactly as long as the piece they belong to, so arrayLength is the count.
// Gradients are declared read_write because they may lie in the same buffer as the parameters, which are written,
// and WebGPU allows one buffer two bindings of a dispatch only if both are of one kind.

@group(0) @binding(1) var<storage, read_write> params: array<ParamVector>;
@group(0) @binding(2) var<storage, read_write> grads: array<GradVector>;
@group(0) @binding(3) var<storage, read_write> state: array<StateVector>;

fn count() -> u32 {
    return arrayLength(&params);
}

fn lanes(i: u32) -> u32 {
    return 4u;
}

fn load_grad(i: u32) -> vec4f {
    return unpack_grad(grads[i]);
}

fn store_grad(i: u32, value: vec4f) {
    grads[i] = pack_grad(value);
}
