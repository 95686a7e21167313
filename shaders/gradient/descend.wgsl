// The sums of a batch go into a step of a rule at once. Composed with reduce.wgsl, step.wgsl, f32.wgsl, vectors.wgsl and
// one_gradient.wgsl of storage/ and, behind it, accumulation.wgsl, update.wgsl and a rule.

@group(1) @binding(0) var<uniform> the_step: Step;
@group(1) @binding(1) var<storage, read_write> params: array<ParamVector>;
@group(1) @binding(2) var<storage, read_write> state: array<StateVector>;

fn finish(column: u32, gradient: vec4f) {
    store_grad(column, gradient);
    update_vector(column, the_step);
}
