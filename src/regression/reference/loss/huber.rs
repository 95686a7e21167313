use super::{Number, Point};

/// ½ r² within ±epsilon, epsilon · (|r| − ½ epsilon) beyond: g · (r − ½ g) with g = r clamped to ±epsilon.
#[inline(always)]
pub fn point<N: Number>(z: N, y: N, epsilon: N) -> Point<N> {
    let residual = z - y;
    let gradient = residual.smaller(epsilon).larger(-epsilon);
    Point { gradient, loss: gradient * (residual - N::of(0.5) * gradient) }
}
