// Adds the partial sums in a fixed order and scales them: the gradient and the batch's loss.
// Composed with batch.wgsl.

@group(0) @binding(1) var<storage, read> partials: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> grads: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

// Four columns a workgroup, sixteen threads a column.
const COLUMNS = 4u;
const LANES = 16u;

var<workgroup> tree: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let column = (group.y * groups.x + group.x) * COLUMNS + local % COLUMNS;
    let lane = local / COLUMNS;
    var sum = vec4f(0.0);
    if column <= VECTORS {
        for (var partial = lane; partial < run.partials; partial += LANES) {
            sum += partials[partial_at(partial, column)];
        }
    }
    tree[local] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            tree[local] += tree[local + half * COLUMNS];
        }
    }
    if lane > 0u || column > VECTORS {
        return;
    }
    let total = tree[local];
    if column == VECTORS {
        grads[FEATURES] = run.scale * total.x;
        losses[run.loss_slot] = run.mean * total.y;
        return;
    }
    for (var k = 0u; k < 4u; k += 1u) {
        let j = 4u * column + k;
        if j < FEATURES {
            grads[j] = run.scale * total[k];
        }
    }
}
