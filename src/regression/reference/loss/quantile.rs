use super::{Number, Point};

/// The pinball loss; at its kink the derivative is 0.
#[inline(always)]
pub fn point<N: Number>(z: N, y: N, quantile: N, above: N) -> Point<N> {
    let residual = z - y;
    let sign = residual.sign();
    let half = N::of(0.5);
    // (1 − q) for z > y, −q for z < y: the mean of the two, plus or minus half their distance.
    let gradient = half * (above - quantile) * (sign * sign) + half * (above + quantile) * sign;
    Point { gradient, loss: (above * residual).larger(-(quantile * residual)) }
}
