// Logistic regression, y from 0 to 1. From e^−|z|, which never overflows: both probabilities to full
// precision, however small.

fn point(z: f32, y: f32) -> Point {
    let e = exponential(-abs(z));
    let larger = 1.0 / (1.0 + e);
    let smaller = e / (1.0 + e);
    let one_class = select(larger, smaller, z < 0.0);
    let other = select(smaller, larger, z < 0.0);
    return Point(one_class * (1.0 - y) - other * y, (max(z, 0.0) - z * y) + log_one_plus(e));
}

fn mean(z: f32) -> f32 {
    let e = exponential(-abs(z));
    return select(1.0, e, z < 0.0) / (1.0 + e);
}

fn saturated(y: f32) -> f32 {
    return 0.0; // for a class
}

fn correct(z: f32, y: f32) -> f32 {
    return f32((z > 0.0) == (y > 0.5));
}
