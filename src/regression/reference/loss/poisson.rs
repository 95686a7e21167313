use super::{Number, Point};
use crate::Loss;

/// μ − y z with μ = eᶻ, continued by its tangent from z = 38.
#[inline(always)]
pub fn point<N: Number>(z: N, y: N) -> Point<N> {
    let held = z.smaller(N::of(Loss::MAX_LOG_MEAN));
    let mean = held.exponential();
    Point { gradient: mean - y, loss: (mean - y * z) + mean * (z - held) }
}

/// eᶻ with z limited to 38.
#[inline(always)]
pub fn mean<N: Number>(z: N) -> N {
    z.smaller(N::of(Loss::MAX_LOG_MEAN)).exponential()
}

/// The loss of μ = y.
#[inline(always)]
pub fn saturated<N: Number>(y: N) -> N {
    // y ln y is 0 for y = 0, where the logarithm is not defined.
    let positive = y.larger(N::of(f64::from(f32::MIN_POSITIVE)));
    y - y * positive.logarithm()
}
