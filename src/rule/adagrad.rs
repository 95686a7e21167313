use super::{
    EpsPlacement, NamedRule, Preset, Rule, RuleShader, TermInput, UpdateRule, fields, rule_shader,
};
use crate::Error;
use crate::check::Check;
use crate::wgsl::flag;

/// Adagrad, as `torch.optim.Adagrad`.
///
/// ```text
/// sum ← sum + g²
/// p ← p − lr / (1 + (t − 1) · lr_decay) · g / (√sum + eps)
/// ```
///
/// t counts from 1. Source: Duchi, Hazan & Singer, *Adaptive Subgradient Methods*, JMLR 2011. Form and
/// defaults: PyTorch 2.15; [`Rule`](crate::Rule) describes `maximize` and
/// the weight decays.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Adagrad {
    /// Learning rate, ≥ 0. Default 1e-2.
    pub lr: f64,
    /// How fast the learning rate falls, ≥ 0. Default 0.
    pub lr_decay: f64,
    /// Added to the root, > 0 and a normal f32. Default 1e-10.
    pub eps: f64,
    /// Outside the root in PyTorch, inside in optax and Keras; epsilon-hat is refused.
    pub eps_placement: EpsPlacement,
    /// Initial value of `sum`, ≥ 0. Default 0.
    pub initial_accumulator: f64,
    /// Weight decay, ≥ 0. Default 0.
    pub weight_decay: f64,
    /// Whether the weight decay is decoupled from the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascends instead of descending. Default false.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Adagrad {
            lr: 1e-2,
            lr_decay: 0.0,
            eps: 1e-10,
            eps_placement: EpsPlacement::Outside,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl Adagrad {
    /// The defaults of `torch.optim.Adagrad`, 2.15.
    pub fn torch() -> Self {
        Self::default()
    }

    /// As `optax.adagrad`, 0.2.8, which asks for lr: eps 1e-7 inside the root, the sum starts at 0.1.
    pub fn optax() -> Self {
        let eps_placement = EpsPlacement::Inside;
        let initial_accumulator = 0.1;
        let decoupled_weight_decay = true;
        Adagrad {
            eps: 1e-7,
            eps_placement,
            initial_accumulator,
            decoupled_weight_decay,
            ..Self::default()
        }
    }

    /// The defaults of `keras.optimizers.Adagrad`, 3.15: lr 1e-3, and as optax.
    pub fn keras() -> Self {
        Adagrad { lr: 1e-3, ..Self::optax() }
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

fields!(Adagrad: lr lr_decay eps eps_placement initial_accumulator weight_decay decoupled_weight_decay
    maximize);

impl UpdateRule for Adagrad {
    const NAMES: &'static [NamedRule] = &[NamedRule {
        name: "adagrad",
        summary: "",
        preset: |preset| Some(Adagrad::preset(preset).into()),
    }];

    fn variants() -> Vec<(&'static str, Rule)> {
        let adagrad = Adagrad { lr: 0.03, ..Adagrad::default() };
        let weight_decay = 0.1;
        let (maximize, decoupled_weight_decay) = (true, true);
        vec![
            ("adagrad, lr decay", Adagrad { lr_decay: 0.01, ..adagrad }.into()),
            (
                "adagrad, initial accumulator, eps inside, weight decay, maximize",
                Adagrad {
                    initial_accumulator: 0.1,
                    eps_placement: EpsPlacement::Inside,
                    weight_decay,
                    maximize,
                    ..adagrad
                }
                .into(),
            ),
            (
                "adagrad, lr decay, decoupled decay, maximize",
                Adagrad { lr_decay: 0.01, weight_decay, decoupled_weight_decay, maximize, ..adagrad }
                    .into(),
            ),
        ]
    }

    fn name(&self) -> &'static str {
        "adagrad"
    }

    fn moments(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn shader(&self) -> RuleShader {
        rule_shader!("adagrad")
    }

    fn overrides(&self) -> Vec<(&'static str, f64)> {
        vec![
            flag("EPS_INSIDE", self.eps_placement == EpsPlacement::Inside),
            flag("INITIAL_ACCUMULATOR", self.initial_accumulator != 0.0),
        ]
    }

    fn eps(&self) -> (f64, EpsPlacement) {
        (self.eps, self.eps_placement)
    }

    fn lr_decay(&self) -> f64 {
        self.lr_decay
    }

    fn validate(&self) -> Result<(), Error> {
        let check = Check("adagrad");
        check.lr("lr", self.lr)?;
        check.not_negative("lr_decay", self.lr_decay)?;
        check.eps(self.eps)?;
        check.no_hat(self.eps_placement)?;
        check.not_negative("initial_accumulator", self.initial_accumulator)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn terms(&self) -> Vec<(&'static str, TermInput)> {
        let mut terms = vec![("sum", TermInput::Moment("sum"))];
        terms.extend((self.lr_decay != 0.0).then_some(("lr_decay", TermInput::LaterUpdate)));
        terms
    }
}
