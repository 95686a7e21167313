// The fence, correctly rounded quotients and roots from WGSL's own, and what goes to and from memory. Composed with
// strict.wgsl or exact.wgsl.
//
// The device estimates on significands from one to four; integers decide. WGSL's error bounds of `/` and `sqrt`, and any
// direction of rounding, are within the windows of the corrections.

fn fence(x: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(x) ^ vec4u(runtime_zero());
    // Next to 2⁻¹²⁶ devices that flush before and after rounding differ, so 2⁻¹²⁶ itself is flushed too.
    return bitcast<vec4f>(select(bits, vec4u(), (bits & vec4u(0x7fffffffu)) <= vec4u(0x00800000u)));
}

// A vector from memory.
fn number(x: vec4f) -> vec4f {
    return fence(x);
}

// A vector on its way to memory: there is one NaN.
fn canon(x: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(fence(x));
    let nan = (bits & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
    return bitcast<vec4f>(select(bits, vec4u(0x7fc00000u), nan));
}

// Zero has no sign.
fn negative(x: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(x);
    return bitcast<vec4f>(select(bits ^ vec4u(0x80000000u), vec4u(), (bits & vec4u(0x7fffffffu)) == vec4u()));
}

fn div(a: vec4f, b: vec4f) -> vec4f {
    let x = bitcast<vec4u>(a);
    let y = bitcast<vec4u>(b);
    let sign = (x ^ y) & vec4u(0x80000000u);
    let magnitude_x = x & vec4u(0x7fffffffu);
    let magnitude_y = y & vec4u(0x7fffffffu);
    let m = x & vec4u(0x7fffffu);
    let n = y & vec4u(0x7fffffu);
    // The quotient of the significands, from 1 to 2: the numerator is doubled if it is the smaller one.
    let below = select(vec4u(), vec4u(1u), m < n);
    let numerator = bitcast<vec4f>(m | select(vec4u(0x3f800000u), vec4u(0x40000000u), m < n));
    let denominator = bitcast<vec4f>(n | vec4u(0x3f800000u));
    let divisor = n | vec4u(0x800000u);
    // An estimate that is never too large, and too small by 7 at most; its remainder modulo 2³².
    var quotient = bitcast<vec4u>(numerator / denominator) - vec4u(0x3f000003u);
    var rest = ((m | vec4u(0x800000u)) << (vec4u(23u) + below)) - quotient * divisor;
    for (var k = 4u; k > 0u; k >>= 1u) {
        let more = rest >= k * divisor;
        rest -= select(vec4u(), k * divisor, more);
        quotient += select(vec4u(), vec4u(k), more);
    }
    // No quotient lies half-way between two numbers.
    quotient += select(vec4u(), vec4u(1u), 2u * rest > divisor);
    let exponent = vec4i(magnitude_x >> vec4u(23u)) - vec4i(magnitude_y >> vec4u(23u)) + vec4i(126) - vec4i(below);
    var bits = (vec4u(exponent) << vec4u(23u)) + quotient;
    bits = select(sign | bits, vec4u(), exponent < vec4i());
    bits = select(bits, sign | vec4u(0x7f800000u), exponent > vec4i(253));
    let infinity = vec4u(0x7f800000u);
    let special = (magnitude_x == vec4u()) | (magnitude_y == vec4u()) | (magnitude_x >= infinity) | (magnitude_y >= infinity);
    if any(special) {
        let zero = (magnitude_x == vec4u()) | (magnitude_y == infinity);
        let infinite = (magnitude_y == vec4u()) | (magnitude_x == infinity);
        let nan = (magnitude_x > infinity) | (magnitude_y > infinity)
            | ((magnitude_x == magnitude_y) & ((magnitude_x == vec4u()) | (magnitude_x == infinity)));
        bits = select(bits, sign | infinity, infinite);
        bits = select(bits, vec4u(), zero);
        bits = select(bits, vec4u(0x7fc00000u), nan);
    }
    return fence(bitcast<vec4f>(bits));
}

fn root(x: vec4f) -> vec4f {
    let word = bitcast<vec4u>(x);
    let exponent = word >> vec4u(23u);
    let m = word & vec4u(0x7fffffu);
    let even = vec4u(1u) - (exponent & vec4u(1u));
    let value = bitcast<vec4f>(m | select(vec4u(0x3f800000u), vec4u(0x40000000u), even == vec4u(1u)));
    // An estimate that is never too large, and too small by 15 at most; its remainder modulo 2³².
    var found = bitcast<vec4u>(sqrt(value)) - vec4u(0x3f000008u);
    var rest = ((m | vec4u(0x800000u)) << (vec4u(23u) + even)) - found * found;
    for (var k = 8u; k > 0u; k >>= 1u) {
        let needed = k * (2u * found + vec4u(k));
        let more = rest >= needed;
        rest -= select(vec4u(), needed, more);
        found += select(vec4u(), vec4u(k), more);
    }
    // No root lies half-way between two numbers.
    found += select(vec4u(), vec4u(1u), rest > found);
    var bits = (((exponent + vec4u(125u)) >> vec4u(1u)) << vec4u(23u)) + found;
    bits = select(bits, word, (word == vec4u()) | (word == vec4u(0x7f800000u)));
    bits = select(bits, vec4u(0x7fc00000u), word > vec4u(0x7f800000u));
    return fence(bitcast<vec4f>(bits));
}

fn div_f32(a: f32, b: f32) -> f32 {
    return div(vec4f(a), vec4f(b)).x;
}

fn root_f32(x: f32) -> f32 {
    return root(vec4f(x)).x;
}
