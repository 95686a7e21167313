use super::Rule;
use crate::Error;
use crate::check::Check;

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
/// With `lr_in_momentum`, as in Keras, g is multiplied by lr before all of this and nothing after it: a
/// changed learning rate then takes effect gradually. Formula and defaults: PyTorch 2.15; what `maximize`
/// and the weight decays do is said at [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
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
    /// Whether the momentum buffer holds gradients already multiplied by lr. Default false.
    pub lr_in_momentum: bool,
    /// Weight decay, ≥ 0. Default 0.
    pub weight_decay: f64,
    /// Whether the weight decay is kept out of the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Climbs instead of descending. Default false.
    pub maximize: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Sgd {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            lr_in_momentum: false,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl Sgd {
    /// The defaults of `torch.optim.SGD`, 2.15.
    pub fn torch() -> Self {
        Self::default()
    }

    /// As `optax.sgd`, 0.2.8, which asks for lr: the buffer is PyTorch's.
    pub fn optax() -> Self {
        Self::default()
    }

    /// The defaults of `keras.optimizers.SGD`, 3.15: lr 1e-2, lr inside the buffer.
    pub fn keras() -> Self {
        Sgd { lr: 1e-2, lr_in_momentum: true, decoupled_weight_decay: true, ..Self::default() }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let check = Check(Rule::from(*self).name());
        check.lr("lr", self.lr)?;
        check.decay("momentum", self.momentum)?;
        let dampening = (0.0..=1.0).contains(&self.dampening);
        check.that(dampening, "dampening", self.dampening, "0 ≤ dampening ≤ 1")?;
        if self.nesterov {
            let range = "0 < momentum < 1 with nesterov";
            check.that(self.momentum > 0.0, "momentum", self.momentum, range)?;
            let range = "dampening = 0 with nesterov";
            check.that(self.dampening == 0.0, "dampening", self.dampening, range)?;
        }
        check.not_negative("weight_decay", self.weight_decay)
    }
}
