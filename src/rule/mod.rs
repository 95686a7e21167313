//! Update rules as plain data: what a user sets, PyTorch's names and defaults, and the checks.
//!
//! What a rule *means* is in [`cpu`](crate::cpu) under the same file name, and what runs on the GPU in
//! `shaders/update/`.

mod adagrad;
mod adam;
mod adamax;
mod conditioning;
mod difference;
mod lion;
mod nadam;
mod penalty;
mod rmsprop;
mod sgd;

pub use adagrad::Adagrad;
pub use adam::{Adam, AmsgradOf};
pub use adamax::Adamax;
pub use conditioning::{ClipNorm, Conditioning};
pub use lion::Lion;
pub use nadam::NAdam;
pub use penalty::Penalty;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

use crate::Error;

/// One of the update rules, with its hyper-parameters.
///
/// Around its own formula every rule does the same, in this order, at step t with learning rate lr:
///
/// ```text
/// maximize:                g ← −g
/// weight_decay, coupled:   g ← g + weight_decay · p
/// weight_decay, decoupled: p ← p − lr · weight_decay · p, in one with the rule's own change of p
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Rule {
    /// Gradient descent, plain, with momentum, or with Nesterov momentum.
    Sgd(Sgd),
    /// RMSprop.
    RmsProp(RmsProp),
    /// Adam or AdamW.
    Adam(Adam),
    /// Adam with Nesterov momentum.
    NAdam(NAdam),
    /// Adam in the infinity norm.
    Adamax(Adamax),
    /// Adagrad.
    Adagrad(Adagrad),
    /// Lion.
    Lion(Lion),
}

/// Where a rule adds eps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub enum EpsPlacement {
    /// `√v̂ + eps`: PyTorch, optax's adam.
    #[default]
    Outside,
    /// `√(v̂ + eps)`: optax's and Keras's RMSprop.
    Inside,
    /// `√v̂ + eps / √(1 − beta2ᵗ)`, which is `√v + eps` before bias correction: Keras's Adam, and the
    /// paper's epsilon-hat.
    Hat,
}

/// What a rule does around its own formula; see [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CommonTerms {
    /// Climbs instead of descending.
    pub maximize: bool,
    /// Weight decay that is added to the gradient; 0 for none.
    pub coupled: f64,
    /// Weight decay that is taken off the parameter; 0 for none.
    pub decoupled: f64,
}

/// The same expression for whatever rule there is.
macro_rules! of_any {
    ($self:expr, $rule:ident => $value:expr) => {
        match $self {
            Rule::Sgd($rule) => $value,
            Rule::RmsProp($rule) => $value,
            Rule::Adam($rule) => $value,
            Rule::NAdam($rule) => $value,
            Rule::Adamax($rule) => $value,
            Rule::Adagrad($rule) => $value,
            Rule::Lion($rule) => $value,
        }
    };
}

