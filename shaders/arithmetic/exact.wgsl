// The arithmetic of strict.wgsl in integers alone: the same bits on devices that round +, − and × in another way.
// Composed with a file that defines runtime_zero(), and with quotient.wgsl.

// sign · significand · 2^(exponent − 150) from its parts: the significand has 24 bits, and `rest`, in units of 2⁻³¹ of
// its last bit, is what is rounded to nearest, ties to even.
fn assembled(sign: vec4u, exponent: vec4i, significand: vec4u, rest: vec4u) -> vec4u {
    let half = vec4u(0x40000000u);
    let up = (rest > half) | ((rest == half) & ((significand & vec4u(1u)) == vec4u(1u)));
    // A carry out of the significand increments the exponent, as required.
    let rounded = (significand & vec4u(0x7fffffu)) + select(vec4u(), vec4u(1u), up);
    let bits = (vec4u(exponent) << vec4u(23u)) + rounded;
    let small = (exponent < vec4i(1)) | ((exponent == vec4i(1)) & (rounded == vec4u()));
    let finite = select(sign | bits, vec4u(), small);
    return select(finite, sign | vec4u(0x7f800000u), exponent > vec4i(254));
}

fn mul(a: vec4f, b: vec4f) -> vec4f {
    let x = bitcast<vec4u>(a);
    let y = bitcast<vec4u>(b);
    let sign = (x ^ y) & vec4u(0x80000000u);
    let magnitude_x = x & vec4u(0x7fffffffu);
    let magnitude_y = y & vec4u(0x7fffffffu);
    let m = (x & vec4u(0x7fffffu)) | vec4u(0x800000u);
    let n = (y & vec4u(0x7fffffu)) | vec4u(0x800000u);
    // The product of 24 bits each by halves of 12: high · 2²⁴ + low.
    let ml = m & vec4u(0xfffu);
    let mh = m >> vec4u(12u);
    let nl = n & vec4u(0xfffu);
    let nh = n >> vec4u(12u);
    let middle = mh * nl + ml * nh;
    let sum = ml * nl + ((middle & vec4u(0xfffu)) << vec4u(12u));
    let high = mh * nh + (middle >> vec4u(12u)) + (sum >> vec4u(24u));
    let low = sum & vec4u(0xffffffu);
    // From 2⁴⁶ to 2⁴⁸: the leading bit is bit 23 of `high`, or bit 22.
    let long = high >= vec4u(0x800000u);
    let significand = select((high << vec4u(1u)) | (low >> vec4u(23u)), high, long);
    let rest = select((low << vec4u(8u)) & vec4u(0x7fffffffu), low << vec4u(7u), long);
    let exponents = vec4i((magnitude_x >> vec4u(23u)) + (magnitude_y >> vec4u(23u)));
    let exponent = exponents - select(vec4i(127), vec4i(126), long);
    let finite = assembled(sign, exponent, significand, rest);
    let zero = (magnitude_x == vec4u()) | (magnitude_y == vec4u());
    let infinite = (magnitude_x == vec4u(0x7f800000u)) | (magnitude_y == vec4u(0x7f800000u));
    let nan = (magnitude_x > vec4u(0x7f800000u)) | (magnitude_y > vec4u(0x7f800000u)) | (zero & infinite);
    let special = select(select(finite, sign | vec4u(0x7f800000u), infinite), vec4u(), zero);
    return fence(bitcast<vec4f>(select(special, vec4u(0x7fc00000u), nan)));
}

fn add(a: vec4f, b: vec4f) -> vec4f {
    let first = bitcast<vec4u>(a);
    let second = bitcast<vec4u>(b);
    let mask = vec4u(0x7fffffffu);
    let swap = (first & mask) < (second & mask);
    let x = select(first, second, swap);
    let y = select(second, first, swap);
    let magnitude_x = x & mask;
    let magnitude_y = y & mask;
    let unlike = ((x ^ y) >> vec4u(31u)) == vec4u(1u);
    // Six bits below the significand keep what is aligned away; the last one stands for all that is lost.
    let m = ((x & vec4u(0x7fffffu)) | vec4u(0x800000u)) << vec4u(6u);
    let n = select(((y & vec4u(0x7fffffu)) | vec4u(0x800000u)) << vec4u(6u), vec4u(), magnitude_y == vec4u());
    let apart = min((magnitude_x >> vec4u(23u)) - (magnitude_y >> vec4u(23u)), vec4u(31u));
    let lost = (n & ((vec4u(1u) << apart) - vec4u(1u))) != vec4u();
    let aligned = (n >> apart) | select(vec4u(), vec4u(1u), lost);
    let total = select(m + aligned, m - aligned, unlike);
    // The leading bit of m is bit 29; a sum may carry to bit 30.
    let zeros = min(countLeadingZeros(total), vec4u(31u));
    let normal = total << zeros;
    let exponent = vec4i(magnitude_x >> vec4u(23u)) + vec4i(2) - vec4i(zeros);
    let sign = x & vec4u(0x80000000u);
    let finite = assembled(sign, exponent, normal >> vec4u(8u), (normal & vec4u(0xffu)) << vec4u(23u));
    let sum = select(finite, vec4u(), (total == vec4u()) | (magnitude_x == vec4u()));
    let infinite = magnitude_x == vec4u(0x7f800000u);
    let nan = (magnitude_x > vec4u(0x7f800000u)) | (infinite & unlike & (magnitude_y == magnitude_x));
    return fence(bitcast<vec4f>(select(select(sum, x, infinite), vec4u(0x7fc00000u), nan)));
}

fn sub(a: vec4f, b: vec4f) -> vec4f {
    return add(a, bitcast<vec4f>(bitcast<vec4u>(b) ^ vec4u(0x80000000u)));
}

fn mul_f32(a: f32, b: f32) -> f32 {
    return mul(vec4f(a), vec4f(b)).x;
}

fn add_f32(a: f32, b: f32) -> f32 {
    return add(vec4f(a), vec4f(b)).x;
}

fn sub_f32(a: f32, b: f32) -> f32 {
    return sub(vec4f(a), vec4f(b)).x;
}
