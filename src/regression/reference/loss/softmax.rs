use super::Number;

/// Computed relative to the largest score, so that nothing overflows and the sum is at least one.
#[inline(always)]
pub fn row<N: Number>(z: &mut [N], class: usize) -> N {
    let mut largest = z[0];
    for &z in &z[1..] {
        largest = largest.larger(z);
    }
    let own = z[class] - largest;
    let mut sum = N::of(0.0);
    for z in z.iter_mut() {
        *z = (*z - largest).exponential();
        sum = sum + *z;
    }
    for z in z.iter_mut() {
        *z = *z / sum;
    }
    z[class] = z[class] - N::of(1.0);
    sum.logarithm() - own
}
