// Adds the partial sums of a segment in a fixed order, and the segments of a batch to each other; at the last
// segment scales the sums. Composed with batch.wgsl and a file whose finish() takes a vec4 of the gradient.

@group(0) @binding(1) var<storage, read> partials: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
// The sums over the segments so far, in two planes by turns: every workgroup reads the weight of the segments
// before while one of them writes it.
@group(0) @binding(3) var<storage, read_write> so_far: array<vec4f>;

// Four columns a workgroup, sixteen threads a column.
const COLUMNS = 4u;
const LANES = 16u;

var<workgroup> tree: array<vec4f, 64>;
var<workgroup> weights: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let column = (group.y * groups.x + group.x) * COLUMNS + local % COLUMNS;
    let lane = local / COLUMNS;
    let first = (segment.flags & FIRST_SEGMENT) != 0u;
    let odd = (segment.flags & ODD_SEGMENT) != 0u;
    let before = select(PARTIAL, 0u, odd);
    var sum = vec4f(0.0);
    if column < PARTIAL {
        for (var partial = lane; partial < segment.partials; partial += LANES) {
            sum += partials[partial_at(partial, column)];
        }
    }
    tree[local] = sum;
    if WEIGHTED {
        var weight = 0.0;
        for (var partial = local; partial < segment.partials; partial += THREADS) {
            weight += partials[partial_at(partial, PARTIAL - 1u)].y;
        }
        weights[local] = weight;
    }
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if half < LANES && lane < half {
            tree[local] += tree[local + half * COLUMNS];
        }
        if WEIGHTED && local < half {
            weights[local] += weights[local + half];
        }
    }
    workgroupBarrier();
    if lane > 0u || column >= PARTIAL {
        return;
    }
    var total = tree[local];
    var weight = weights[0];
    if !first {
        total = so_far[before + column] + total;
        weight = so_far[before + PARTIAL - 1u].y + weight;
    }
    if METRICS || (segment.flags & LAST_SEGMENT) == 0u {
        so_far[select(0u, PARTIAL, odd) + column] = total;
        return;
    }
    var scale = segment.gradient_scale;
    var mean = segment.loss_scale;
    if WEIGHTED {
        scale = select(0.0, scale / weight, weight > 0.0);
        mean = select(0.0, mean / weight, weight > 0.0);
    }
    if column == PARTIAL - 1u {
        losses[segment.loss_slot] = mean * total.x;
    } else {
        finish(column, scale * total);
    }
}
