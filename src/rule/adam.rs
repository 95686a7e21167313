use super::Check;
use crate::Error;

/// Adam, as `torch.optim.Adam`: both moments bias-corrected, `eps` outside the root and not corrected.
///
/// ```text
/// exp_avg    ← beta1 · exp_avg    + (1 − beta1) · g
/// exp_avg_sq ← beta2 · exp_avg_sq + (1 − beta2) · g²
/// p ← p − lr / (1 − beta1ᵗ) · exp_avg / (√(exp_avg_sq / (1 − beta2ᵗ)) + eps)
/// ```
///
/// t counts from 1. Source: Kingma & Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015,
/// algorithm 1. Defaults: PyTorch 2.x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate, ≥ 0. Default 1e-3.
    pub lr: f64,
    /// Decay of the two moments, each in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root, > 0 and a normal f32. Default 1e-8. Below 1e-12 a device that flushes
    /// subnormal squares to zero takes visibly other steps where gradients are tiny.
    pub eps: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8 }
    }
}

impl Adam {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let check = Check("adam");
        check.lr(self.lr)?;
        check.decay("beta1", self.betas.0)?;
        check.decay("beta2", self.betas.1)?;
        check.eps(self.eps)
    }
}
