// r² and r for r = z − y: both squared losses, but for their factors.

fn point(z: f32, y: f32) -> Point {
    let residual = z - y;
    return Point(residual, residual * residual);
}

fn mean(z: f32) -> f32 {
    return z;
}

fn saturated(y: f32) -> f32 {
    return 0.0;
}

fn correct(z: f32, y: f32) -> f32 {
    return 0.0; // there are no classes
}
