// Beyond 4096 features X is read twice. This is the second pass: a workgroup takes 64 vec4 of columns
// (its y) and every groups.x-th row (its x). Composed with batch.wgsl and rows.wgsl.

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let column = group.y * THREADS + local;
    let partial = run.first_partial + group.x;
    if column < VECTORS {
        var sum = vec4f(0.0);
        for (var row = group.x; row < run.rows; row += groups.x) {
            let value = x[(run.first_row + row) * VECTORS + column];
            sum += value * residuals[row];
        }
        partials[partial_at(partial, column)] = sum;
    }
    if column == 0u {
        var totals = vec4f(0.0);
        for (var row = group.x; row < run.rows; row += groups.x) {
            let residual = residuals[row];
            totals += vec4f(residual, residual * residual, 0.0, 0.0);
        }
        partials[partial_at(partial, VECTORS)] = totals;
    }
}
