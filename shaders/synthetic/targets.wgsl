// Stores the targets of rows. Composed with integer.wgsl, generator.wgsl, response.wgsl and in_order.wgsl, which selects
// the rows.

override RESPONSE: u32 = 0u;         // 0: linear, 1: a count, 2: a class
override OUTPUTS: u32 = 1u;          // scores of a row: linear targets, or classes
override LANES: u32 = 1u;            // threads that share a row; a power of two up to 64
override INTERCEPT_SHIFT: u32 = 15u; // from the units of intercepts to those of scores; below 32

const COUNT = 1u;
const CLASS = 2u;

// Targets, rows × targets, row-major.
@group(0) @binding(1) var<storage, read_write> aux: array<f32>;
// Weights, one row per output with the padding of X, then all intercepts.
@group(1) @binding(1) var<storage, read> weights: array<vec4i>;

// Four 64-bit integers.
struct Four {
    low: vec4u,
    high: vec4u,
}

fn add_four(a: Four, b: Four) -> Four {
    let low = a.low + b.low;
    return Four(low, a.high + b.high + select(vec4u(0u), vec4u(1u), low < a.low));
}

fn sum_of_units(v: vec4i) -> i32 {
    return v.x + v.y + v.z + v.w;
}

// The sums of the upper and of the lower halves of eight products. If a row ends within the block, the features after its
// end are zero.
fn halves(units: Block, block: u32, output: u32) -> vec2i {
    if output >= OUTPUTS {
        return vec2i(0);
    }
    let at = output * ((problem.features + 3u) / 4u) + 2u * block;
    let first = units.first * weights[at];
    let second = units.second * weights[at + 1u];
    let upper = (first >> vec4u(16u)) + (second >> vec4u(16u));
    let lower = (first & vec4i(0xffff)) + (second & vec4i(0xffff));
    return vec2i(sum_of_units(upper), sum_of_units(lower));
}

// A lane's part of four dot products, exact, in the units of scores. Integers can be added in any order; one thread per
// wide row would be a longer loop than some drivers run. The halves of up to 2¹¹ blocks stay below 2³⁰.
fn partial_scores(row: vec2u, lane: u32, output: u32) -> Four {
    let factor = common_factor(row);
    var upper = vec4i(0);
    var lower = vec4i(0);
    for (var block = lane; 8u * block < problem.features; block += LANES) {
        let units = unit_block(row, block, factor);
        let a = halves(units, block, output);
        if OUTPUTS > 1u {
            let b = halves(units, block, output + 1u);
            let c = halves(units, block, output + 2u);
            let d = halves(units, block, output + 3u);
            upper += vec4i(a.x, b.x, c.x, d.x);
            lower += vec4i(a.y, b.y, c.y, d.y);
        } else {
            upper.x += a.x;
            lower.x += a.y;
        }
    }
    let shifted = Four(bitcast<vec4u>(upper) << vec4u(16u), bitcast<vec4u>(upper >> vec4u(16u)));
    return add_four(shifted, Four(bitcast<vec4u>(lower), vec4u(0u)));
}

fn intercept(output: u32) -> vec2u {
    let at = OUTPUTS * ((problem.features + 3u) / 4u) + output / 4u;
    let b = weights[at][output % 4u];
    return shift_left64(vec2u(bitcast<u32>(b), bitcast<u32>(b >> 31u)), INTERCEPT_SHIFT);
}

var<workgroup> scores: array<Four, 64>;

// LANES threads per row, four outputs at a time.
@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let lane = local % LANES;
    let i = first_made() + (group.y * groups.x + group.x) * (64u / LANES) + local / LANES;
    let exists = i < problem_rows();
    var row = vec2u(0u);
    if exists {
        row = problem_row(i);
    }
    var total = vec2u(0u); // sum of the masses so far
    var chosen = 0u;
    for (var first = 0u; first < OUTPUTS; first += 4u) {
        if first > 0u {
            // After the sums of the last four outputs are complete.
            workgroupBarrier();
        }
        scores[local] = partial_scores(row, lane, first);
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if lane < half {
                scores[local] = add_four(scores[local], scores[local + half]);
            }
        }
        if lane == 0u && exists {
            let four = scores[local];
            var uniforms = vec4u(0u);
            if RESPONSE == CLASS {
                uniforms = random(row, first / 4u, FOR_RESPONSE);
            }
            for (var k = 0u; k < min(4u, OUTPUTS - first); k += 1u) {
                let output = first + k;
                let score = add64(vec2u(four.low[k], four.high[k]), intercept(output));
                if RESPONSE == CLASS {
                    let mass = mass_of(score);
                    total = add64(total, mass);
                    chosen = select(chosen, output, takes_place(mass, total, uniforms[k]));
                } else if RESPONSE == COUNT {
                    aux[i] = f32(count(row, score));
                } else {
                    aux[i * OUTPUTS + output] = linear(row, output, score);
                }
            }
        }
    }
    if RESPONSE == CLASS && lane == 0u && exists {
        aux[i] = f32(chosen);
    }
}
