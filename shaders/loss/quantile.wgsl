// The pinball loss; at its kink the derivative is 0.

override QUANTILE: f32 = 0.5;
override ONE_MINUS_QUANTILE: f32 = 0.5;

fn point(z: f32, y: f32) -> Point {
    let residual = z - y;
    let sign = sign(residual);
    // (1 − q) where z is above y, −q where it is below: the mean of the two, and half their distance.
    let gradient = 0.5 * (ONE_MINUS_QUANTILE - QUANTILE) * (sign * sign)
        + 0.5 * (ONE_MINUS_QUANTILE + QUANTILE) * sign;
    return Point(gradient, max(ONE_MINUS_QUANTILE * residual, -(QUANTILE * residual)));
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
