use super::{EpsPlacement, Rule};
use crate::Error;
use crate::check::Check;

/// Adam and AdamW, as `torch.optim.Adam` and `AdamW`, and as optax and Keras have them.
///
/// ```text
/// exp_avg    ← beta1 · exp_avg    + (1 − beta1) · g
/// exp_avg_sq ← beta2 · exp_avg_sq + (1 − beta2) · g²
/// amsgrad:     max_exp_avg_sq ← max(max_exp_avg_sq, exp_avg_sq), and this in the place of exp_avg_sq:
/// p ← p − lr / (1 − beta1ᵗ) · exp_avg / (√(exp_avg_sq / (1 − beta2ᵗ)) + eps)
/// ```
///
/// t counts from 1, for every tensor by itself. Sources: Kingma & Ba, *Adam: A Method for Stochastic
/// Optimization*, ICLR 2015, algorithm 1; Loshchilov & Hutter, *Decoupled Weight Decay Regularization*,
/// ICLR 2019; Reddi, Kale & Kumar, *On the Convergence of Adam and Beyond*, ICLR 2018. Defaults: PyTorch
/// 2.15; what `maximize` and the weight decays do is said at [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
#[doc(alias = "AdamW")]
pub struct Adam {
    /// Learning rate, ≥ 0. Default 1e-3.
    pub lr: f64,
    /// Decay of the two moments, each in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root, > 0 and a normal f32. Default 1e-8. Below 1e-12 a device that flushes
    /// subnormal squares to zero takes visibly other steps where gradients are tiny.
    pub eps: f64,
    /// Where eps is added. Default outside the root; Keras has the paper's epsilon-hat.
    pub eps_placement: EpsPlacement,
    /// Divides by the root of the largest second moment so far. Default false.
    pub amsgrad: bool,
    /// Which second moment that is the largest of. Default the raw one.
    pub amsgrad_of: AmsgradOf,
    /// Weight decay, ≥ 0. Default 0; [`Adam::adamw`] has 1e-2.
    pub weight_decay: f64,
    /// Whether the weight decay is kept out of the gradient: AdamW. Default false.
    pub decoupled_weight_decay: bool,
    /// Climbs instead of descending. Default false.
    pub maximize: bool,
}

/// What AMSGrad takes the maximum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub enum AmsgradOf {
    /// `exp_avg_sq` as it is; the maximum is bias-corrected after. PyTorch and Keras.
    #[default]
    Raw,
    /// `exp_avg_sq / (1 − beta2ᵗ)`. optax; `max_exp_avg_sq` then holds corrected values.
    Corrected,
}

impl Default for Adam {
    fn default() -> Self {
        Adam {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            eps_placement: EpsPlacement::Outside,
            amsgrad: false,
            amsgrad_of: AmsgradOf::Raw,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl Adam {
    /// The defaults of `torch.optim.Adam`, 2.15.
    pub fn torch() -> Self {
        Self::default()
    }

    /// As `optax.adam`, 0.2.8, which asks for lr: AMSGrad of the corrected moment, decoupled weight decay.
    pub fn optax() -> Self {
        let amsgrad_of = AmsgradOf::Corrected;
        Adam { amsgrad_of, decoupled_weight_decay: true, ..Self::default() }
    }

    /// The defaults of `keras.optimizers.Adam`, 3.15: eps 1e-7 as epsilon-hat, decoupled weight decay.
    pub fn keras() -> Self {
        let eps_placement = EpsPlacement::Hat;
        Adam { eps: 1e-7, eps_placement, decoupled_weight_decay: true, ..Self::default() }
    }

    /// The defaults of `torch.optim.AdamW`, 2.15: decoupled weight decay of 1e-2.
    pub fn adamw() -> Self {
        Adam { weight_decay: 1e-2, decoupled_weight_decay: true, ..Self::default() }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let check = Check(Rule::from(*self).name());
        check.lr("lr", self.lr)?;
        check.decay("beta1", self.betas.0)?;
        check.decay("beta2", self.betas.1)?;
        check.eps(self.eps)?;
        check.not_negative("weight_decay", self.weight_decay)
    }
}
