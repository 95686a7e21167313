// Reference streams for memory-bound kernels, and random numbers for their buffers: one vector per thread.

override WORKGROUP: u32 = 64u; // the same as in updates

@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4f>;
// A seed, and the binary exponent of the random numbers.
@group(0) @binding(2) var<uniform> drawn: vec4u;

// The streams of a step, by number of moments.
@group(0) @binding(3) var<storage, read_write> second: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> third: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> fourth: array<vec4f>;

fn index(id: vec3u, groups: vec3u) -> u32 {
    return id.y * (groups.x * WORKGROUP) + id.x;
}

// One stream read, one written.
@compute @workgroup_size(WORKGROUP)
fn copy(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = index(id, groups);
    if i < arrayLength(&destination) {
        destination[i] = source[i];
    }
}

// Two streams read, one of them written.
@compute @workgroup_size(WORKGROUP)
fn triad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = index(id, groups);
    if i < arrayLength(&destination) {
        destination[i] += 0.5 * source[i];
    }
}

// The streams of a step without its arithmetic: one read, the others read and written in place. Positive values stay
// positive.
@compute @workgroup_size(WORKGROUP)
fn in_place_1(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = index(id, groups);
    if i < arrayLength(&destination) {
        let little = 1e-9 * abs(source[i]);
        destination[i] += little;
    }
}

@compute @workgroup_size(WORKGROUP)
fn in_place_2(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = index(id, groups);
    if i < arrayLength(&destination) {
        let little = 1e-9 * abs(source[i]);
        destination[i] += little;
        second[i] += little;
    }
}

@compute @workgroup_size(WORKGROUP)
fn in_place_3(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = index(id, groups);
    if i < arrayLength(&destination) {
        let little = 1e-9 * abs(source[i]);
        destination[i] += little;
        second[i] += little;
        third[i] += little;
    }
}

@compute @workgroup_size(WORKGROUP)
fn in_place_4(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = index(id, groups);
    if i < arrayLength(&destination) {
        let little = 1e-9 * abs(source[i]);
        destination[i] += little;
        second[i] += little;
        third[i] += little;
        fourth[i] += little;
    }
}

// Random numbers of either sign with a magnitude in [1, 2) · 2^exponent, composed from bits: the same on every device.
@compute @workgroup_size(WORKGROUP)
fn fill(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = index(id, groups);
    if i < arrayLength(&destination) {
        let bits = pcg4d(vec4u(i, drawn.x, drawn.y, 0u));
        let exponent = (drawn.z + 127u) << 23u;
        destination[i] = bitcast<vec4f>((bits & vec4u(0x807fffffu)) | vec4u(exponent));
    }
}

// Jarzynski & Olano, Hash Functions for GPU Rendering, JCGT 2020.
fn pcg4d(seed: vec4u) -> vec4u {
    var v = seed * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v ^= v >> vec4u(16u);
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

// An empty kernel, to measure the cost of a dispatch.
@compute @workgroup_size(WORKGROUP)
fn empty() {}
