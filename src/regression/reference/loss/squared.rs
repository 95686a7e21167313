use super::{Number, Point};

/// r² and r for r = z − y: both squared losses, but for their factors.
#[inline(always)]
pub fn point<N: Number>(z: N, y: N) -> Point<N> {
    let residual = z - y;
    Point { gradient: residual, loss: residual * residual }
}
