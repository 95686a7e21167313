// Many tensors in one buffer. Each starts at a multiple of 64 elements, so a block of 64 has one owner.

@group(0) @binding(0) var<storage, read> steps: array<Step>;
// For every block its tensor, and in the low seven bits how many of its elements are the tensor's.
@group(0) @binding(4) var<storage, read> owners: array<u32>;

// A thread updates a quarter of a block, every fourth vector of it: the constants are looked up once, and
// four threads side by side read 64 bytes side by side.
const RUN = 4u;

fn vector_of(thread: u32, k: u32) -> u32 {
    return thread / 4u * 16u + thread % 4u + 4u * k;
}

fn runtime_zero() -> u32 {
    return steps[0u].zero;
}

fn step_of(i: u32) -> Step {
    return steps[owners[i / 16u] >> 7u];
}

// How many of vector i's elements are no padding behind a tensor.
fn elements(i: u32) -> u32 {
    let used = owners[i / 16u] & 127u;
    return clamp(used, 4u * (i % 16u), 4u * (i % 16u) + 4u) - 4u * (i % 16u);
}
