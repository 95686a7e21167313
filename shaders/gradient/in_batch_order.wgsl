// Which rows are made: those of a run, in its order. Composed with integer.wgsl and order.wgsl.

fn problem_rows() -> u32 {
    return run.rows;
}

fn first_made() -> u32 {
    return run.first_item;
}

fn problem_row(i: u32) -> vec2u {
    return add64(run.base, vec2u(row_at(i), 0u));
}
