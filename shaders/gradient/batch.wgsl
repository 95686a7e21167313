// Shared by the kernels of gradients: the shape of the model, and the layout of partial sums. Composed with
// order.wgsl.

override VECTORS: u32 = 1u;    // vec4 in a row of X, and of the weights of an output; the rest of the last is 0
override OUTPUTS: u32 = 1u;
override INTERCEPTS: u32 = 1u; // vec4 of intercepts, behind all weights; 0 for none
override AUX_COLUMNS: u32 = 1u;       // floats beside a row: its targets, then its weight, then its offset
override WEIGHTED: bool = false;
override WEIGHT_AT: u32 = 1u;
override OFFSET: bool = false;
override OFFSET_AT: u32 = 1u;
override METRICS: bool = false; // what evaluates a model, in the place of a gradient
override PARTIAL: u32 = 3u;    // vec4 of a partial sum

const THREADS = 64u;

// Of a gradient: the columns of every output, the intercepts, and last the totals. Of an evaluation: the
// errors of every output, and last the totals. Totals are Σ s · (loss, 1, correct, saturated loss).
fn partial_at(partial: u32, column: u32) -> u32 {
    return partial * PARTIAL + column;
}
