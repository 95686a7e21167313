// Poisson regression: μ − y z with μ = eᶻ, and its tangent from z = 38 on.

fn point(z: f32, y: f32) -> Point {
    let held = min(z, 38.0);
    let mean = exponential(held);
    return Point(mean - y, (mean - y * z) + mean * (z - held));
}

fn mean(z: f32) -> f32 {
    return exponential(min(z, 38.0));
}

// The loss of a model that knows y: μ = y.
fn saturated(y: f32) -> f32 {
    return y - select(0.0, y * logarithm(y), y > 0.0);
}

fn correct(z: f32, y: f32) -> f32 {
    return 0.0; // there are no classes
}
