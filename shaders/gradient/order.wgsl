// A segment of a batch, and the order of its rows.

override SHUFFLED: bool = false;

// Bits of `flags`: whether the batch ends with the segment, and whether its sums are to stay as they are.
const LAST_SEGMENT = 1u;
const SUMS_ONLY = 2u;

// Rows of a batch within one chunk of X.
struct Segment {
    first_row: u32, // of the segment in its chunk; of the window, if rows are shuffled
    rows: u32,
    partials: u32,
    flags: u32,
    gradient_scale: f32, // divided by the rows or the weight of the batch
    loss_scale: f32,
    loss_slot: u32,
    shift: f32,     // near the targets' mean: their squares are taken relative to it
    base: vec2u,    // if there are no chunks, the row of the problem from which rows are counted
    position: u32,  // of the segment in its window
    window: u32,    // rows that are shuffled among themselves
    key: vec2u,
    half_bits: u32, // of a position in the window; 0 if the batch is not shuffled
    zero: f32,      // unknown to compilers
    first_group: u32, // of a slice: its first partial sum
    first_item: u32,  // and its first row, in stages that go row by row
    index: u32,       // of the segment in its batch
}

@group(0) @binding(0) var<uniform> segment: Segment;

// The row in the chunk of the segment's i-th row.
fn row_at(i: u32) -> u32 {
    if SHUFFLED && segment.half_bits > 0u {
        return segment.first_row + shuffled(segment.position + i);
    }
    return segment.first_row + i;
}

// A bijection of 0 … window − 1: a Feistel network over a power of four, walked until it is back within.
// The twin of src/regression/batch.rs.
fn shuffled(position: u32) -> u32 {
    var at = permuted(position);
    while at >= segment.window {
        at = permuted(at);
    }
    return at;
}

fn permuted(at: u32) -> u32 {
    let mask = (1u << segment.half_bits) - 1u;
    var high = at >> segment.half_bits;
    var low = at & mask;
    for (var round = 0u; round < 6u; round += 1u) {
        var mixed = (low ^ (segment.key[round % 2u] + round * 0x9e3779b9u)) * 0x85ebca6bu;
        mixed = (mixed ^ (mixed >> 15u)) * 0xc2b2ae35u;
        let next = high ^ ((mixed >> 16u) & mask);
        high = low;
        low = next;
    }
    return (high << segment.half_bits) | low;
}
