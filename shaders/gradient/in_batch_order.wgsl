// The rows to generate: those of a segment, in its order. Composed with integer.wgsl and order.wgsl.

fn problem_rows() -> u32 {
    return segment.rows;
}

fn first_made() -> u32 {
    return segment.first_item;
}

fn problem_row(i: u32) -> vec2u {
    return add64(segment.base, vec2u(row_at(i), 0u));
}
