use super::{Number, Point};

/// Uses e^−|z|, which never overflows and gives both probabilities to full precision.
#[inline(always)]
pub fn point<N: Number>(z: N, y: N) -> Point<N> {
    let (zero, one) = (N::of(0.0), N::of(1.0));
    let e = (-z.magnitude()).exponential();
    let larger = one / (one + e);
    let smaller = e / (one + e);
    let (one_class, other) = if z.is_negative() { (smaller, larger) } else { (larger, smaller) };
    Point {
        gradient: one_class * (one - y) - other * y,
        loss: (z.larger(zero) - z * y) + e.log_one_plus(),
    }
}

/// 1 / (1 + e⁻ᶻ).
#[inline(always)]
pub fn mean<N: Number>(z: N) -> N {
    let one = N::of(1.0);
    let e = (-z.magnitude()).exponential();
    if z.is_negative() { e / (one + e) } else { one / (one + e) }
}
