// All elements belong to one tensor.

@group(0) @binding(0) var<uniform> the_step: Step;

// Vectors that a thread updates, and which.
const RUN = 1u;

fn vector_of(thread: u32, k: u32) -> u32 {
    return thread;
}

fn runtime_zero() -> u32 {
    return the_step.zero;
}

fn step_of(i: u32) -> Step {
    return the_step;
}

// How many of vector i's elements there are, the last of a tail's being none.
fn elements(i: u32) -> u32 {
    return lanes(i);
}
