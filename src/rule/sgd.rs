use super::{Check, Rule};
use crate::Error;

/// Stochastic gradient descent with optional momentum, as `torch.optim.SGD`.
///
/// ```text
/// momentum = 0:  p ← p − lr · g
/// otherwise:     momentum_buffer ← momentum · momentum_buffer + (1 − dampening) · g
///                (the first step takes g whole, as PyTorch does)
///                p ← p − lr · momentum_buffer
/// nesterov:      p ← p − lr · (g + momentum · momentum_buffer)
/// ```
///
/// The learning rate is outside the momentum buffer. Formula and defaults: PyTorch 2.x.
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias = "SGD")]
pub struct Sgd {
    /// Learning rate, ≥ 0. Default 1e-3.
    pub lr: f64,
    /// Decay of the momentum buffer, in [0, 1). Default 0: no momentum, no state.
    pub momentum: f64,
    /// Share of the gradient that is kept out of the momentum buffer after the first step, in [0, 1].
    /// Default 0.
    pub dampening: f64,
    /// Nesterov momentum; needs `momentum` > 0 and `dampening` = 0. Default false.
    pub nesterov: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Sgd { lr: 1e-3, momentum: 0.0, dampening: 0.0, nesterov: false }
    }
}

impl Sgd {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let check = Check(Rule::from(*self).name());
        check.lr(self.lr)?;
        check.decay("momentum", self.momentum)?;
        let dampening = (0.0..=1.0).contains(&self.dampening);
        check.that(dampening, "dampening", self.dampening, "0 ≤ dampening ≤ 1")?;
        if self.nesterov {
            let range = "0 < momentum < 1 with nesterov";
            check.that(self.momentum > 0.0, "momentum", self.momentum, range)?;
            let range = "dampening = 0 with nesterov";
            check.that(self.dampening == 0.0, "dampening", self.dampening, range)?;
        }
        Ok(())
    }
}
