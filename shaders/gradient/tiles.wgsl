// Several outputs, as a tiled product: X is read once. Composed with batch.wgsl, model.wgsl, the rows, a
// loss and how outputs are differentiated.
//
// A workgroup loads ROWS rows, takes all their scores, makes derivatives of them, and adds the products
// of rows and derivatives to the sums that its threads hold: up to 16 vec4 each.

override ROWS: u32 = 16u; // with ROWS · VECTORS up to 512 and ROWS · OUTPUTS up to 1024

var<workgroup> tile: array<vec4f, 512>;
var<workgroup> scores: array<f32, 1024>;
var<workgroup> row_totals: array<vec4f, 64>;

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
    let tiles = (segment.rows + ROWS - 1u) / ROWS;
    let held = select(OUTPUTS * VECTORS, OUTPUTS, METRICS);
    var sums: array<vec4f, 16>;
    for (var j = 0u; j < 16u; j += 1u) {
        sums[j] = vec4f(0.0);
    }
    var totals = vec4f(0.0);
    var intercepts: array<f32, 16>;

    for (var t = which; t < tiles; t += segment.partials) {
        let first = t * ROWS;
        let rows = min(ROWS, segment.rows - first);
        for (var at = local; at < rows * VECTORS; at += THREADS) {
            tile[at] = x_at(row_at(first + at / VECTORS), at % VECTORS);
        }
        workgroupBarrier();
        for (var at = local; at < rows * OUTPUTS; at += THREADS) {
            let row = at / OUTPUTS * VECTORS;
            let output = at % OUTPUTS;
            var dot = vec4f(0.0);
            for (var c = 0u; c < VECTORS; c += 1u) {
                dot += tile[row + c] * unpack_param(params[output * VECTORS + c]);
            }
            scores[at] = sum_of(dot) + intercept_of(output);
        }
        workgroupBarrier();
        if METRICS {
            for (var j = 0u; j < 16u && local + j * THREADS < held; j += 1u) {
                let output = local + j * THREADS;
                for (var r = 0u; r < rows; r += 1u) {
                    sums[j] += output_errors(first + r, row_at(first + r), r * OUTPUTS, output);
                }
            }
            workgroupBarrier();
        }
        if local < rows {
            totals += differentiate(first + local, row_at(first + local), local * OUTPUTS);
        }
        workgroupBarrier();
        if !METRICS {
            for (var j = 0u; j < 16u && local + j * THREADS < held; j += 1u) {
                let at = local + j * THREADS;
                let output = at / VECTORS;
                let column = at % VECTORS;
                for (var r = 0u; r < rows; r += 1u) {
                    sums[j] += tile[r * VECTORS + column] * scores[r * OUTPUTS + output];
                }
            }
            for (var j = 0u; j < 16u && local + j * THREADS < OUTPUTS; j += 1u) {
                for (var r = 0u; r < rows; r += 1u) {
                    intercepts[j] += scores[r * OUTPUTS + local + j * THREADS];
                }
            }
        }
        workgroupBarrier();
    }

    for (var j = 0u; j < 16u && local + j * THREADS < held; j += 1u) {
        partials[partial_at(which, local + j * THREADS)] = sums[j];
    }
    // Four outputs' sums become one vec4.
    if !METRICS && INTERCEPTS > 0u {
        for (var j = 0u; j < 16u && local + j * THREADS < OUTPUTS; j += 1u) {
            scores[local + j * THREADS] = intercepts[j];
        }
    }
    row_totals[local] = totals;
    workgroupBarrier();
    if !METRICS {
        for (var i = local; i < INTERCEPTS; i += THREADS) {
            var four = vec4f(0.0);
            for (var k = 0u; k < min(4u, OUTPUTS - 4u * i); k += 1u) {
                four[k] = scores[4u * i + k];
            }
            partials[partial_at(which, OUTPUTS * VECTORS + i)] = four;
        }
    }
    if local == 0u {
        var total = vec4f(0.0);
        for (var other = 0u; other < min(THREADS, ROWS); other += 1u) {
            total += row_totals[other];
        }
        partials[partial_at(which, PARTIAL - 1u)] = total;
    }
}
