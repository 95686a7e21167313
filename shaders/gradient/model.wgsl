// The model's parameters, and the place of its sums. Composed with batch.wgsl and storage/f32.wgsl.

@group(0) @binding(3) var<storage, read> params: array<ParamVector>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4f>;

// The derivative of a score, and its loss.
struct Point {
    gradient: f32,
    loss: f32,
}

fn intercept_of(output: u32) -> f32 {
    if INTERCEPTS == 0u {
        return 0.0;
    }
    return unpack_param(params[OUTPUTS * VECTORS + output / 4u])[output % 4u];
}

// A compiler may take (a·b + c·d) + e for a·b + (c·d + e), and does so in some kernels and not in others. It does not
// know that segment.zero is 0, and so the sum has one order.
fn sum_of(v: vec4f) -> f32 {
    let four = v + vec4f(segment.zero);
    return (four.x + four.y) + (four.z + four.w);
}

// The metrics of an output follow from Σ s · (r², |r|, y, y²), y relative to the shift.
fn errors_of(prediction: f32, y: f32) -> vec4f {
    let error = prediction - y;
    let shifted = y - segment.shift;
    return vec4f(error * error, abs(error), shifted, shifted * shifted);
}
