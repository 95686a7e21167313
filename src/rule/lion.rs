use super::{NamedRule, Preset, Rule, RuleShader, TermInput, UpdateRule, fields, rule_shader};
use crate::Error;
use crate::check::Check;

/// Lion, the sign of an interpolated momentum.
///
/// ```text
/// p ← p − lr · sign(beta1 · exp_avg + (1 − beta1) · g)
/// exp_avg ← beta2 · exp_avg + (1 − beta2) · g
/// ```
///
/// The sign of zero is zero. Source: Chen et al., *Symbolic Discovery of Optimization Algorithms*, NeurIPS
/// 2023, program 1, with the paper's defaults; [`Rule`](crate::Rule) describes `maximize` and
/// the weight decays.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lion {
    /// Learning rate, ≥ 0: every element moves by it. Default 1e-4.
    pub lr: f64,
    /// Weight of the momentum in the sign, and decay of the momentum, each in [0, 1). Default (0.9, 0.99).
    pub betas: (f64, f64),
    /// Weight decay, ≥ 0. Default 0.
    pub weight_decay: f64,
    /// Whether the weight decay is decoupled from the gradient, as in the paper. Default true.
    pub decoupled_weight_decay: bool,
    /// Ascends instead of descending. Default false.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        let (weight_decay, decoupled_weight_decay) = (0.0, true);
        Lion { lr: 1e-4, betas: (0.9, 0.99), weight_decay, decoupled_weight_decay, maximize: false }
    }
}

impl Lion {
    /// The paper's defaults: PyTorch has no Lion of its own.
    pub fn torch() -> Self {
        Self::default()
    }

    /// As `optax.lion`, 0.2.8, which asks for lr: weight decay 1e-3.
    pub fn optax() -> Self {
        Lion { weight_decay: 1e-3, ..Self::default() }
    }

    /// The defaults of `keras.optimizers.Lion`, 3.15: lr 1e-3.
    pub fn keras() -> Self {
        Lion { lr: 1e-3, ..Self::default() }
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

fields!(Lion: lr betas weight_decay decoupled_weight_decay maximize);

impl UpdateRule for Lion {
    const NAMES: &'static [NamedRule] =
        &[NamedRule { name: "lion", summary: "", preset: |preset| Some(Lion::preset(preset).into()) }];

    fn variants() -> Vec<(&'static str, Rule)> {
        let lion = Lion { lr: 0.02, ..Lion::default() };
        let decay = Lion { weight_decay: 0.1, maximize: true, ..lion };
        vec![
            ("lion", lion.into()),
            ("lion, weight decay, maximize", Lion { decoupled_weight_decay: false, ..decay }.into()),
            ("lion, decoupled decay, maximize", decay.into()),
        ]
    }

    fn name(&self) -> &'static str {
        "lion"
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg"]
    }

    fn shader(&self) -> RuleShader {
        rule_shader!("lion")
    }

    fn validate(&self) -> Result<(), Error> {
        let check = Check("lion");
        check.lr("lr", self.lr)?;
        check.decay("beta1", self.betas.0)?;
        check.decay("beta2", self.betas.1)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn terms(&self) -> Vec<(&'static str, TermInput)> {
        vec![("beta1", TermInput::Moment("exp_avg")), ("beta2", TermInput::Moment("exp_avg"))]
    }
}
