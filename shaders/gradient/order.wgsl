// A run of a batch's rows, and the order that they come in.

override SHUFFLED: bool = false;

// Bits of `flags`: a batch comes in as many runs as it must.
const FIRST_RUN = 1u;
const LAST_RUN = 2u;
const ODD_RUN = 4u;

// A run of rows within one chunk of X.
struct Run {
    first_row: u32, // of the run in its chunk; of its window, where rows are shuffled
    rows: u32,
    partials: u32,
    flags: u32,
    gradient_scale: f32, // over the batch's rows, or its weight
    loss_scale: f32,
    loss_slot: u32,
    shift: f32,     // near the targets' mean: their squares are taken relative to it
    base: vec2u,    // the row of the whole problem that the chunk begins with, where there is no chunk
    position: u32,  // of the run in its window
    window: u32,    // rows that are shuffled among themselves
    key: vec2u,
    half_bits: u32, // of a position in the window; 0 where the batch is not shuffled
    zero: f32,      // of which compilers do not know that it is one
    first_group: u32, // of a dispatch that makes a part of the partial sums
    first_item: u32,  // and of one that makes a part of what is made ahead of them, row by row
}

@group(0) @binding(0) var<uniform> run: Run;

// The row of the chunk that is the run's i-th.
fn row_at(i: u32) -> u32 {
    if SHUFFLED && run.half_bits > 0u {
        return run.first_row + shuffled(run.position + i);
    }
    return run.first_row + i;
}

// A bijection of 0 … window − 1: a Feistel network over a power of four, walked until it is back within.
// The twin of src/batch.rs.
fn shuffled(position: u32) -> u32 {
    var at = permuted(position);
    while at >= run.window {
        at = permuted(at);
    }
    return at;
}

fn permuted(at: u32) -> u32 {
    let mask = (1u << run.half_bits) - 1u;
    var high = at >> run.half_bits;
    var low = at & mask;
    for (var round = 0u; round < 6u; round += 1u) {
        var mixed = (low ^ (run.key[round % 2u] + round * 0x9e3779b9u)) * 0x85ebca6bu;
        mixed = (mixed ^ (mixed >> 15u)) * 0xc2b2ae35u;
        let next = high ^ ((mixed >> 16u) & mask);
        high = low;
        low = next;
    }
    return (high << run.half_bits) | low;
}
