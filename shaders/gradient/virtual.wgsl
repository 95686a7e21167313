// Rows that are generated where they are read; their targets are generated before, for one segment.
// Composed with batch.wgsl and synthetic/generator.wgsl.

@group(0) @binding(2) var<storage, read> aux: array<f32>;

// The vectors that were generated last: one call generates two vec4.
var<private> made_row: u32;
var<private> made_block: u32 = 0xffffffffu;
var<private> made: Block;

fn x_at(row: u32, column: u32) -> vec4f {
    let block = column / 2u;
    if row != made_row || block != made_block {
        let number = add64(segment.base, vec2u(row, 0u));
        made = unit_block(number, block, common_factor(number));
        made_row = row;
        made_block = block;
    }
    return vec4f(select(made.first, made.second, column % 2u == 1u)) * FEATURE_UNIT;
}

fn aux_at(i: u32, row: u32, k: u32) -> f32 {
    return aux[i * AUX_COLUMNS + k];
}
