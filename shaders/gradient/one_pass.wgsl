// Up to 4096 features: X is read once. Composed with batch.wgsl and rows.wgsl.
//
// LANES threads share a row, each BLOCKS vec4 of it, and keep ROWS such rows in registers while the
// residuals are summed across the lanes; then the same registers give xᵢⱼ rᵢ. A workgroup holds
// 64 / LANES such teams. The shape of every sum is fixed by FEATURES and the number of rows.

override LANES: u32 = 1u;  // a power of two up to 64
override BLOCKS: u32 = 1u; // up to 16; 1 unless LANES is 64
override ROWS: u32 = 8u;   // up to 8, with ROWS · BLOCKS up to 16

var<workgroup> dots: array<f32, 512>;
var<workgroup> tree: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let teams = THREADS / LANES;
    let team = local / LANES;
    let lane = local % LANES;
    let tile = teams * ROWS;
    let tiles = (batch.rows + tile - 1u) / tile;
    let intercept = params[FEATURES];

    var w: array<vec4f, 16>;
    var sums: array<vec4f, 16>;
    for (var c = 0u; c < BLOCKS; c += 1u) {
        w[c] = weights_at(c * LANES + lane);
        sums[c] = vec4f(0.0);
    }
    var totals = vec4f(0.0); // Σ r, Σ r²

    for (var t = group.x; t < tiles; t += groups.x) {
        let first = t * tile + team;
        var held: array<vec4f, 16>;
        for (var r = 0u; r < ROWS; r += 1u) {
            let row = first + r * teams;
            var dot = vec4f(0.0);
            for (var c = 0u; c < BLOCKS; c += 1u) {
                let column = c * LANES + lane;
                var value = vec4f(0.0);
                if row < batch.rows && column < VECTORS {
                    value = x[(batch.first_row + row) * VECTORS + column];
                }
                held[r * BLOCKS + c] = value;
                dot += value * w[c];
            }
            dots[r * THREADS + local] = sum_of(dot);
        }
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if lane < half {
                for (var r = 0u; r < ROWS; r += 1u) {
                    dots[r * THREADS + local] += dots[r * THREADS + local + half];
                }
            }
        }
        workgroupBarrier();
        for (var r = 0u; r < ROWS; r += 1u) {
            let row = first + r * teams;
            if row < batch.rows {
                let residual =
                    dots[r * THREADS + team * LANES] + intercept - y[batch.first_row + row];
                for (var c = 0u; c < BLOCKS; c += 1u) {
                    sums[c] += held[r * BLOCKS + c] * residual;
                }
                totals += vec4f(residual, residual * residual, 0.0, 0.0);
            }
        }
        workgroupBarrier();
    }

    // Teams are added up as a tree. There is more than one team only where BLOCKS is 1.
    let partial = batch.first_partial + group.x;
    for (var c = 0u; c < BLOCKS; c += 1u) {
        let sum = across_teams(sums[c], local, teams);
        let column = c * LANES + lane;
        if team == 0u && column < VECTORS {
            partials[partial_at(partial, column)] = sum;
        }
    }
    let total = across_teams(totals, local, teams);
    if local == 0u {
        partials[partial_at(partial, VECTORS)] = total;
    }
}

fn across_teams(value: vec4f, local: u32, teams: u32) -> vec4f {
    workgroupBarrier();
    tree[local] = value;
    for (var half = teams / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half * LANES {
            tree[local] += tree[local + half * LANES];
        }
    }
    workgroupBarrier();
    return tree[local];
}
