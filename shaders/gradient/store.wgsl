// The gradient goes to memory. Composed with reduce.wgsl and storage/f32.wgsl.

@group(0) @binding(4) var<storage, read_write> grads: array<GradVector>;

fn finish(column: u32, gradient: vec4f) {
    grads[column] = pack_grad(gradient);
}
