// Roots of consecutive bit patterns, and quotients of numbers that are drawn by their index. Composed behind an
// arithmetic and integer.wgsl. The twin of the drawing is src/verify/exhaustive.rs.

override QUOTIENTS: bool = false;

struct Job {
    first: u32,
    seed: u32,
    zero: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> job: Job;
@group(0) @binding(1) var<storage, read_write> results: array<vec4u>;

fn runtime_zero() -> u32 {
    return job.zero;
}

// A bijection of 32 bits without structure.
fn mixed(x: u32) -> u32 {
    var y = x ^ (x >> 16u);
    y *= 0x7feb352du;
    y ^= y >> 15u;
    y *= 0x846ca68bu;
    return y ^ (y >> 16u);
}

fn pair(n: u32) -> vec2u {
    let a = mixed(n ^ job.seed);
    let b = mixed(a + 0x9e3779b9u);
    let c = mixed(b + 0x9e3779b9u);
    let kind = c & 7u;
    if kind == 0u { // significands of few bits
        let mask = 0xffffffffu << ((c >> 3u) % 23u);
        return vec2u(a & mask, b & mask);
    }
    if kind == 1u { // significands that are alike
        return vec2u(a, (b & 0xff800000u) | ((a + (c >> 3u) % 5u) & 0x7fffffu));
    }
    if kind == 2u { // next to half of a unit: Q · D = N · 2²⁴ ± 1
        let divisor = 0x800001u | (a & 0x7ffffeu);
        var inverse = divisor;
        for (var k = 0u; k < 5u; k += 1u) {
            inverse *= 2u - divisor * inverse;
        }
        let above = (c & 8u) != 0u;
        let residue = select(0u - inverse, inverse, above) & 0xffffffu;
        let product = mul32(residue + 0x1000000u, divisor);
        let next = add64(product, select(vec2u(1u, 0u), vec2u(0xffffffffu, 0xffffffffu), above));
        let numerator = (next.y << 8u) | (next.x >> 24u);
        if numerator >= 0x800000u && numerator < 0x1000000u {
            let exponents = vec2u(64u + (b & 127u), 64u + ((b >> 7u) & 127u)) << vec2u(23u);
            return (vec2u(numerator, divisor) & vec2u(0x7fffffu)) | exponents;
        }
    }
    if kind == 3u { // quotients next to 2⁻¹²⁶
        let exponent = (b >> 23u) % 120u + 1u;
        return vec2u((exponent << 23u) | (a & 0x807fffffu), ((exponent + 126u) << 23u) | (b & 0x807fffffu));
    }
    if kind == 4u { // quotients next to the largest number
        let exponent = (b >> 23u) % 120u + 1u;
        return vec2u(((exponent + 127u) << 23u) | (a & 0x807fffffu), (exponent << 23u) | (b & 0x807fffffu));
    }
    return vec2u(a, b); // any bits, NaN and infinities among them
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.y * (groups.x * 64u) + id.x;
    if i >= arrayLength(&results) {
        return;
    }
    let n = vec4u(job.first + 4u * i) + vec4u(0u, 1u, 2u, 3u);
    if QUOTIENTS {
        let x = pair(n.x);
        let y = pair(n.y);
        let z = pair(n.z);
        let w = pair(n.w);
        let a = number(bitcast<vec4f>(vec4u(x.x, y.x, z.x, w.x)));
        let b = number(bitcast<vec4f>(vec4u(x.y, y.y, z.y, w.y)));
        results[i] = bitcast<vec4u>(canon(div(a, b)));
    } else {
        results[i] = bitcast<vec4u>(canon(root(number(bitcast<vec4f>(n)))));
    }
}
