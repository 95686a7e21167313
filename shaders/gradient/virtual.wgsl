// Rows that are made where they are needed; their targets are made ahead, for the run alone.
// Composed with batch.wgsl and synthetic/generator.wgsl.

@group(0) @binding(2) var<storage, read> sides: array<f32>;

fn x_at(row: u32, column: u32) -> vec4f {
    return x_vector(add64(run.base, vec2u(row, 0u)), column);
}

fn side_at(i: u32, row: u32, k: u32) -> f32 {
    return sides[i * SIDE + k];
}
