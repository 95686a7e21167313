use super::{NamedRule, Preset, Rule, RuleShader, TermInput, UpdateRule, fields, rule_shader};
use crate::Error;
use crate::check::Check;
use crate::wgsl::flag;

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
/// changed learning rate then takes effect gradually. Formula and defaults: PyTorch 2.15; [`Rule`](crate::Rule) describes `maximize` and
/// the weight decays.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// Whether the weight decay is decoupled from the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascends instead of descending. Default false.
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

    /// The defaults of a library.
    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Torch => Self::torch(),
            Preset::Optax => Self::optax(),
            Preset::Keras => Self::keras(),
        }
    }
}

fields!(Sgd: lr momentum dampening nesterov lr_in_momentum weight_decay decoupled_weight_decay maximize);

impl UpdateRule for Sgd {
    const NAMES: &'static [NamedRule] = &[
        NamedRule { name: "sgd", summary: "", preset: |preset| Some(Sgd::preset(preset).into()) },
        NamedRule {
            name: "momentum",
            summary: "SGD with a momentum of 0.9",
            // The libraries' default of 0 would be plain SGD.
            preset: |preset| Some(Sgd { momentum: 0.9, ..Sgd::preset(preset) }.into()),
        },
        NamedRule {
            name: "nesterov",
            summary: "SGD with Nesterov momentum of 0.9",
            preset: |preset| Some(Sgd { momentum: 0.9, nesterov: true, ..Sgd::preset(preset) }.into()),
        },
    ];

    fn variants() -> Vec<(&'static str, Rule)> {
        let sgd = Sgd { lr: 0.125, ..Sgd::default() };
        let momentum = Sgd { lr: 0.03, momentum: 0.9, ..sgd };
        let nesterov = Sgd { nesterov: true, ..momentum };
        let decay = Sgd { weight_decay: 0.1, maximize: true, ..sgd };
        let decoupled_weight_decay = true;
        vec![
            ("sgd", sgd.into()),
            ("sgd, weight decay, maximize", decay.into()),
            ("sgd, decoupled decay, maximize", Sgd { decoupled_weight_decay, ..decay }.into()),
            ("momentum", momentum.into()),
            (
                "momentum, dampening, weight decay",
                Sgd { dampening: 0.3, weight_decay: 0.1, ..momentum }.into(),
            ),
            ("nesterov", nesterov.into()),
            (
                "nesterov, weight decay, maximize",
                Sgd { weight_decay: 0.1, maximize: true, ..nesterov }.into(),
            ),
            (
                "nesterov, lr in momentum, decoupled decay, maximize",
                Sgd {
                    lr_in_momentum: true,
                    weight_decay: 0.1,
                    decoupled_weight_decay,
                    maximize: true,
                    ..nesterov
                }
                .into(),
            ),
        ]
    }

    fn name(&self) -> &'static str {
        match (self.momentum != 0.0, self.nesterov) {
            (_, true) => "nesterov",
            (true, false) => "momentum",
            (false, false) => "sgd",
        }
    }

    fn moments(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn shader(&self) -> RuleShader {
        if self.momentum == 0.0 { rule_shader!("sgd") } else { rule_shader!("sgd_momentum") }
    }

    fn overrides(&self) -> Vec<(&'static str, f64)> {
        match self.momentum {
            0.0 => vec![],
            _ => vec![flag("NESTEROV", self.nesterov), flag("LR_IN_MOMENTUM", self.lr_in_momentum)],
        }
    }

    fn validate(&self) -> Result<(), Error> {
        let check = Check(self.name());
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

    fn terms(&self) -> Vec<(&'static str, TermInput)> {
        let buffer = TermInput::Moment("momentum_buffer");
        let mut terms = Vec::new();
        if self.momentum != 0.0 {
            terms.push(("momentum", buffer));
            terms.extend((self.dampening != 0.0).then_some(("dampening", TermInput::LaterUpdate)));
            terms.extend(self.nesterov.then_some(("nesterov", buffer)));
        }
        terms
    }
}
