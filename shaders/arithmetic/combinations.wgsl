// Short forms of combinations. Composed behind plain.wgsl, or behind quotient.wgsl.

// factor · x.
fn scale(factor: f32, x: vec4f) -> vec4f {
    return mul(vec4f(factor), x);
}

// a · x + b · y.
fn blend(a: f32, x: vec4f, b: f32, y: vec4f) -> vec4f {
    return add(scale(a, x), scale(b, y));
}
