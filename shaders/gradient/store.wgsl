// The gradient goes to memory. Composed with reduce.wgsl.

@group(0) @binding(4) var<storage, read_write> grads: array<vec4f>;

fn finish(column: u32, gradient: vec4f) {
    grads[column] = gradient;
}
