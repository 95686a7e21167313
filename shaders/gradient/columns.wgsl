// Where X is read twice, the second pass: a workgroup takes 64 vec4 of columns (its y), every segment.partials-th
// row (its x) and eight outputs (its z). Composed with batch.wgsl, model.wgsl and the rows.

@group(0) @binding(5) var<storage, read_write> scores: array<f32>;

const AT_ONCE = 8u;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    let which = segment.first_group + group.x;
    let column = group.y * THREADS + local;
    let first = group.z * AT_ONCE;
    let outputs = min(AT_ONCE, OUTPUTS - first);
    if column < VECTORS {
        var sums: array<vec4f, 8>;
        for (var i = which; i < segment.rows; i += segment.partials) {
            let value = x_at(row_at(i), column);
            for (var k = 0u; k < outputs; k += 1u) {
                sums[k] += value * scores[i * OUTPUTS + first + k];
            }
        }
        for (var k = 0u; k < outputs; k += 1u) {
            partials[partial_at(which, (first + k) * VECTORS + column)] = sums[k];
        }
    }
    // Eight outputs' derivatives are summed for their intercepts, four a thread.
    let four = first / 4u + local;
    if group.y == 0u && local < 2u && four < INTERCEPTS {
        var sum = vec4f(0.0);
        let most = min(4u, OUTPUTS - 4u * four);
        for (var i = which; i < segment.rows; i += segment.partials) {
            for (var k = 0u; k < most; k += 1u) {
                sum[k] += scores[i * OUTPUTS + 4u * four + k];
            }
        }
        partials[partial_at(which, OUTPUTS * VECTORS + four)] = sum;
    }
}
