// Where X is read twice, the first pass: the scores of one row and four outputs a workgroup.
// Composed with batch.wgsl, model.wgsl and the rows.

@group(0) @binding(5) var<storage, read_write> scores: array<f32>;

var<workgroup> tree: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let i = segment.first_item + group.y * groups.x + group.x;
    let first = group.z * 4u;
    let outputs = min(4u, OUTPUTS - first);
    var sums = vec4f(0.0);
    if i < segment.rows {
        let row = row_at(i);
        for (var column = local; column < VECTORS; column += THREADS) {
            let value = x_at(row, column);
            for (var k = 0u; k < outputs; k += 1u) {
                sums[k] += sum_of(value * unpack_param(params[(first + k) * VECTORS + column]));
            }
        }
    }
    tree[local] = sums;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            tree[local] += tree[local + half];
        }
    }
    if local == 0u && i < segment.rows {
        for (var k = 0u; k < outputs; k += 1u) {
            scores[i * OUTPUTS + first + k] = tree[0][k] + intercept_of(first + k);
        }
    }
}
