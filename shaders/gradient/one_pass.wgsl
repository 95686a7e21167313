// One output and up to 4096 features: X is read once. Composed with batch.wgsl, model.wgsl, the rows and a loss.
//
// A team of LANES threads shares a row, each BLOCKS vec4 of it, and keeps ROWS such rows in registers
// while the scores are summed across the lanes; then the same registers give xᵢⱼ times the derivative.
// A workgroup holds 64 / LANES teams. The shape of every sum is fixed by FEATURES and the number of rows.

override LANES: u32 = 1u;  // a power of two up to 64
override BLOCKS: u32 = 1u; // up to 16, and up to 4 where there is more than one team
override ROWS: u32 = 4u;   // up to 4, with ROWS · BLOCKS up to 16

// Partial dot products while rows are read.
var<workgroup> dots: array<f32, 256>;
// The teams' sums afterwards.
var<workgroup> columns: array<vec4f, 256>;
var<workgroup> teams_totals: array<vec4f, 64>;
var<workgroup> teams_errors: array<vec4f, 64>;

// Which column of X is a lane's c-th. Two that lie side by side are one lane's where it takes an even
// number: rows that are made come in such pairs.
fn column_of(c: u32, lane: u32) -> u32 {
    if BLOCKS % 2u == 0u {
        return c / 2u * (2u * LANES) + 2u * lane + c % 2u;
    }
    return c * LANES + lane;
}

// Where the sums of a column are among those of a team.
fn place_of(column: u32) -> u32 {
    if BLOCKS % 2u == 0u {
        let c = column / (2u * LANES) * 2u + column % 2u;
        return c * THREADS + column % (2u * LANES) / 2u;
    }
    return column / LANES * THREADS + column % LANES;
}

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    let which = segment.first_group + group.x;
    let teams = THREADS / LANES;
    let team = local / LANES;
    let lane = local % LANES;
    let tile = teams * ROWS;
    let tiles = (segment.rows + tile - 1u) / tile;
    let intercept = intercept_of(0u);

    var w: array<vec4f, 16>;
    var sums: array<vec4f, 16>;
    for (var c = 0u; c < BLOCKS; c += 1u) {
        let column = column_of(c, lane);
        // Past the last column X is read again: with a weight of zero.
        w[c] = select(vec4f(0.0), unpack_param(params[min(column, VECTORS - 1u)]), column < VECTORS);
        sums[c] = vec4f(0.0);
    }
    var errors = vec4f(0.0); // in a gradient (Σ s · derivative, 0, 0, 0)
    var totals = vec4f(0.0);

    for (var t = which; t < tiles; t += segment.partials) {
        let first = t * tile + team;
        var held: array<vec4f, 16>;
        for (var r = 0u; r < ROWS; r += 1u) {
            // Past the end the last row is read again: with a derivative of zero.
            let row = row_at(min(first + r * teams, segment.rows - 1u));
            var dot = vec4f(0.0);
            for (var c = 0u; c < BLOCKS; c += 1u) {
                let value = x_at(row, min(column_of(c, lane), VECTORS - 1u));
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
            let i = first + r * teams;
            let last = min(i, segment.rows - 1u);
            let row = row_at(last);
            let y = aux_at(last, row, 0u);
            var z = intercept;
            for (var l = 0u; l < min(LANES, 4u); l += 1u) {
                z += dots[r * THREADS + team * LANES + l];
            }
            if OFFSET {
                z += aux_at(last, row, OFFSET_AT);
            }
            var point = point(z, y);
            var weight = 1.0;
            if WEIGHTED {
                weight = aux_at(last, row, WEIGHT_AT);
                point = Point(weight * point.gradient, weight * point.loss);
            }
            let within = i < segment.rows;
            if METRICS {
                let total = vec4f(point.loss, weight, weight * correct(z, y), weight * saturated(y));
                totals += select(vec4f(0.0), total, within);
                errors += select(vec4f(0.0), weight * errors_of(mean(z), y), within);
            } else {
                let gradient = select(0.0, point.gradient, within);
                for (var c = 0u; c < BLOCKS; c += 1u) {
                    sums[c] += held[r * BLOCKS + c] * gradient;
                }
                errors.x += gradient;
                totals += select(vec4f(0.0), vec4f(point.loss, weight, 0.0, 0.0), within);
            }
        }
        workgroupBarrier();
    }

    // The teams are added in order: one thread a column.
    for (var c = 0u; c < BLOCKS; c += 1u) {
        if teams > 1u {
            columns[c * THREADS + local] = sums[c];
        } else if !METRICS {
            let column = column_of(c, lane);
            if column < VECTORS {
                partials[partial_at(which, column)] = sums[c];
            }
        }
    }
    teams_totals[local] = totals;
    teams_errors[local] = errors;
    workgroupBarrier();
    if teams > 1u && !METRICS {
        for (var column = local; column < VECTORS; column += THREADS) {
            var sum = vec4f(0.0);
            for (var other = 0u; other < teams; other += 1u) {
                sum += columns[place_of(column) + other * LANES];
            }
            partials[partial_at(which, column)] = sum;
        }
    }
    if local == 0u {
        var error = vec4f(0.0);
        var total = vec4f(0.0);
        for (var other = 0u; other < teams; other += 1u) {
            error += teams_errors[other * LANES];
            total += teams_totals[other * LANES];
        }
        if METRICS || INTERCEPTS > 0u {
            partials[partial_at(which, PARTIAL - 2u)] = error;
        }
        partials[partial_at(which, PARTIAL - 1u)] = total;
    }
}
