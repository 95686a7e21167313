use super::{
    EpsPlacement, NamedRule, Preset, Rule, RuleShader, StepForm, TermInput, UpdateRule, fields,
    rule_shader,
};
use crate::Error;
use crate::check::Check;

/// NAdam, Adam with Nesterov momentum, as `torch.optim.NAdam`.
///
/// ```text
/// muₜ = beta1 · (1 − 0.5 · 0.96^(t · momentum_decay))
/// exp_avg    ← beta1 · exp_avg    + (1 − beta1) · g
/// exp_avg_sq ← beta2 · exp_avg_sq + (1 − beta2) · g²
/// p ← p − lr · ((1 − muₜ) / (1 − Π mu) · g + muₜ₊₁ / (1 − muₜ₊₁ · Π mu) · exp_avg)
///          / (√(exp_avg_sq / (1 − beta2ᵗ)) + eps)
/// ```
///
/// Π mu is the product of mu₁ … muₜ; t counts from 1. Without a `momentum_decay` muₜ is beta1, which is
/// optax's nadam. Source: Dozat, *Incorporating Nesterov Momentum into Adam*, ICLR 2016 workshop. Defaults:
/// PyTorch 2.15; [`Rule`](crate::Rule) describes `maximize` and
/// the weight decays.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NAdam {
    /// Learning rate, ≥ 0. Default 2e-3.
    pub lr: f64,
    /// Decay of the two moments, each in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root, > 0 and a normal f32. Default 1e-8.
    pub eps: f64,
    /// How soon the momentum reaches beta1, ≥ 0; `None`: from the first step on. Default 4e-3.
    pub momentum_decay: Option<f64>,
    /// Weight decay, ≥ 0. Default 0.
    pub weight_decay: f64,
    /// Whether the weight decay is decoupled from the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascends instead of descending. Default false.
    pub maximize: bool,
}

impl Default for NAdam {
    fn default() -> Self {
        NAdam {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            momentum_decay: Some(4e-3),
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl NAdam {
    /// The defaults of `torch.optim.NAdam`, 2.15.
    pub fn torch() -> Self {
        Self::default()
    }

    /// As `optax.nadam`, 0.2.8, which asks for lr: constant momentum, decoupled weight decay.
    pub fn optax() -> Self {
        NAdam { lr: 1e-3, momentum_decay: None, decoupled_weight_decay: true, ..Self::default() }
    }

    /// The defaults of `keras.optimizers.Nadam`, 3.15: lr 1e-3, eps 1e-7, momentum decay 1, decoupled
    /// weight decay.
    pub fn keras() -> Self {
        NAdam { eps: 1e-7, momentum_decay: Some(1.0), ..Self::optax() }
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

fields!(NAdam: lr betas eps momentum_decay weight_decay decoupled_weight_decay maximize);

impl UpdateRule for NAdam {
    const NAMES: &'static [NamedRule] =
        &[NamedRule { name: "nadam", summary: "", preset: |preset| Some(NAdam::preset(preset).into()) }];

    fn variants() -> Vec<(&'static str, Rule)> {
        let nadam = NAdam { lr: 0.02, betas: (0.8, 0.99), weight_decay: 0.1, ..NAdam::default() };
        let (maximize, decoupled_weight_decay) = (true, true);
        vec![
            ("nadam, weight decay", nadam.into()),
            (
                "nadam, no momentum decay, decoupled decay, maximize",
                NAdam { momentum_decay: None, decoupled_weight_decay, maximize, ..nadam }.into(),
            ),
        ]
    }

    fn name(&self) -> &'static str {
        "nadam"
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn shader(&self) -> RuleShader {
        rule_shader!("nadam")
    }

    fn bias_corrected_betas(&self) -> (f64, f64) {
        self.betas
    }

    fn eps(&self) -> (f64, EpsPlacement) {
        (self.eps, EpsPlacement::Outside)
    }

    fn step_form(&self) -> StepForm {
        StepForm::NAdam(self.momentum_decay)
    }

    fn validate(&self) -> Result<(), Error> {
        let check = Check("nadam");
        check.lr("lr", self.lr)?;
        check.decay("beta1", self.betas.0)?;
        check.decay("beta2", self.betas.1)?;
        check.eps(self.eps)?;
        check.not_negative("momentum_decay", self.momentum_decay.unwrap_or(0.0))?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn terms(&self) -> Vec<(&'static str, TermInput)> {
        vec![
            ("beta1", TermInput::Moment("exp_avg")),
            ("beta2", TermInput::Moment("exp_avg_sq")),
            ("momentum_decay", TermInput::LaterUpdate),
        ]
    }
}
