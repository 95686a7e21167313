use super::{Number, Point};
use crate::Loss;

/// μ − y z with μ = eᶻ, and the straight line that goes on from z = 30.
#[inline(always)]
pub fn point<N: Number>(z: N, y: N) -> Point<N> {
    let held = z.smaller(N::of(Loss::MAX_LOG_MEAN));
    let mean = held.exponential();
    Point { gradient: mean - y, loss: (mean - y * z) + mean * (z - held) }
}
