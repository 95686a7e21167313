// Philox 4×32-10 and what synthetic problems are made of. The twin of this file is src/cpu/random.rs,
// bit for bit: integers throughout, and one conversion to f32 that is exact or rounds to nearest.
// Composed with integer.wgsl.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

override VECTORS: u32 = 1u; // vec4 in a row of X, the last one padded with zeros
override LANES: u32 = 1u;   // threads that share a target; a power of two up to 64

const FEATURES = 0u;
const NOISE = 1u;

const UNIT = 0x1p-15f;

struct Problem {
    key: vec2u,
    first_row: vec2u, // of the whole problem, 64-bit: the chunk's row 0
    rows: u32,
    features: u32,
    noise: u32, // standard deviation in units of 2⁻¹³
}

@group(0) @binding(0) var<uniform> problem: Problem;
@group(0) @binding(1) var<storage, read> weights: array<i32>; // in units of 2⁻¹⁴, the intercept last
@group(0) @binding(2) var<storage, read_write> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

fn philox(start: vec4u) -> vec4u {
    var counter = start;
    var key = problem.key;
    for (var round = 0u; round < 10u; round += 1u) {
        if round > 0u {
            key += vec2u(0x9e3779b9u, 0xbb67ae85u);
        }
        let a = mul32(counter.x, 0xd2511f53u);
        let b = mul32(counter.z, 0xcd9e8d57u);
        counter = vec4u(b.y ^ counter.y ^ key.x, b.x, a.y ^ counter.w ^ key.y, a.x);
    }
    return counter;
}

fn random(row: vec2u, block: u32, purpose: u32) -> vec4u {
    return philox(vec4u(row, block, purpose));
}

// Four signed 16-bit integers from two words, the low half of a word first.
fn four(words: vec2u) -> vec4i {
    let w = bitcast<vec2i>(words);
    return vec4i((w.x << 16u) >> 16u, w.x >> 16u, (w.y << 16u) >> 16u, w.y >> 16u);
}

fn sign_extend(a: i32) -> vec2u {
    return vec2u(bitcast<u32>(a), bitcast<u32>(a >> 31u));
}

fn problem_row(row: u32) -> vec2u {
    return add64(problem.first_row, vec2u(row, 0u));
}

fn thread(id: vec3u, groups: vec3u) -> u32 {
    return id.y * (groups.x * 64u) + id.x;
}

// Zero past the last feature, so that padding adds nothing to a dot product.
fn within(units: vec4i, first_column: u32) -> vec4i {
    let columns = vec4u(first_column) + vec4u(0u, 1u, 2u, 3u);
    return select(vec4i(0), units, columns < vec4u(problem.features));
}

// Eight features of one row a thread.
@compute @workgroup_size(64)
fn features(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let blocks = (VECTORS + 1u) / 2u;
    let i = thread(id, groups);
    let row = i / blocks;
    let block = i % blocks;
    if row >= problem.rows {
        return;
    }
    let words = random(problem_row(row), block, FEATURES);
    let at = row * VECTORS + 2u * block;
    x[at] = vec4f(within(four(words.xy), 8u * block)) * UNIT;
    if 2u * block + 1u < VECTORS {
        x[at + 1u] = vec4f(within(four(words.zw), 8u * block + 4u)) * UNIT;
    }
}

fn noise_at(row: vec2u) -> vec2u {
    let first = random(row, 0u, NOISE);
    let second = random(row, 1u, NOISE);
    let sums = four(first.xy) + four(first.zw) + four(second.xy);
    // Each of the twelve has mean −1/2.
    let sum = sums.x + sums.y + sums.z + sums.w + 6;
    let magnitude = mul32(u32(abs(sum)), problem.noise);
    return select(magnitude, negate64(magnitude), sum < 0);
}

var<workgroup> sums: array<vec2u, 64>;

// LANES threads a target: the features once more, exactly, as integers in units of 2⁻²⁹. Integers can be
// added in any order, and a wide row by one thread would be a longer loop than some drivers run.
@compute @workgroup_size(64)
fn targets(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let lane = local % LANES;
    let i = (group.y * groups.x + group.x) * (64u / LANES) + local / LANES;
    let row = problem_row(i);
    var sum = vec2u(0u);
    if i < problem.rows {
        for (var first = 8u * lane; first < problem.features; first += 8u * LANES) {
            let words = random(row, first / 8u, FEATURES);
            for (var k = 0u; k < 8u; k += 1u) {
                let column = first + k;
                if column < problem.features {
                    let half = words[k / 2u] >> (16u * (k % 2u));
                    let unit = bitcast<i32>(half << 16u) >> 16u;
                    sum = add64(sum, sign_extend(unit * weights[column]));
                }
            }
        }
    }
    sums[local] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            sums[local] = add64(sums[local], sums[local + half]);
        }
    }
    if lane == 0u && i < problem.rows {
        let intercept = weights[problem.features];
        let offset = vec2u(bitcast<u32>(intercept) << 15u, bitcast<u32>(intercept >> 17u));
        y[i] = float_from_int64(add64(add64(sums[local], offset), noise_at(row)), -29);
    }
}
