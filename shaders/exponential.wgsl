// Exponential and logarithm from + − × / alone, so that their error follows from WGSL's accuracy of these: WGSL's log may
// have an error of 2⁻²¹ near one, and WGSL has no log1p. Equals src/cpu/exponential.rs.

// ln 2 in two parts: a multiple of the first by a small integer is exact.
const LN2_HIGH = 0.693359375f;
const LN2_LOW = -2.12194440e-4f;

// eˣ for x up to 88; zero below −87.3.
fn exponential(x: f32) -> f32 {
    let k = floor(x * 1.44269504f + 0.5f);
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    var p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 0.5f;
    p = (p * (r * r) + r) + 1.0f;
    // 2ᵏ by its bits.
    let exponent = i32(clamp(k, -126.0f, 127.0f)) + 127;
    return select(0.0f, p * bitcast<f32>(exponent << 23u), x >= -87.3f);
}

// ln(1 + t) for t from 0 to 1, by the series of 2 artanh(t / (2 + t)).
fn log_one_plus(t: f32) -> f32 {
    let s = t / (2.0f + t);
    let q = s * s;
    var p = 1.0f / 15.0f;
    p = p * q + 1.0f / 13.0f;
    p = p * q + 1.0f / 11.0f;
    p = p * q + 1.0f / 9.0f;
    p = p * q + 1.0f / 7.0f;
    p = p * q + 1.0f / 5.0f;
    p = p * q + 1.0f / 3.0f;
    return 2.0f * s * (p * q + 1.0f);
}

// ln x for a normal x > 0; accurate to a few units in the last place for x ≥ 1.
fn logarithm(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let exponent = f32(i32(bits >> 23u) - 127);
    let mantissa = bitcast<f32>((bits & 0x7fffffu) | 0x3f800000u);
    return exponent * LN2_HIGH + (exponent * LN2_LOW + log_one_plus(mantissa - 1.0f));
}
