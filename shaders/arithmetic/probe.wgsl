// The primitives on numbers of the host, to be compared with the processor's. Composed behind an arithmetic.

// Results of a vector of inputs.
const RESULTS = 13u;

@group(0) @binding(0) var<uniform> zero: vec4u;
// Three planes: a, b and c.
@group(0) @binding(1) var<storage, read> inputs: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4u>;

fn runtime_zero() -> u32 {
    return zero.x;
}

fn input(plane: u32, i: u32) -> vec4f {
    return number(bitcast<vec4f>(inputs[plane * (arrayLength(&inputs) / 3u) + i]));
}

fn result(which: u32, i: u32, value: vec4f) {
    results[which * (arrayLength(&results) / RESULTS) + i] = bitcast<vec4u>(canon(value));
}

// One element in scalars.
fn scalar(a: f32, b: f32, c: f32) -> f32 {
    return add_f32(mul_f32(a, b), sub_f32(c, div_f32(root_f32(abs(a)), b)));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let i = id.x;
    if i >= arrayLength(&inputs) / 3u {
        return;
    }
    let a = input(0u, i);
    let b = input(1u, i);
    let c = input(2u, i);
    result(0u, i, mul(a, b));
    result(1u, i, add(a, b));
    result(2u, i, sub(a, b));
    result(3u, i, div(a, b));
    result(4u, i, root(abs(a)));
    // What compilers contract, cancel and factor out.
    result(5u, i, add(mul(a, b), c));
    result(6u, i, sub(c, mul(a, b)));
    result(7u, i, sub(mul(a, b), c));
    result(8u, i, sub(add(a, b), a));
    result(9u, i, div(mul(a, b), b));
    result(10u, i, add(mul(a, c), mul(b, c)));
    result(11u, i, negative(a));
    result(12u, i, vec4f(
        scalar(a.x, b.x, c.x), scalar(a.y, b.y, c.y), scalar(a.z, b.z, c.z), scalar(a.w, b.w, c.w)));
}
