// Selects consecutive rows to generate. Composed with integer.wgsl.

struct Order {
    first_row: vec2u, // its 64-bit index, low word first
    rows: u32,
}

@group(0) @binding(0) var<uniform> order: Order;

// The number of rows to generate.
fn problem_rows() -> u32 {
    return order.rows;
}

// The first row of a dispatch.
fn first_made() -> u32 {
    return 0u;
}

// The index of row i.
fn problem_row(i: u32) -> vec2u {
    return add64(order.first_row, vec2u(i, 0u));
}
