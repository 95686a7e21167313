// Parameters, gradients and moments as f32, four to a thread.
//
// The bindings are exactly as long as the piece they belong to, so arrayLength is the count.
// Gradients are declared read_write because they may lie in the same buffer as what is written,
// and WebGPU allows one buffer two bindings of a dispatch only if both are of one kind.

@group(0) @binding(1) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> moment0: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> moment1: array<vec4f>;

fn count() -> u32 {
    return arrayLength(&params);
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

fn load_moment0(i: u32) -> vec4f {
    return moment0[i];
}

fn store_moment0(i: u32, value: vec4f) {
    moment0[i] = value;
}

fn load_moment1(i: u32) -> vec4f {
    return moment1[i];
}

fn store_moment1(i: u32, value: vec4f) {
    moment1[i] = value;
}