impl Rule {
    /// The name of the algorithm: `sgd`, `momentum`, `nesterov`, `rmsprop`, `adam`, `adamw`, `amsgrad`,
    /// `nadam`, `adamax`, `adagrad` or `lion`.
    pub fn name(&self) -> &'static str {
        match self {
            Rule::Sgd(sgd) if sgd.nesterov => "nesterov",
            Rule::Sgd(sgd) if sgd.momentum != 0.0 => "momentum",
            Rule::Sgd(_) => "sgd",
            Rule::RmsProp(_) => "rmsprop",
            Rule::Adam(adam) if adam.decoupled_weight_decay && adam.weight_decay != 0.0 => "adamw",
            Rule::Adam(adam) if adam.amsgrad => "amsgrad",
            Rule::Adam(_) => "adam",
            Rule::NAdam(_) => "nadam",
            Rule::Adamax(_) => "adamax",
            Rule::Adagrad(_) => "adagrad",
            Rule::Lion(_) => "lion",
        }
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        of_any!(self, rule => rule.lr)
    }

    /// The same rule with another learning rate.
    pub fn with_lr(mut self, lr: f64) -> Self {
        of_any!(&mut self, rule => rule.lr = lr);
        self
    }

    /// The same rule, descending.
    #[cfg(feature = "verify")]
    pub(crate) fn minimizing(mut self) -> Self {
        of_any!(&mut self, rule => rule.maximize = false);
        self
    }

    /// PyTorch's names of what the rule keeps for every parameter, in the order in which it is stored.
    pub fn moments(&self) -> &'static [&'static str] {
        match self {
            Rule::Sgd(sgd) if sgd.momentum == 0.0 => &[],
            Rule::Sgd(_) => &["momentum_buffer"],
            Rule::RmsProp(rmsprop) => match (rmsprop.centered, rmsprop.momentum != 0.0) {
                (false, false) => &["square_avg"],
                (true, false) => &["square_avg", "grad_avg"],
                (false, true) => &["square_avg", "momentum_buffer"],
                (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
            },
            Rule::Adam(adam) if adam.amsgrad => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
            Rule::Adam(_) | Rule::NAdam(_) => &["exp_avg", "exp_avg_sq"],
            Rule::Adamax(_) => &["exp_avg", "exp_inf"],
            Rule::Adagrad(_) => &["sum"],
            Rule::Lion(_) => &["exp_avg"],
        }
    }

    /// Bytes that one step must move for each f32 parameter: the gradient read once, the parameter
    /// and every moment read once and written once.
    pub fn bytes_per_parameter(&self) -> u64 {
        4 + 8 * (1 + self.moments().len() as u64)
    }

    /// What the rule does around its own formula.
    pub fn frame(&self) -> CommonTerms {
        of_any!(self, rule => {
            let (coupled, decoupled) = match rule.decoupled_weight_decay {
                false => (rule.weight_decay, 0.0),
                true => (0.0, rule.weight_decay),
            };
            CommonTerms { maximize: rule.maximize, coupled, decoupled }
        })
    }

    /// The decay rates whose powers correct the moments' bias; zero where the rule corrects nothing.
    pub fn bias_corrected_betas(&self) -> (f64, f64) {
        match self {
            Rule::Adam(adam) => adam.betas,
            Rule::NAdam(nadam) => nadam.betas,
            Rule::Adamax(adamax) => (adamax.betas.0, 0.0),
            Rule::RmsProp(rmsprop) if rmsprop.bias_correction => (0.0, rmsprop.alpha),
            Rule::RmsProp(_) | Rule::Sgd(_) | Rule::Adagrad(_) | Rule::Lion(_) => (0.0, 0.0),
        }
    }

    /// What is added outside the root, and inside of it.
    pub(crate) fn eps(&self) -> (f64, f64) {
        let split = |eps, placement| match placement {
            EpsPlacement::Inside => (0.0, eps),
            EpsPlacement::Outside | EpsPlacement::Hat => (eps, 0.0),
        };
        match self {
            Rule::Adam(adam) => split(adam.eps, adam.eps_placement),
            Rule::RmsProp(rmsprop) => split(rmsprop.eps, rmsprop.eps_placement),
            Rule::Adamax(adamax) => split(adamax.eps, adamax.eps_placement),
            Rule::Adagrad(adagrad) => split(adagrad.eps, adagrad.eps_placement),
            Rule::NAdam(nadam) => (nadam.eps, 0.0),
            Rule::Sgd(_) | Rule::Lion(_) => (0.0, 0.0),
        }
    }

    /// Whether eps is multiplied by the root of the second bias correction's inverse.
    pub(crate) fn eps_is_hat(&self) -> bool {
        let placement = match self {
            Rule::Adam(adam) => adam.eps_placement,
            Rule::RmsProp(rmsprop) => rmsprop.eps_placement,
            _ => EpsPlacement::Outside,
        };
        placement == EpsPlacement::Hat
    }

    /// How fast the learning rate falls with the steps of a tensor; 0 for not at all.
    pub(crate) fn lr_decay(&self) -> f64 {
        if let Rule::Adagrad(adagrad) = self { adagrad.lr_decay } else { 0.0 }
    }

    /// Checks every hyper-parameter.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range;
    /// [`Error::Option`] for a place of eps that the rule does not have.
    pub fn validate(&self) -> Result<(), Error> {
        of_any!(self, rule => rule.validate())
    }
}

