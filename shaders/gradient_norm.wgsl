// One pass over the gradients of a step, ahead of it: the sum of their squares, and whether any element
// is infinite or not a number. One partial result a workgroup; step_state.wgsl adds them up.
// Composed with files of arithmetic/, step.wgsl and one file of step/, those of storage/ that define load_grad() and the
// like, and accumulation.wgsl.
//
// A partial result has one order of summation, whatever the size of a workgroup: 256 lanes of 16 vectors, then a tree
// over the lanes.
//
// Squares in f32 overflow from 2⁶⁴ and vanish below 2⁻⁶³. So elements below one and others are summed separately, scaled
// by 2⁴⁶ and by 2⁻⁴⁶: the norm is correct for gradients between 2⁻¹⁰⁸ and 2⁹⁴.

override WORKGROUP: u32 = 256u; // a divisor of LANES

const LANES = 256u;
const VECTORS = 16u; // per lane, a multiple of RUN

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

var<workgroup> smalls: array<f32, LANES>;
var<workgroup> larges: array<f32, LANES>;
var<workgroup> nonfinites: array<u32, LANES>;

fn sum(v: vec4f) -> f32 {
    return add_f32(add_f32(v.x, v.y), add_f32(v.z, v.w));
}

fn measure(unit: u32, lane: u32) {
    var small = vec4f();
    var large = vec4f();
    // WGSL may assume that there is no NaN, so the check uses bits.
    var largest = vec4u();
    for (var k = 0u; k < VECTORS / RUN; k += 1u) {
        let thread = (unit * (VECTORS / RUN) + k) * LANES + lane;
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
                    let scaled = mul(found, select(vec4f(0x1p-46f), vec4f(0x1p46f), below_one));
                    let square = mul(scaled, scaled);
                    small = add(small, select(vec4f(), square, below_one));
                    large = add(large, select(square, vec4f(), below_one));
                }
            }
        }
    }
    smalls[lane] = sum(small);
    larges[lane] = sum(large);
    nonfinites[lane] = select(0u, 1u, any(largest >= vec4u(0x7f800000u)));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let unit = group.y * groups.x + group.x;
    for (var lane = local; lane < LANES; lane += WORKGROUP) {
        measure(unit, lane);
    }
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        for (var lane = local; lane < half; lane += WORKGROUP) {
            smalls[lane] = add_f32(smalls[lane], smalls[lane + half]);
            larges[lane] = add_f32(larges[lane], larges[lane + half]);
            nonfinites[lane] |= nonfinites[lane + half];
        }
    }
    // The grid may have surplus workgroups.
    if local == 0u && unit < arrayLength(&partials) {
        partials[unit] = Partial(smalls[0], larges[0], nonfinites[0], 0u);
    }
}
