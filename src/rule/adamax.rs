use super::{
    EpsPlacement, NamedRule, Preset, Rule, RuleShader, TermInput, UpdateRule, fields, rule_shader,
};
use crate::Error;
use crate::check::Check;

/// Adamax, Adam in the infinity norm, as `torch.optim.Adamax`.
///
/// ```text
/// exp_avg ← beta1 · exp_avg + (1 − beta1) · g
/// exp_inf ← max(beta2 · exp_inf, |g| + eps)
/// p ← p − lr / (1 − beta1ᵗ) · exp_avg / exp_inf
/// ```
///
/// PyTorch and optax add eps inside the maximum; [`EpsPlacement::Outside`] adds it to `exp_inf`, as Keras
/// does. Source: Kingma & Ba, ICLR 2015, algorithm 2. Defaults: PyTorch 2.15; [`Rule`](crate::Rule) describes `maximize` and
/// the weight decays.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Adamax {
    /// Learning rate, ≥ 0. Default 2e-3.
    pub lr: f64,
    /// Decay of the moment and of the norm, each in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the gradient's size or to the norm, > 0 and a normal f32. Default 1e-8.
    pub eps: f64,
    /// Inside or outside the maximum; epsilon-hat is refused. Default inside.
    pub eps_placement: EpsPlacement,
    /// Weight decay, ≥ 0. Default 0.
    pub weight_decay: f64,
    /// Whether the weight decay is decoupled from the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascends instead of descending. Default false.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Adamax {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            eps_placement: EpsPlacement::Inside,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl Adamax {
    /// The defaults of `torch.optim.Adamax`, 2.15.
    pub fn torch() -> Self {
        Self::default()
    }

    /// As `optax.adamax`, 0.2.8, which asks for lr; decoupled weight decay (`optax.adamaxw`).
    pub fn optax() -> Self {
        Adamax { decoupled_weight_decay: true, ..Self::default() }
    }

    /// The defaults of `keras.optimizers.Adamax`, 3.15: lr 1e-3, eps 1e-7 outside the maximum, decoupled
    /// weight decay.
    pub fn keras() -> Self {
        let eps_placement = EpsPlacement::Outside;
        Adamax { lr: 1e-3, eps: 1e-7, eps_placement, ..Self::optax() }
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

fields!(Adamax: lr betas eps eps_placement weight_decay decoupled_weight_decay maximize);

impl UpdateRule for Adamax {
    const NAMES: &'static [NamedRule] = &[NamedRule {
        name: "adamax",
        summary: "",
        preset: |preset| Some(Adamax::preset(preset).into()),
    }];

    fn variants() -> Vec<(&'static str, Rule)> {
        let adamax = Adamax { lr: 0.02, weight_decay: 0.1, ..Adamax::default() };
        let outside = Adamax { eps_placement: EpsPlacement::Outside, ..adamax };
        let (maximize, decoupled_weight_decay) = (true, true);
        vec![
            ("adamax, weight decay", adamax.into()),
            (
                "adamax, eps outside, decoupled decay, maximize",
                Adamax { decoupled_weight_decay, maximize, ..outside }.into(),
            ),
        ]
    }

    fn name(&self) -> &'static str {
        "adamax"
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_inf"]
    }

    fn shader(&self) -> RuleShader {
        rule_shader!("adamax")
    }

    fn bias_corrected_betas(&self) -> (f64, f64) {
        (self.betas.0, 0.0)
    }

    fn eps(&self) -> (f64, EpsPlacement) {
        (self.eps, self.eps_placement)
    }

    fn validate(&self) -> Result<(), Error> {
        let check = Check("adamax");
        check.lr("lr", self.lr)?;
        check.decay("beta1", self.betas.0)?;
        check.decay("beta2", self.betas.1)?;
        check.eps(self.eps)?;
        check.no_hat(self.eps_placement)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn terms(&self) -> Vec<(&'static str, TermInput)> {
        vec![("beta1", TermInput::Moment("exp_avg")), ("beta2", TermInput::Moment("exp_inf"))]
    }
}
