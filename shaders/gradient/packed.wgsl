// Rows that lie in memory without padding, read float by float: small problems lie in a cache, and so it
// does not matter that they are not read by whole vec4, but how much is. Composed with batch.wgsl.

override FEATURES: u32 = 1u;

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> aux: array<f32>;

// The features 4 · column … 4 · column + 3 of a row, zero past the last one.
fn x_at(row: u32, column: u32) -> vec4f {
    let at = 4u * column;
    return vec4f(feature(row, at), feature(row, at + 1u), feature(row, at + 2u), feature(row, at + 3u));
}

fn feature(row: u32, at: u32) -> f32 {
    if at < FEATURES {
        return x[row * FEATURES + at];
    }
    return 0.0;
}

fn aux_at(i: u32, row: u32, k: u32) -> f32 {
    return aux[row * AUX_COLUMNS + k];
}
