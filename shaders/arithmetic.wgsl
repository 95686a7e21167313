// The three operations whose last bit differs between devices, in one place.
//
// A device may contract a * b + c into one rounding, may return quotients within 2.5 ulp
// and roots within 4.5. Here they are the plain operators; a build that wants the same bits
// on every device replaces this file and nothing else.

// A product that feeds a sum.
fn keep(product: vec4f) -> vec4f {
    return product;
}

fn div(numerator: vec4f, denominator: vec4f) -> vec4f {
    return numerator / denominator;
}

fn root(x: vec4f) -> vec4f {
    return sqrt(x);
}
