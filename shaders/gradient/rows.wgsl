// The rows of a batch and the model's parameters. Composed with batch.wgsl.

@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> params: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> residuals: array<f32>;

// Four weights; zero past the last feature, where the intercept lies.
fn weights_at(column: u32) -> vec4f {
    var w = vec4f(0.0);
    for (var k = 0u; k < 4u; k += 1u) {
        let j = 4u * column + k;
        if j < FEATURES {
            w[k] = params[j];
        }
    }
    return w;
}

fn sum_of(v: vec4f) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
