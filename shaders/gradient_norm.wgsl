// A pass over the gradients before a step: the sum of their squares, and whether any element is infinite or NaN. Each
// workgroup writes a partial result; step_state.wgsl sums them.
// Composed with step.wgsl and one file of step/, one of storage/, and accumulation.wgsl.
//
// Squares in f32 overflow from 2⁶⁴ and vanish below 2⁻⁶³. So elements below one and others are summed separately, scaled
// by 2⁴⁶ and by 2⁻⁴⁶: the norm is correct for gradients between 2⁻¹⁰⁸ and 2⁹⁴.

override WORKGROUP: u32 = 64u;

override MEASURED_VECTORS: u32 = 16u; // per thread, a multiple of four

struct Hyper {
    unused: array<vec4f, 2>,
}

struct Partial {
    small: f32,
    large: f32,
    nonfinite: u32,
    reserved: u32,
}

@group(0) @binding(5) var<storage, read_write> partials: array<Partial>;

var<workgroup> smalls: array<f32, WORKGROUP>;
var<workgroup> larges: array<f32, WORKGROUP>;
var<workgroup> nonfinites: array<u32, WORKGROUP>;

fn sum(v: vec4f) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let index = group.y * groups.x + group.x;
    var small = vec4f();
    var large = vec4f();
    // WGSL may assume that there is no NaN, so the check uses bits.
    var largest = vec4u();
    for (var k = 0u; k < MEASURED_VECTORS / RUN; k += 1u) {
        let thread = (index * (MEASURED_VECTORS / RUN) + k) * WORKGROUP + local;
        let first = vector_of(thread, 0u);
        if first < count() {
            let step = step_of(first);
            if (step.flags & (GRADIENT | ACCUMULATED)) != 0u {
                for (var r = 0u; r < RUN; r += 1u) {
                    let i = vector_of(thread, r);
                    let used = vec4u(0u, 1u, 2u, 3u) < vec4u(elements(i));
                    let found = select(vec4f(), found_gradient(i, step), used);
                    let magnitude = bitcast<vec4u>(found) & vec4u(0x7fffffffu);
                    largest = max(largest, magnitude);
                    let below_one = magnitude < vec4u(0x3f800000u);
                    let scaled = found * select(vec4f(0x1p-46f), vec4f(0x1p46f), below_one);
                    let square = scaled * scaled;
                    small += select(vec4f(), square, below_one);
                    large += select(square, vec4f(), below_one);
                }
            }
        }
    }
    let nonfinite = select(0u, 1u, any(largest >= vec4u(0x7f800000u)));
    smalls[local] = sum(small);
    larges[local] = sum(large);
    nonfinites[local] = nonfinite;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            smalls[local] += smalls[local + half];
            larges[local] += larges[local + half];
            nonfinites[local] |= nonfinites[local + half];
        }
    }
    // The grid may have surplus workgroups.
    if local == 0u && index < arrayLength(&partials) {
        partials[index] = Partial(smalls[0], larges[0], nonfinites[0], 0u);
    }
}
