// What the gradient's kernels agree on: the batch, and how partial sums lie in memory.

override VECTORS: u32 = 1u;  // vec4 in a row of X, the last one padded with zeros
override FEATURES: u32 = 1u; // the intercept is params[FEATURES]

const THREADS = 64u;

// A run of rows within one chunk of X, and where its sums go.
struct Run {
    first_row: u32,
    rows: u32,
    first_partial: u32, // of this run
    partials: u32,      // of the whole batch, all its runs together
    scale: f32,         // 2 / N
    mean: f32,          // 1 / N
    loss_slot: u32,
}

@group(0) @binding(0) var<uniform> run: Run;

// A partial is VECTORS vec4 of Σ xᵢⱼ rᵢ and one more: (Σ rᵢ, Σ rᵢ², 0, 0).
fn partial_at(partial: u32, column: u32) -> u32 {
    return partial * (VECTORS + 1u) + column;
}
