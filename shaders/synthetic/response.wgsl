// Generation of targets from scores. Equals src/regression/reference/synthetic/response.rs.
// Composed with integer.wgsl and generator.wgsl.

override GRID_SHIFT: u32 = 21u; // from the units of scores to steps of the grid; from 17 to 31
override GRID_FIRST: i32 = 0;   // the first point of the table
override GRID_LAST: i32 = 0;    // number of points after the first
override GRID_WIDTH: u32 = 1u;  // words of the table per point, a power of two

// For a Bernoulli and a Poisson response the probabilities that y > 0, y > 1, … at each point, in units of
// 2⁻³²; for a categorical one e^z in units of 2⁻²⁴, two words.
@group(1) @binding(2) var<storage, read> table: array<u32>;

const OUTLIER_SHIFT = 4u;

// The noise of a linear target, in units of 2⁻²⁹.
fn noise_at(row: vec2u, output: u32) -> vec2u {
    let first = random(row, 2u * output, FOR_NOISE);
    let second = random(row, 2u * output + 1u, FOR_NOISE);
    let parts = four_signed(first.xy) + four_signed(first.zw) + four_signed(second.xy);
    // Each of the twelve has mean −1/2.
    let sum = parts.x + parts.y + parts.z + parts.w + 6;
    let size = mul32(u32(abs(sum)), problem.noise);
    let noise = select(size, negate64(size), sum < 0);
    // The third word is otherwise unused.
    return select(noise, shift_left64(noise, OUTLIER_SHIFT), second.z < problem.outliers);
}

fn linear(row: vec2u, output: u32, score: vec2u) -> f32 {
    return float_from_int64(add64(score, noise_at(row, output)), -29);
}

// The step of the grid that contains a score. Scores are within ±2²², so that it fits.
fn grid_step(score: vec2u) -> i32 {
    return bitcast<i32>((score.x >> GRID_SHIFT) | (score.y << (32u - GRID_SHIFT)));
}

fn grid_point(step: i32) -> u32 {
    return u32(clamp(step - GRID_FIRST, 0, GRID_LAST));
}

// The count drawn from a grid point's cumulative probabilities.
fn count(row: vec2u, score: vec2u) -> u32 {
    let words = random(row, 0u, FOR_RESPONSE);
    // Rounds up with a probability equal to the fractional part.
    let up = vec2u(words.x >> (32u - GRID_SHIFT), 0u);
    let first = grid_point(grid_step(add64(score, up))) * GRID_WIDTH;
    var found = 0u;
    for (var ahead = GRID_WIDTH; ahead > 0u; ahead /= 2u) {
        let next = found + ahead;
        if next <= GRID_WIDTH && words.y < table[first + next - 1u] {
            found = next;
        }
    }
    return found;
}

fn mass_at(step: i32) -> vec2u {
    let at = 2u * grid_point(step);
    return vec2u(table[at], table[at + 1u]);
}

// e^z in units of 2⁻²⁴, between 1 and 2⁴⁸.
fn mass_of(score: vec2u) -> vec2u {
    let step = grid_step(score);
    let fraction = (score.x >> (GRID_SHIFT - 16u)) & 0xffffu;
    let low = mass_at(step);
    let rise = add64(mass_at(step + 1), negate64(low));
    // Neighbouring points are close: their difference is below 2⁴⁰, and its product below 2⁵⁶.
    let product = add64(mul32(rise.x, fraction), vec2u(0u, rise.y * fraction));
    return add64(low, vec2u((product.x >> 16u) | (product.y << 16u), product.y >> 16u));
}

// Whether a class replaces the selected class: with a probability equal to the share of its mass in the sum so far.
fn takes_place(mass: vec2u, total: vec2u, uniform_word: u32) -> bool {
    let part = add64(mul32(total.y, uniform_word), vec2u(mul32(total.x, uniform_word).y, 0u));
    return part.y < mass.y || (part.y == mass.y && part.x < mass.x);
}
