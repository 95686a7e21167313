// Philox 4×32-10 and the features of synthetic problems. A value is a function of (seed, row, column, purpose) alone, in
// integer arithmetic with one exact conversion to f32: a kernel that binds the problem can compute any vector of X.
// Equals src/regression/reference/synthetic/mod.rs.
// Composed with integer.wgsl.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

override CORRELATED: bool = false; // the features of a row have a common factor

// Purposes of random numbers: the last word of a counter.
const FOR_FEATURES = 0u;
const FOR_NOISE = 1u;
const FOR_FACTOR = 3u;
const FOR_RESPONSE = 5u;

const FEATURE_UNIT = 0x1p-15f;

struct Problem {
    key: vec2u,
    features: u32,
    factor: i32,   // weight of a row's common factor, in units of 2⁻¹⁵
    own: i32,      // weight of a feature's individual part, likewise
    noise: u32,    // standard deviation in units of 2⁻¹³
    outliers: u32, // their share in units of 2⁻³²
}

@group(1) @binding(0) var<uniform> problem: Problem;

fn philox_round(counter: vec4u, key: vec2u) -> vec4u {
    let a = mul32(counter.x, 0xd2511f53u);
    let b = mul32(counter.z, 0xcd9e8d57u);
    return vec4u(b.y ^ counter.y ^ key.x, b.x, a.y ^ counter.w ^ key.y, a.x);
}

// Unrolled: these iterations would be most of those of a wide row, and some drivers end a thread after 65535 iterations.
fn philox(start: vec4u) -> vec4u {
    let step = vec2u(0x9e3779b9u, 0xbb67ae85u);
    var counter = philox_round(start, problem.key);
    counter = philox_round(counter, problem.key + 1u * step);
    counter = philox_round(counter, problem.key + 2u * step);
    counter = philox_round(counter, problem.key + 3u * step);
    counter = philox_round(counter, problem.key + 4u * step);
    counter = philox_round(counter, problem.key + 5u * step);
    counter = philox_round(counter, problem.key + 6u * step);
    counter = philox_round(counter, problem.key + 7u * step);
    counter = philox_round(counter, problem.key + 8u * step);
    return philox_round(counter, problem.key + 9u * step);
}

// Four random words from one counter. Row numbers have 64 bits, low word first.
fn random(row: vec2u, block: u32, purpose: u32) -> vec4u {
    return philox(vec4u(row, block, purpose));
}

// Four signed 16-bit integers from two words, the low half of a word first.
fn four_signed(words: vec2u) -> vec4i {
    let w = bitcast<vec2i>(words);
    return vec4i((w.x << 16u) >> 16u, w.x >> 16u, (w.y << 16u) >> 16u, w.y >> 16u);
}

// The common factor of the features of a row.
fn common_factor(row: vec2u) -> i32 {
    if CORRELATED {
        return four_signed(random(row, 0u, FOR_FACTOR).xy).x;
    }
    return 0;
}

// Four features from their individual parts; zero past the last feature, so that padding adds nothing to a dot product.
// The squares of `factor` and `own` sum to 2³⁰, so the sum is below 1.42 · 2³⁰.
fn mixed(parts: vec4i, factor: i32, column: u32) -> vec4i {
    var units = parts;
    if CORRELATED {
        units = (vec4i(problem.factor * factor) + problem.own * parts) >> vec4u(15u);
    }
    let columns = vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u);
    return select(vec4i(0), units, columns < vec4u(problem.features));
}

// Eight features from one counter.
struct Block {
    first: vec4i,
    second: vec4i,
}

// The features 8·block … 8·block + 7 of a row whose common factor is known, in units of 2⁻¹⁵.
fn unit_block(row: vec2u, block: u32, factor: i32) -> Block {
    let words = random(row, block, FOR_FEATURES);
    let first = mixed(four_signed(words.xy), factor, 2u * block);
    return Block(first, mixed(four_signed(words.zw), factor, 2u * block + 1u));
}

// The features 4·column … 4·column + 3 of any row, in units of 2⁻¹⁵.
fn unit_vector(row: vec2u, column: u32) -> vec4i {
    let words = random(row, column / 2u, FOR_FEATURES);
    let parts = four_signed(select(words.xy, words.zw, column % 2u == 1u));
    return mixed(parts, common_factor(row), column);
}

// The same features as f32, as in X.
fn x_vector(row: vec2u, column: u32) -> vec4f {
    return vec4f(unit_vector(row, column)) * FEATURE_UNIT;
}
