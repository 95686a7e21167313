// Up to 4096 features: X is read once. Composed with batch.wgsl and rows.wgsl.
//
// A team of LANES threads shares a row, each BLOCKS vec4 of it, and keeps ROWS such rows in registers
// while the residuals are summed across the lanes; then the same registers give xᵢⱼ rᵢ. A workgroup
// holds 64 / LANES teams. The shape of every sum is fixed by FEATURES and the number of rows.

override LANES: u32 = 1u;  // a power of two up to 64
override BLOCKS: u32 = 1u; // up to 16, and up to 4 where there is more than one team
override ROWS: u32 = 4u;   // up to 4, with ROWS · BLOCKS up to 16

// Partial dot products while rows are read; afterwards the teams' Σ r and Σ r².
var<workgroup> dots: array<f32, 256>;
var<workgroup> columns: array<vec4f, 256>;

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
    let tiles = (run.rows + tile - 1u) / tile;
    let intercept = params[FEATURES];

    var w: array<vec4f, 16>;
    var sums: array<vec4f, 16>;
    for (var c = 0u; c < BLOCKS; c += 1u) {
        w[c] = weights_at(c * LANES + lane);
        sums[c] = vec4f(0.0);
    }
    var residual_sum = 0.0;
    var square_sum = 0.0;

    for (var t = group.x; t < tiles; t += groups.x) {
        let first = t * tile + team;
        var held: array<vec4f, 16>;
        for (var r = 0u; r < ROWS; r += 1u) {
            // Past the end the last row and column are read again: with residual and weight zero.
            let row = min(first + r * teams, run.rows - 1u);
            var dot = vec4f(0.0);
            for (var c = 0u; c < BLOCKS; c += 1u) {
                let column = min(c * LANES + lane, VECTORS - 1u);
                let value = x[(run.first_row + row) * VECTORS + column];
                held[r * BLOCKS + c] = value;
                dot += value * w[c];
            }
            dots[r * THREADS + local] = sum_of(dot);
        }
        // A tree until four lanes are left, which every thread of the team then adds by itself.
        for (var half = LANES / 2u; half >= 4u; half /= 2u) {
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
            let last = min(row, run.rows - 1u);
            var residual = intercept - y[run.first_row + last];
            for (var l = 0u; l < min(LANES, 4u); l += 1u) {
                residual += dots[r * THREADS + team * LANES + l];
            }
            residual = select(0.0, residual, row < run.rows);
            for (var c = 0u; c < BLOCKS; c += 1u) {
                sums[c] += held[r * BLOCKS + c] * residual;
            }
            residual_sum += residual;
            square_sum += residual * residual;
        }
        workgroupBarrier();
    }

    let partial = run.first_partial + group.x;
    if teams == 1u {
        for (var c = 0u; c < BLOCKS; c += 1u) {
            let column = c * LANES + lane;
            if column < VECTORS {
                partials[partial_at(partial, column)] = sums[c];
            }
        }
        if local == 0u {
            partials[partial_at(partial, VECTORS)] = vec4f(residual_sum, square_sum, 0.0, 0.0);
        }
        return;
    }

    // The teams are added in order: one thread a column.
    for (var c = 0u; c < BLOCKS; c += 1u) {
        columns[c * THREADS + local] = sums[c];
    }
    dots[local] = residual_sum;
    dots[THREADS + local] = square_sum;
    workgroupBarrier();
    for (var column = local; column < VECTORS; column += THREADS) {
        var sum = vec4f(0.0);
        for (var other = 0u; other < teams; other += 1u) {
            sum += columns[column / LANES * THREADS + other * LANES + column % LANES];
        }
        partials[partial_at(partial, column)] = sum;
    }
    if local == 0u {
        var total = vec4f(0.0);
        for (var other = 0u; other < teams; other += 1u) {
            total += vec4f(dots[other * LANES], dots[THREADS + other * LANES], 0.0, 0.0);
        }
        partials[partial_at(partial, VECTORS)] = total;
    }
}
