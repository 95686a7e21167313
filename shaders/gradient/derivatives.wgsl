// Where X is read twice, between the passes: derivatives in the place of scores, a row a thread, and the
// totals. Composed with batch.wgsl, model.wgsl, the rows, a loss and how outputs are differentiated.

@group(0) @binding(5) var<storage, read_write> scores: array<f32>;

var<workgroup> tree: array<vec4f, 64>;

fn load_score(at: u32) -> f32 {
    return scores[at];
}

fn store_score(at: u32, score: f32) {
    scores[at] = score;
}

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    let which = segment.first_group + group.x;
    // As many workgroups as there are partial sums.
    var totals = vec4f(0.0);
    if METRICS {
        for (var output = 0u; output < OUTPUTS; output += 1u) {
            var errors = vec4f(0.0);
            for (var i = which * THREADS + local; i < segment.rows; i += segment.partials * THREADS) {
                errors += output_errors(i, row_at(i), i * OUTPUTS, output);
            }
            let sum = sum_up(errors, local);
            if local == 0u {
                partials[partial_at(which, output)] = sum;
            }
            workgroupBarrier();
        }
    }
    for (var i = which * THREADS + local; i < segment.rows; i += segment.partials * THREADS) {
        totals += differentiate(i, row_at(i), i * OUTPUTS);
    }
    let total = sum_up(totals, local);
    if local == 0u {
        partials[partial_at(which, PARTIAL - 1u)] = total;
    }
}

fn sum_up(value: vec4f, local: u32) -> vec4f {
    tree[local] = value;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            tree[local] += tree[local + half];
        }
    }
    return tree[0];
}
