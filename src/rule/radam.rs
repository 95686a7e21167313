use super::{
    EpsPlacement, NamedRule, Preset, Rule, RuleShader, StepForm, TermInput, UpdateRule, fields,
    rule_shader,
};
use crate::Error;
use crate::check::Check;

/// RAdam, Adam with a rectified variance, as `torch.optim.RAdam`.
///
/// ```text
/// exp_avg    ← beta1 · exp_avg    + (1 − beta1) · g
/// exp_avg_sq ← beta2 · exp_avg_sq + (1 − beta2) · g²
/// ρ∞ = 2 / (1 − beta2) − 1,   ρₜ = ρ∞ − 2 t · beta2ᵗ / (1 − beta2ᵗ)
/// ρₜ > 5:  r = √((ρₜ − 4) (ρₜ − 2) ρ∞ / ((ρ∞ − 4) (ρ∞ − 2) ρₜ))
///          p ← p − lr · r / (1 − beta1ᵗ) · exp_avg / (√(exp_avg_sq / (1 − beta2ᵗ)) + eps / √(1 − beta2ᵗ))
/// else:    p ← p − lr / (1 − beta1ᵗ) · exp_avg
/// ```
///
/// t counts from 1. PyTorch adds eps before the bias correction, as above; optax adds it after
/// ([`EpsPlacement::Outside`]). Source: Liu et al., *On the Variance of the Adaptive Learning Rate and Beyond*, ICLR
/// 2020, algorithm 2, with PyTorch's threshold of 5 for ρₜ. Defaults: PyTorch 2.15; [`Rule`] describes `maximize` and
/// the weight decays.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RAdam {
    /// Learning rate, ≥ 0. Default 1e-3.
    pub lr: f64,
    /// Decay of the two moments, each in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root, > 0 and a normal f32. Default 1e-8.
    pub eps: f64,
    /// Where eps is added: before bias correction ([`EpsPlacement::Hat`]) or outside the root. Default before.
    pub eps_placement: EpsPlacement,
    /// Weight decay, ≥ 0. Default 0.
    pub weight_decay: f64,
    /// Whether the weight decay is decoupled from the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascends instead of descending. Default false.
    pub maximize: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        RAdam {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            eps_placement: EpsPlacement::Hat,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl RAdam {
    /// The defaults of `torch.optim.RAdam`, 2.15.
    pub fn torch() -> Self {
        Self::default()
    }

    /// As `optax.radam`, 0.2.8, which asks for lr: eps after bias correction, decoupled weight decay.
    pub fn optax() -> Self {
        let eps_placement = EpsPlacement::Outside;
        RAdam { eps_placement, decoupled_weight_decay: true, ..Self::default() }
    }
}

fields!(RAdam: lr betas eps eps_placement weight_decay decoupled_weight_decay maximize);

impl UpdateRule for RAdam {
    const NAMES: &'static [NamedRule] = &[NamedRule {
        name: "radam",
        summary: "Adam with a rectified variance",
        preset: |preset| match preset {
            Preset::Torch => Some(RAdam::torch().into()),
            Preset::Optax => Some(RAdam::optax().into()),
            Preset::Keras => None,
        },
    }];

    fn variants() -> Vec<(&'static str, Rule)> {
        // Rectified from the sixth step, and never.
        let radam = RAdam { lr: 0.02, betas: (0.8, 0.99), eps: 1e-7, ..RAdam::default() };
        let never = RAdam { betas: (0.8, 0.5), ..radam };
        let optax = RAdam { lr: 0.02, betas: (0.8, 0.9), ..RAdam::optax() };
        let weight_decay = 0.1;
        vec![
            ("radam", radam.into()),
            ("radam, weight decay, maximize", RAdam { weight_decay, maximize: true, ..radam }.into()),
            (
                "radam of optax, decoupled decay, maximize",
                RAdam { weight_decay, maximize: true, ..optax }.into(),
            ),
            ("radam, never rectified", never.into()),
        ]
    }

    fn name(&self) -> &'static str {
        "radam"
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn shader(&self) -> RuleShader {
        rule_shader!("radam")
    }

    fn bias_corrected_betas(&self) -> (f64, f64) {
        self.betas
    }

    fn eps(&self) -> (f64, EpsPlacement) {
        (self.eps, self.eps_placement)
    }

    fn step_form(&self) -> StepForm {
        StepForm::RAdam
    }

    fn validate(&self) -> Result<(), Error> {
        let check = Check("radam");
        check.lr("lr", self.lr)?;
        check.decay("beta1", self.betas.0)?;
        check.decay("beta2", self.betas.1)?;
        check.eps(self.eps)?;
        if self.eps_placement == EpsPlacement::Inside {
            let (rule, value, range) = ("radam", "inside", "outside or hat");
            return Err(Error::Option { rule, field: "eps_placement", value, range });
        }
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn terms(&self) -> Vec<(&'static str, TermInput)> {
        vec![("beta1", TermInput::Moment("exp_avg")), ("beta2", TermInput::Moment("exp_avg_sq"))]
    }
}
