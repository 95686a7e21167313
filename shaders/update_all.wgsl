// Every vector that a dispatch binds is updated. Composed behind update.wgsl.

override WORKGROUP: u32 = 64u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    // Past the limit of one dimension the grid continues in y.
    let thread = id.y * (groups.x * WORKGROUP) + id.x;
    let first = vector_of(thread, 0u);
    if first >= count() {
        return;
    }
    let step = step_of(first);
    if (step.flags & (STEP | KEEP)) == 0u {
        return;
    }
    for (var k = 0u; k < RUN; k += 1u) {
        update_vector(vector_of(thread, k), step);
    }
}
