//! The definition of each [`Loss`]: its value and its derivative by the score, one file each, with the names of
//! `shaders/loss/`.

mod huber;
mod logistic;
mod poisson;
mod quantile;
mod softmax;
mod squared;
mod squared_hinge;

use crate::Loss;
use crate::cpu::{Number, Real};
use crate::regression::TargetKind;

/// The loss of one score and its derivative by the score, both without [`Loss`]'s constant factor.
#[derive(Clone, Copy, Debug)]
pub struct Point<N> {
    /// ∂L/∂z.
    pub gradient: N,
    /// L.
    pub loss: N,
}

/// The loss of one output of a row, for losses with independent outputs.
///
/// # Panics
/// For a softmax.
#[inline(always)]
pub fn point<N: Number>(loss: &Loss, z: N, y: N) -> Point<N> {
    match *loss {
        Loss::Mse | Loss::SquaredError => squared::point(z, y),
        Loss::Huber { epsilon } => huber::point(z, y, N::of(epsilon)),
        Loss::Quantile { quantile } => quantile::point(z, y, N::of(quantile), N::of(1.0 - quantile)),
        Loss::Logistic => logistic::point(z, y),
        Loss::SquaredHinge => squared_hinge::point(z, y),
        Loss::Poisson => poisson::point(z, y),
        Loss::Softmax { .. } => unreachable!("a softmax takes all scores of a row"),
    }
}

/// [`point`] for each of several scores, with one match on the loss if it is squared.
#[inline(always)]
pub fn points<N: Number, const K: usize>(loss: &Loss, z: [N; K], y: &[N]) -> [Point<N>; K] {
    let y: [N; K] = std::array::from_fn(|k| y[k]);
    if let Loss::Mse | Loss::SquaredError = loss {
        return std::array::from_fn(|k| squared::point(z[k], y[k]));
    }
    std::array::from_fn(|k| point(loss, z[k], y[k]))
}

/// Returns the loss of a row, and replaces its scores by the derivatives.
#[inline(always)]
pub fn row<N: Number>(loss: &Loss, z: &mut [N], y: &[N], class: impl Fn(N) -> usize) -> N {
    if let Loss::Softmax { .. } = loss {
        return softmax::row(z, class(y[0]));
    }
    let mut sum = N::of(0.0);
    for (z, &y) in z.iter_mut().zip(y) {
        let point = point(loss, *z, y);
        *z = point.gradient;
        sum = sum + point.loss;
    }
    sum
}

/// The prediction μ(z) of one output.
#[inline(always)]
pub fn mean<N: Number>(loss: &Loss, z: N) -> N {
    match loss {
        Loss::Logistic => logistic::mean(z),
        Loss::Poisson => poisson::mean(z),
        _ => z,
    }
}

/// The loss of the saturated model, which predicts y exactly.
#[inline(always)]
pub fn saturated<N: Number>(loss: &Loss, y: N) -> N {
    match loss {
        Loss::Poisson => poisson::saturated(y),
        _ => N::of(0.0),
    }
}

/// Whether the class of a score is y.
#[inline(always)]
pub fn is_correct<R: Real>(loss: &Loss, z: R, y: R) -> bool {
    loss.target_kind() == TargetKind::Binary && (z > R::zero()) == (y > R::of(0.5))
}
