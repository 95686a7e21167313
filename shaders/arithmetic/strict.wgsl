// Arithmetic with the same bits on every device that rounds +, − and × to nearest. Equals src/cpu/strict.rs.
//
// The numbers are 0, normal numbers above 2⁻¹²⁶ in magnitude, infinities and NaN: what devices flush in different ways
// is zero here, and zero has no sign. Every result passes through an exclusive or with a zero that no compiler knows,
// so that no two operations can be contracted, reordered or cancelled. Composed with a file that defines
// runtime_zero(), and with quotient.wgsl.

fn fence_f32(x: f32) -> f32 {
    let bits = bitcast<u32>(x) ^ runtime_zero();
    return bitcast<f32>(select(bits, 0u, (bits & 0x7fffffffu) <= 0x00800000u));
}

fn mul(a: vec4f, b: vec4f) -> vec4f {
    return fence(a * b);
}

fn add(a: vec4f, b: vec4f) -> vec4f {
    return fence(a + b);
}

fn sub(a: vec4f, b: vec4f) -> vec4f {
    return fence(a - b);
}

fn mul_f32(a: f32, b: f32) -> f32 {
    return fence_f32(a * b);
}

fn add_f32(a: f32, b: f32) -> f32 {
    return fence_f32(a + b);
}

fn sub_f32(a: f32, b: f32) -> f32 {
    return fence_f32(a - b);
}
