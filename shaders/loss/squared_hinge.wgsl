// The squared hinge, y 0 or 1: max(0, 1 − s z)² with s = ±1, which has a continuous derivative.

fn point(z: f32, y: f32) -> Point {
    let sign = y + y - 1.0;
    let violation = max(1.0 - sign * z, 0.0);
    return Point(-(sign * (violation + violation)), violation * violation);
}

fn mean(z: f32) -> f32 {
    return z; // there are no probabilities
}

fn saturated(y: f32) -> f32 {
    return 0.0;
}

fn correct(z: f32, y: f32) -> f32 {
    return f32((z > 0.0) == (y > 0.5));
}
