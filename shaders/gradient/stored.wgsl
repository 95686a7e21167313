// Rows that lie in memory. Composed with batch.wgsl.

@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> sides: array<f32>;

fn x_at(row: u32, column: u32) -> vec4f {
    return x[row * VECTORS + column];
}

// What lies beside the run's i-th row, which is that row of the chunk.
fn side_at(i: u32, row: u32, k: u32) -> f32 {
    return sides[row * SIDE + k];
}