macro_rules! from {
    ($($rule:ident),+) => {$(
        impl From<$rule> for Rule {
            fn from(rule: $rule) -> Self {
                Rule::$rule(rule)
            }
        }
    )+};
}

from!(Sgd, RmsProp, Adam, NAdam, Adamax, Adagrad, Lion);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(rule: impl Into<Rule>) -> String {
        rule.into().validate().unwrap_err().to_string()
    }

    /// Every preset of every rule.
    fn all() -> Vec<Rule> {
        macro_rules! presets {
            ($($rule:ident),+) => {
                vec![$(
                    $rule::default().into(),
                    $rule::torch().into(),
                    $rule::optax().into(),
                    $rule::keras().into(),
                )+ Adam::adamw().into()]
            };
        }
        presets!(Sgd, RmsProp, Adam, NAdam, Adamax, Adagrad, Lion)
    }

    #[test]
    fn defaults_are_valid() {
        for rule in all() {
            rule.validate().unwrap();
        }
    }

    #[test]
    fn an_error_names_field_value_and_range() {
        let text = message(Adam { betas: (0.9, 1.0), ..Adam::default() });
        assert_eq!(text, "adam: beta2 is 1.0, which is outside its range: 0 ≤ value < 1");
        assert!(message(Adam { eps: 0.0, ..Adam::default() }).contains("eps is 0.0"));
        assert!(message(RmsProp { alpha: -0.1, ..RmsProp::default() }).contains("alpha is -0.1"));
    }

    #[test]
    fn nothing_that_is_not_a_number_passes() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            for rule in all() {
                message(rule.with_lr(bad));
            }
            macro_rules! refused {
                ($($rule:ident: $($field:ident),+;)+) => {
                    $($(message($rule { $field: bad, ..$rule::default() });)+)+
                };
            }
            refused! {
                Sgd: momentum, dampening, weight_decay;
                RmsProp: alpha, eps, momentum, initial_accumulator, weight_decay;
                Adam: eps, weight_decay;
                NAdam: eps, weight_decay;
                Adamax: eps, weight_decay;
                Adagrad: eps, lr_decay, initial_accumulator, weight_decay;
                Lion: weight_decay;
            }
            for betas in [(bad, 0.9), (0.9, bad)] {
                message(Adam { betas, ..Adam::default() });
                message(NAdam { betas, ..NAdam::default() });
                message(Adamax { betas, ..Adamax::default() });
                message(Lion { betas, ..Lion::default() });
            }
            message(NAdam { momentum_decay: Some(bad), ..NAdam::default() });
        }
    }

    #[test]
    fn a_rule_without_bias_correction_has_no_epsilon_hat() {
        let eps_placement = EpsPlacement::Hat;
        let text = message(Adamax { eps_placement, ..Adamax::default() });
        assert_eq!(text, "adamax: eps_placement is hat, but must be outside or inside");
        message(Adagrad { eps_placement, ..Adagrad::default() });
    }

    #[test]
    fn nesterov_needs_momentum_and_no_dampening() {
        let nesterov = Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() };
        Rule::from(nesterov).validate().unwrap();
        assert!(message(Sgd { momentum: 0.0, ..nesterov }).contains("momentum is 0.0"));
        assert!(message(Sgd { dampening: 0.1, ..nesterov }).contains("dampening is 0.1"));
    }

    #[test]
    fn bytes_are_those_of_one_fused_pass() {
        assert_eq!(Rule::from(Sgd::default()).bytes_per_parameter(), 12);
        let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
        assert_eq!(Rule::from(momentum).bytes_per_parameter(), 20);
        assert_eq!(Rule::from(RmsProp::default()).bytes_per_parameter(), 20);
        assert_eq!(Rule::from(Adam::default()).bytes_per_parameter(), 28);
        let amsgrad = Adam { amsgrad: true, ..Adam::default() };
        assert_eq!(Rule::from(amsgrad).bytes_per_parameter(), 36);
        let both = RmsProp { centered: true, momentum: 0.9, ..RmsProp::default() };
        assert_eq!(Rule::from(both).bytes_per_parameter(), 36);
        assert_eq!(Rule::from(Lion::default()).bytes_per_parameter(), 20);
    }
}
