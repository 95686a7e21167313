use super::{
    EpsPlacement, NamedRule, Preset, Rule, RuleShader, TermInput, UpdateRule, fields, rule_shader,
};
use crate::Error;
use crate::check::Check;
use crate::wgsl::flag;

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
/// 2.15; [`Rule`](crate::Rule) describes `maximize` and
/// the weight decays.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// Whether the weight decay is decoupled from the gradient: AdamW. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascends instead of descending. Default false.
    pub maximize: bool,
}

/// The second moment of which AMSGrad keeps the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

    /// The defaults of a library.
    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Torch => Self::torch(),
            Preset::Optax => Self::optax(),
            Preset::Keras => Self::keras(),
        }
    }
}

fields!(Adam: lr betas eps eps_placement amsgrad amsgrad_of weight_decay decoupled_weight_decay maximize);

impl UpdateRule for Adam {
    const NAMES: &'static [NamedRule] = &[
        NamedRule { name: "adam", summary: "", preset: |preset| Some(Adam::preset(preset).into()) },
        NamedRule {
            name: "adamw",
            summary: "Adam with decoupled weight decay",
            preset: |preset| {
                let adamw = match preset {
                    Preset::Torch => Adam::adamw(),
                    // The defaults of optax.adamw and of keras.optimizers.AdamW.
                    Preset::Optax => Adam { weight_decay: 1e-4, ..Adam::optax() },
                    Preset::Keras => Adam { weight_decay: 4e-3, ..Adam::keras() },
                };
                Some(adamw.into())
            },
        },
        NamedRule {
            name: "amsgrad",
            summary: "Adam that divides by the largest second moment so far",
            preset: |preset| Some(Adam { amsgrad: true, ..Adam::preset(preset) }.into()),
        },
    ];

    fn variants() -> Vec<(&'static str, Rule)> {
        let adam = Adam { lr: 0.02, betas: (0.8, 0.99), eps: 1e-7, ..Adam::default() };
        let amsgrad = Adam { amsgrad: true, ..adam };
        let weight_decay = 0.1;
        let (maximize, decoupled_weight_decay) = (true, true);
        let inside = Adam { eps_placement: EpsPlacement::Inside, ..adam };
        let corrected = Adam { amsgrad_of: AmsgradOf::Corrected, ..amsgrad };
        vec![
            ("adam", adam.into()),
            ("adamw", Adam { weight_decay: 0.3, decoupled_weight_decay, ..adam }.into()),
            (
                "adam, eps hat, weight decay, maximize",
                Adam { eps_placement: EpsPlacement::Hat, weight_decay, maximize, ..adam }.into(),
            ),
            (
                "adam, eps inside, decoupled decay, maximize",
                Adam { weight_decay, decoupled_weight_decay, maximize, ..inside }.into(),
            ),
            ("amsgrad", amsgrad.into()),
            ("amsgrad, weight decay, maximize", Adam { weight_decay, maximize, ..amsgrad }.into()),
            (
                "amsgrad of corrected, decoupled decay, maximize",
                Adam { weight_decay, decoupled_weight_decay, maximize, ..corrected }.into(),
            ),
        ]
    }

    fn name(&self) -> &'static str {
        match (self.decoupled_weight_decay && self.weight_decay != 0.0, self.amsgrad) {
            (true, _) => "adamw",
            (false, true) => "amsgrad",
            (false, false) => "adam",
        }
    }

    fn moments(&self) -> &'static [&'static str] {
        if self.amsgrad {
            &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
        } else {
            &["exp_avg", "exp_avg_sq"]
        }
    }

    fn shader(&self) -> RuleShader {
        rule_shader!("adam")
    }

    fn overrides(&self) -> Vec<(&'static str, f64)> {
        vec![
            flag("AMSGRAD", self.amsgrad),
            flag("AMSGRAD_OF_CORRECTED", self.amsgrad_of == AmsgradOf::Corrected),
            flag("EPS_INSIDE", self.eps_placement == EpsPlacement::Inside),
        ]
    }

    fn bias_corrected_betas(&self) -> (f64, f64) {
        self.betas
    }

    fn eps(&self) -> (f64, EpsPlacement) {
        (self.eps, self.eps_placement)
    }

    fn validate(&self) -> Result<(), Error> {
        let check = Check(self.name());
        check.lr("lr", self.lr)?;
        check.decay("beta1", self.betas.0)?;
        check.decay("beta2", self.betas.1)?;
        check.eps(self.eps)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn terms(&self) -> Vec<(&'static str, TermInput)> {
        let mut terms =
            vec![("beta1", TermInput::Moment("exp_avg")), ("beta2", TermInput::Moment("exp_avg_sq"))];
        terms.extend(self.amsgrad.then_some(("amsgrad", TermInput::Moment("max_exp_avg_sq"))));
        terms
    }
}
