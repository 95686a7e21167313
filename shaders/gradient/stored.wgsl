// Rows that lie in memory. Composed with batch.wgsl.

override FEATURES: u32 = 1u;
override STRIDE: u32 = 4u; // floats from one row to the next: whole vec4, or FEATURES

@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> aux: array<f32>;

// The features 4 · column … 4 · column + 3 of a row, zero past the last one.
fn x_at(row: u32, column: u32) -> vec4f {
    if STRIDE % 4u == 0u {
        return x[row * (STRIDE / 4u) + column];
    }
    // Rows that are packed begin anywhere in a vec4.
    let first = row * STRIDE + 4u * column;
    let low = x[first / 4u];
    let high = x[min(first / 4u + 1u, arrayLength(&x) - 1u)];
    let shift = first % 4u;
    let odd = select(vec4f(low.yzw, high.x), vec4f(low.w, high.xyz), shift == 3u);
    let even = select(low, vec4f(low.zw, high.xy), shift == 2u);
    let columns = vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u);
    return select(vec4f(0.0), select(even, odd, shift % 2u == 1u), columns < vec4u(FEATURES));
}

// Auxiliary column k of the segment's i-th row, which is `row` in the chunk.
fn aux_at(i: u32, row: u32, k: u32) -> f32 {
    return aux[row * AUX_COLUMNS + k];
}
