// ½ r² within ±EPSILON, EPSILON · (|r| − ½ EPSILON) beyond: g · (r − ½ g) with g = r held within ±EPSILON.

override EPSILON: f32 = 0.1;

fn point(z: f32, y: f32) -> Point {
    let residual = z - y;
    let gradient = clamp(residual, -EPSILON, EPSILON);
    return Point(gradient, gradient * (residual - 0.5 * gradient));
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
