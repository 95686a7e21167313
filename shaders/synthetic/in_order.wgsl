// Which rows are made: consecutive ones. Composed with integer.wgsl.

struct Order {
    first_row: vec2u, // its 64-bit number, low word first
    rows: u32,
}

@group(0) @binding(0) var<uniform> order: Order;

// How many rows there are to make.
fn problem_rows() -> u32 {
    return order.rows;
}

// The first of them that a dispatch makes.
fn first_made() -> u32 {
    return 0u;
}

// The number of the i-th of them.
fn problem_row(i: u32) -> vec2u {
    return add64(order.first_row, vec2u(i, 0u));
}
