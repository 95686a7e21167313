// Softmax regression: the class y's −ln μ. Relative to the largest score, so that nothing overflows and
// the sum is at least one. Composed with a kernel that has load_score and store_score.

// Makes derivatives of the scores from `at` on, and returns what the segment's i-th row adds to the totals.
fn differentiate(i: u32, row: u32, at: u32) -> vec4f {
    var weight = 1.0;
    if WEIGHTED {
        weight = aux_at(i, row, WEIGHT_AT);
    }
    let target_class = min(u32(max(aux_at(i, row, 0u), 0.0)), OUTPUTS - 1u);
    var largest = load_score(at);
    var likeliest = 0u;
    for (var k = 1u; k < OUTPUTS; k += 1u) {
        let z = load_score(at + k);
        if z > largest {
            largest = z;
            likeliest = k;
        }
    }
    let own = load_score(at + target_class) - largest;
    var sum = 0.0;
    for (var k = 0u; k < OUTPUTS; k += 1u) {
        let e = exponential(load_score(at + k) - largest);
        store_score(at + k, e);
        sum += e;
    }
    for (var k = 0u; k < OUTPUTS; k += 1u) {
        let probability = load_score(at + k) / sum;
        store_score(at + k, weight * select(probability, probability - 1.0, k == target_class));
    }
    let loss = logarithm(sum) - own;
    return weight * vec4f(loss, 1.0, f32(likeliest == target_class), 0.0);
}

// A class is not a number to be near to.
fn output_errors(i: u32, row: u32, at: u32, output: u32) -> vec4f {
    return vec4f(0.0);
}
