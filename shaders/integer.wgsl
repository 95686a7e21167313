// 64-bit integers as vec2u(low, high), and conversions to f32 that round to nearest by
// construction: WGSL lets a device round its own conversions either way.
// Equals src/cpu/integer.rs.

fn add64(a: vec2u, b: vec2u) -> vec2u {
    let low = a.x + b.x;
    return vec2u(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn negate64(a: vec2u) -> vec2u {
    return add64(~a, vec2u(1u, 0u));
}

// The 64-bit product of two 32-bit integers, by 16-bit limbs.
fn mul32(a: u32, b: u32) -> vec2u {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let middle = ah * bl + (low >> 16u); // at most (2¹⁶−1)² + 2¹⁶−1: no overflow
    let cross = al * bh + (middle & 0xffffu);
    return vec2u((cross << 16u) | (low & 0xffffu), ah * bh + (middle >> 16u) + (cross >> 16u));
}

// The upper half of the 128-bit product.
fn mul64_high(a: vec2u, b: vec2u) -> vec2u {
    let low = mul32(a.x, b.x);
    let cross1 = mul32(a.x, b.y);
    let cross2 = mul32(a.y, b.x);
    let high = mul32(a.y, b.y);
    let middle = add64(add64(vec2u(low.y, 0u), vec2u(cross1.x, 0u)), vec2u(cross2.x, 0u));
    return add64(add64(high, vec2u(middle.y, 0u)), add64(vec2u(cross1.y, 0u), vec2u(cross2.y, 0u)));
}

fn leading_zeros64(a: vec2u) -> u32 {
    return select(countLeadingZeros(a.y), 32u + countLeadingZeros(a.x), a.y == 0u);
}

fn shift_left64(a: vec2u, n: u32) -> vec2u {
    if n >= 32u {
        return vec2u(0u, a.x << (n - 32u));
    }
    if n == 0u {
        return a;
    }
    return vec2u(a.x << n, (a.y << n) | (a.x >> (32u - n)));
}

// significand · 2^(exponent − 31), for a significand with its top bit set, rounded to nearest.
// `sticky`: the exact value is slightly above the significand.
fn float_from(significand: u32, exponent: i32, sticky: bool) -> f32 {
    let kept = significand >> 8u;
    let rest = significand & 0xffu;
    let up = rest > 128u || (rest == 128u && (sticky || (kept & 1u) == 1u));
    // A carry out of the significand increments the exponent, as required.
    let rounded = kept + select(0u, 1u, up);
    return bitcast<f32>((u32(exponent + 126) << 23u) + rounded);
}

// a · 2^exponent as f32, a unsigned.
fn float_from_word64(a: vec2u, exponent: i32) -> f32 {
    if a.x == 0u && a.y == 0u {
        return 0.0;
    }
    let zeros = leading_zeros64(a);
    let normal = shift_left64(a, zeros);
    return float_from(normal.y, 63 - i32(zeros) + exponent, normal.x != 0u);
}

// a · 2^exponent as f32, a signed.
fn float_from_int64(a: vec2u, exponent: i32) -> f32 {
    let negative = (a.y >> 31u) == 1u;
    let value = float_from_word64(select(a, negate64(a), negative), exponent);
    return select(value, -value, negative);
}

// 2⁶⁴ / a as f32, for a > 0, from the 32 leading bits of a.
fn reciprocal(a: vec2u) -> f32 {
    let zeros = leading_zeros64(a);
    let divisor = shift_left64(a, zeros).y;
    // (2⁶³ − 1) / divisor, bit by bit. The upper word of the dividend is below the divisor.
    var remainder = 0x7fffffffu;
    var quotient = 0u;
    for (var bit = 0u; bit < 32u; bit += 1u) {
        let carry = remainder >> 31u;
        remainder = (remainder << 1u) | 1u;
        quotient <<= 1u;
        if carry == 1u || remainder >= divisor {
            remainder -= divisor;
            quotient |= 1u;
        }
    }
    return float_from(quotient, i32(zeros), true);
}
