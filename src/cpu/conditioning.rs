//! The conditioning of gradients before a rule: the twin of the conditioning in
//! `shaders/update.wgsl` and of `shaders/gradient_norm.wgsl`.

use super::{Number, Real};
use crate::rule::ClipNorm;

/// The gradient as the rule takes it: multiplied by `factor`, then limited to ±`clip_value`.
#[inline(always)]
pub fn condition<R: Number>(gradient: R, factor: R, clip_value: Option<R>) -> R {
    let scaled = gradient * factor;
    match clip_value {
        Some(limit) => -(-scaled.larger(-limit)).larger(-limit),
        None => scaled,
    }
}

/// The root of the sum of squares over all gradients, in f64.
pub fn norm<'a, R: Real>(grads: impl IntoIterator<Item = &'a [R]>) -> f64 {
    grads.into_iter().flatten().map(|g| g.f64() * g.f64()).sum::<f64>().sqrt()
}

/// Whether no element of any gradient is infinite or NaN.
pub fn all_finite<'a, R: Real>(grads: impl IntoIterator<Item = &'a [R]>) -> bool {
    grads.into_iter().flatten().all(|g| g.f64().is_finite())
}

/// The factor of all gradients by global-norm clipping.
pub fn clip_factor(clip: ClipNorm, norm: f64) -> f64 {
    match clip {
        // No norm is too large, not even an infinite one.
        _ if clip.max_norm() == f64::INFINITY => 1.0,
        // Not `min`, which would turn NaN into 1.
        ClipNorm::Torch(max) if max > norm + 1e-6 => 1.0,
        ClipNorm::Torch(max) => max / (norm + 1e-6),
        ClipNorm::Optax(max) if norm < max => 1.0,
        ClipNorm::Optax(max) => max / norm,
    }
}
