// The rows of a run, for the kernel that makes their targets. Composed with batch.wgsl and
// synthetic/targets.wgsl.

fn problem_row(i: u32) -> vec2u {
    return add64(run.base, vec2u(row_at(i), 0u));
}

fn rows_to_make() -> u32 {
    return run.rows;
}
