// Outputs that are independent of each other: each has a target and a loss of its own. Composed with the
// loss, and with a kernel that has load_score and store_score.

// Makes derivatives of the scores from `at` on, and returns what the segment's i-th row adds to the totals.
fn differentiate(i: u32, row: u32, at: u32) -> vec4f {
    var weight = 1.0;
    if WEIGHTED {
        weight = aux_at(i, row, WEIGHT_AT);
    }
    var totals = vec4f(0.0, weight, 0.0, 0.0);
    for (var k = 0u; k < OUTPUTS; k += 1u) {
        let z = shifted_score(i, row, at + k);
        let y = aux_at(i, row, k);
        let point = point(z, y);
        store_score(at + k, weight * point.gradient);
        totals.x += weight * point.loss;
        if METRICS {
            totals.z += weight * correct(z, y) / f32(OUTPUTS);
            totals.w += weight * saturated(y);
        }
    }
    return totals;
}

// The terms of a row in the errors of an output.
fn output_errors(i: u32, row: u32, at: u32, output: u32) -> vec4f {
    var weight = 1.0;
    if WEIGHTED {
        weight = aux_at(i, row, WEIGHT_AT);
    }
    return weight * errors_of(mean(shifted_score(i, row, at + output)), aux_at(i, row, output));
}

fn shifted_score(i: u32, row: u32, at: u32) -> f32 {
    if OFFSET {
        return load_score(at) + aux_at(i, row, OFFSET_AT);
    }
    return load_score(at);
}
