// The frame around one rule: which element a thread updates, and the constants of this step.
// Composed with arithmetic.wgsl, one file of storage/ and one file of update/.

override WORKGROUP: u32 = 64u;

// The first four words are written by step_state.wgsl ahead of every step, `hyper` once by the host.
struct Step {
    lr: f32,
    step_size: f32,
    inv_bias_correction2: f32,
    first: u32,
    hyper: Hyper,
}

@group(0) @binding(0) var<uniform> step: Step;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    // Past the limit of one dimension the grid goes on in y.
    let i = id.y * (groups.x * WORKGROUP) + id.x;
    if i < count() {
        update(i);
    }
}
