// Stores the features of rows. Composed with generator.wgsl and what says which rows: in_order.wgsl.

@group(0) @binding(1) var<storage, read_write> x: array<vec4f>; // rows padded with zeros to whole vec4

// Eight features of one row a thread.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let vectors = (problem.features + 3u) / 4u;
    let blocks = (vectors + 1u) / 2u;
    let thread = id.y * (groups.x * 64u) + id.x;
    let i = thread / blocks;
    let block = thread % blocks;
    if i >= problem_rows() {
        return;
    }
    let row = problem_row(i);
    let units = unit_block(row, block, common_factor(row));
    let at = i * vectors + 2u * block;
    x[at] = vec4f(units.first) * FEATURE_UNIT;
    if 2u * block + 1u < vectors {
        x[at + 1u] = vec4f(units.second) * FEATURE_UNIT;
    }
}
