// Beyond 4096 features X is read twice. This is the first pass: one residual a workgroup.
// Composed with batch.wgsl and rows.wgsl.

var<workgroup> tree: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let row = group.y * groups.x + group.x;
    var dot = vec4f(0.0);
    if row < run.rows {
        for (var column = local; column < VECTORS; column += THREADS) {
            dot += x[(run.first_row + row) * VECTORS + column] * weights_at(column);
        }
    }
    tree[local] = sum_of(dot);
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            tree[local] += tree[local + half];
        }
    }
    if local == 0u && row < run.rows {
        residuals[row] =
            tree[0] + params[FEATURES] - y[run.first_row + row];
    }
}
