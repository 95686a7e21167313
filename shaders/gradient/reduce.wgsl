// Adds the partial sums of a segment in a fixed order, and the segments of a batch as the binary tree of
// src/regression/nodes.rs; at the last segment scales the sums. Composed with batch.wgsl and a file whose finish()
// takes a vec4 of the gradient.

@group(0) @binding(1) var<storage, read> partials: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
// A plane for every level: the sums of the node whose right half is to come.
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
    // The levels of the left halves that wait for this segment: the trailing ones of its index, as in a binary counter;
    // at the end of the batch every one. The plane of the first zero is written, which no workgroup reads.
    let last = (segment.flags & LAST_SEGMENT) != 0u;
    let carried = segment.index & ~(segment.index + 1u);
    for (var levels = select(carried, segment.index, last); levels > 0u; levels &= levels - 1u) {
        let left = countTrailingZeros(levels) * PARTIAL;
        total = so_far[left + column] + total;
        weight = so_far[left + PARTIAL - 1u].y + weight;
    }
    if WEIGHTED && !METRICS && column == PARTIAL - 1u {
        // In the order in which every workgroup sums the weight, for those who divide by it later.
        total.y = weight;
    }
    if METRICS || !last || (segment.flags & SUMS_ONLY) != 0u {
        so_far[countTrailingZeros(~segment.index) * PARTIAL + column] = total;
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
