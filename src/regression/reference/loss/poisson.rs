use super::{Number, Point};
use crate::Loss;

/// μ − y z with μ = eᶻ, and the straight line that goes on from z = 38.
#[inline(always)]
pub fn point<N: Number>(z: N, y: N) -> Point<N> {
    let held = z.smaller(N::of(Loss::MAX_LOG_MEAN));
    let mean = held.exponential();
    Point { gradient: mean - y, loss: (mean - y * z) + mean * (z - held) }
}

/// eᶻ, held at z = 38.
#[inline(always)]
pub fn mean<N: Number>(z: N) -> N {
    z.smaller(N::of(Loss::MAX_LOG_MEAN)).exponential()
}

/// The loss of μ = y.
#[inline(always)]
pub fn saturated<N: Number>(y: N) -> N {
    // y ln y is 0 for y = 0, and its logarithm never taken there.
    let positive = y.larger(N::of(f64::from(f32::MIN_POSITIVE)));
    y - y * positive.logarithm()
}
