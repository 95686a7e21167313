// Stores the features of rows. Composed with generator.wgsl and in_order.wgsl, which selects the rows.

override STRIDE: u32 = 4u; // floats from one row to the next; the padding after the features is zero

@group(0) @binding(1) var<storage, read_write> x: array<f32>;

// A thread generates eight features of a row.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let blocks = (STRIDE + 7u) / 8u;
    let thread = id.y * (groups.x * 64u) + id.x;
    let i = thread / blocks;
    let block = thread % blocks;
    if i >= problem_rows() {
        return;
    }
    let row = problem_row(i);
    let units = unit_block(row, block, common_factor(row));
    let first = vec4f(units.first) * FEATURE_UNIT;
    let second = vec4f(units.second) * FEATURE_UNIT;
    let at = i * STRIDE + 8u * block;
    let most = min(8u, STRIDE - 8u * block);
    for (var k = 0u; k < most; k += 1u) {
        x[at + k] = select(first[k % 4u], second[k % 4u], k >= 4u);
    }
}
