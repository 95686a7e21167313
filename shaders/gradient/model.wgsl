// The model's parameters and where sums go. Composed with batch.wgsl.

@group(0) @binding(3) var<storage, read> params: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4f>;

// One score's derivative, and what it costs.
struct Point {
    gradient: f32,
    loss: f32,
}

fn intercept_of(output: u32) -> f32 {
    if INTERCEPTS == 0u {
        return 0.0;
    }
    return params[OUTPUTS * VECTORS + output / 4u][output % 4u];
}

// A compiler may take (a·b + c·d) + e for a·b + (c·d + e), and does so in some kernels and not in others. It
// does not know that nothing is added here, and so the sum has one order.
fn sum_of(v: vec4f) -> f32 {
    let four = v + vec4f(segment.zero);
    return (four.x + four.y) + (four.z + four.w);
}

// Σ s · (r², |r|, y, y²) of one output is what metrics are made of, y relative to the shift.
fn errors_of(prediction: f32, y: f32) -> vec4f {
    let error = prediction - y;
    let shifted = y - segment.shift;
    return vec4f(error * error, abs(error), shifted, shifted * shifted);
}
