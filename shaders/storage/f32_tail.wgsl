// The last one to three f32 of a span, which fill no vec4, one to a thread.
//
// The bindings start at a multiple of four elements, so the tail is what is left over of their length.
// The other three lanes are zero: each element sees the same arithmetic as it would in f32.wgsl.

@group(0) @binding(1) var<storage, read_write> params: array<f32>;
@group(0) @binding(2) var<storage, read_write> grads: array<f32>;
@group(0) @binding(3) var<storage, read_write> moment0: array<f32>;
@group(0) @binding(4) var<storage, read_write> moment1: array<f32>;

fn count() -> u32 {
    return arrayLength(&params) & 3u;
}

fn element(i: u32) -> u32 {
    return (arrayLength(&params) & ~3u) + i;
}

fn lane(value: f32) -> vec4f {
    return vec4f(value, 0.0, 0.0, 0.0);
}

fn load_param(i: u32) -> vec4f {
    return lane(params[element(i)]);
}

fn store_param(i: u32, value: vec4f) {
    params[element(i)] = value.x;
}

fn load_grad(i: u32) -> vec4f {
    return lane(grads[element(i)]);
}

fn load_moment0(i: u32) -> vec4f {
    return lane(moment0[element(i)]);
}

fn store_moment0(i: u32, value: vec4f) {
    moment0[element(i)] = value.x;
}

fn load_moment1(i: u32) -> vec4f {
    return lane(moment1[element(i)]);
}

fn store_moment1(i: u32, value: vec4f) {
    moment1[element(i)] = value.x;
}
