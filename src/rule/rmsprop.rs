use super::Check;
use crate::Error;

/// RMSprop, as `torch.optim.RMSprop`: no bias correction, `eps` outside the root.
///
/// ```text
/// square_avg ← alpha · square_avg + (1 − alpha) · g²
/// p ← p − lr · g / (√square_avg + eps)
/// ```
///
/// Source: Hinton, *Neural Networks for Machine Learning*, lecture 6e. Form and defaults: PyTorch 2.x.
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias = "RMSprop")]
pub struct RmsProp {
    /// Learning rate, ≥ 0. Default 1e-2.
    pub lr: f64,
    /// Decay of the squared gradient's average, in [0, 1). Default 0.99.
    pub alpha: f64,
    /// Added to the root, > 0 and a normal f32. Default 1e-8. Below 1e-12 a device that flushes
    /// subnormal squares to zero takes visibly other steps where gradients are tiny.
    pub eps: f64,
}

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp { lr: 1e-2, alpha: 0.99, eps: 1e-8 }
    }
}

impl RmsProp {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let check = Check("rmsprop");
        check.lr(self.lr)?;
        check.decay("alpha", self.alpha)?;
        check.eps(self.eps)
    }
}
