use super::{Number, Point};

/// max(0, 1 − s z)² with s = ±1, which has a continuous derivative.
#[inline(always)]
pub fn point<N: Number>(z: N, y: N) -> Point<N> {
    let one = N::of(1.0);
    let sign = y + y - one;
    let violation = (one - sign * z).larger(N::of(0.0));
    Point { gradient: -(sign * (violation + violation)), loss: violation * violation }
}
