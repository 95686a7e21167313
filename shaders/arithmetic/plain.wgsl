// Arithmetic as the device has it, in the functions that strict.wgsl and exact.wgsl define too: a formula is written
// once for all of them.
//
// A device may contract a product and a sum into one rounding, may flush subnormal numbers, and may return quotients
// within 2.5 ulp and roots within 4.5.

// A vector from memory.
fn number(x: vec4f) -> vec4f {
    return x;
}

// A vector on its way to memory.
fn canon(x: vec4f) -> vec4f {
    return x;
}

fn mul(a: vec4f, b: vec4f) -> vec4f {
    return a * b;
}

fn add(a: vec4f, b: vec4f) -> vec4f {
    return a + b;
}

fn sub(a: vec4f, b: vec4f) -> vec4f {
    return a - b;
}

fn div(a: vec4f, b: vec4f) -> vec4f {
    return a / b;
}

fn root(x: vec4f) -> vec4f {
    return sqrt(x);
}

fn negative(x: vec4f) -> vec4f {
    return -x;
}

fn mul_f32(a: f32, b: f32) -> f32 {
    return a * b;
}

fn add_f32(a: f32, b: f32) -> f32 {
    return a + b;
}

fn sub_f32(a: f32, b: f32) -> f32 {
    return a - b;
}

fn div_f32(a: f32, b: f32) -> f32 {
    return a / b;
}

fn root_f32(x: f32) -> f32 {
    return sqrt(x);
}
