//! Update rules as plain data: hyper-parameters with PyTorch's names and defaults, and their checks.
//!
//! A rule is three files of one name: this folder has the hyper-parameters, [`cpu`](crate::cpu) the definition, and
//! `shaders/update/` the kernel. One line of `registry.rs` lists it.

mod conditioning;
mod difference;
mod fields;
mod penalty;
mod registry;

registry::for_all_rules!([registry::declare_modules]);

pub use adam::AmsgradOf;
pub use conditioning::{ClipNorm, Conditioning};
pub use penalty::Penalty;
pub use registry::*;

pub(crate) use fields::{Fields, fields};
pub(crate) use registry::{declare_modules, for_all_rules, match_rule, with_rule};

use crate::Error;

/// Where a rule adds eps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EpsPlacement {
    /// `√v̂ + eps`: PyTorch, optax's adam.
    #[default]
    Outside,
    /// `√(v̂ + eps)`: optax's and Keras's RMSprop.
    Inside,
    /// `√v̂ + eps / √(1 − beta2ᵗ)`, which is `√v + eps` before bias correction: Keras's Adam, PyTorch's RAdam, and
    /// the paper's epsilon-hat.
    Hat,
}

/// The library whose defaults a rule takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// PyTorch 2.15.
    #[default]
    Torch,
    /// optax 0.2.8, which has no default learning rate: the one of its examples.
    Optax,
    /// Keras 3.15.
    Keras,
}

/// An optimizer under the name that users know it by: a rule, with the settings that make it that optimizer.
#[derive(Clone, Copy, Debug)]
pub struct NamedRule {
    /// The name, that of [`Rule::name`].
    pub name: &'static str,
    /// How it differs from the rule that it is a variant of; empty for the rule itself.
    pub summary: &'static str,
    preset: fn(Preset) -> Option<Rule>,
}

impl NamedRule {
    /// The rule with the defaults of a library, or `None` where that library does not have it.
    pub fn preset(&self, preset: Preset) -> Option<Rule> {
        (self.preset)(preset)
    }
}

/// The terms that every rule shares; see [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CommonTerms {
    /// Whether the rule ascends.
    pub maximize: bool,
    /// Weight decay that is added to the gradient; 0 for none.
    pub coupled: f64,
    /// Weight decay that is subtracted from the parameter; 0 for none.
    pub decoupled: f64,
}

/// How the constants of a step follow from its number t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StepForm {
    /// `lr / (1 − beta1ᵗ)`.
    Plain,
    /// NAdam's two factors, with its momentum decay.
    NAdam(Option<f64>),
    /// `Plain`, times the rectification where ρₜ > 5.
    RAdam,
}

/// An input of a term of the update: where it is zero, an error in the term does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "regression"), expect(dead_code))]
pub(crate) enum TermInput {
    Gradient,
    LearningRate,
    Params,
    /// A moment of the rule, before the update.
    Moment(&'static str),
    /// An update after the first one, which is a special case.
    LaterUpdate,
}

/// The kernel of a rule: a file of `shaders/update/`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleShader {
    /// The name of the file, without its suffix.
    pub name: &'static str,
    pub source: &'static str,
}

/// A file of `shaders/update/` by its name.
macro_rules! rule_shader {
    ($name:literal) => {
        $crate::rule::RuleShader {
            name: $name,
            source: $crate::wgsl::shader_file!(concat!("update/", $name, ".wgsl")),
        }
    };
}
pub(crate) use rule_shader;

/// The description of a rule, by which everything else handles it: kernels, step state, state files, verification and
/// the command. The definition is [`cpu::Definition`](crate::cpu::Definition).
pub(crate) trait UpdateRule: Fields {
    /// The optimizers that this rule is, plain one first.
    const NAMES: &'static [NamedRule];

    /// Every path through the kernel, by name; the plain one first. Both kinds of weight decay meet maximization, and
    /// every other option that changes the sign or the place of a term.
    fn variants() -> Vec<(&'static str, Rule)>
    where
        Self: Sized;

    /// The name of the algorithm, one of [`NAMES`](Self::NAMES).
    fn name(&self) -> &'static str;

    /// PyTorch's names of the state of each parameter, in the order of storage.
    fn moments(&self) -> &'static [&'static str];

    /// The file of the kernel.
    fn shader(&self) -> RuleShader;

    /// The overrides of that file.
    fn overrides(&self) -> Vec<(&'static str, f64)> {
        vec![]
    }

    /// Checks every hyper-parameter.
    fn validate(&self) -> Result<(), Error>;

    /// The decays whose powers correct the bias of the moments; 0 where nothing is corrected.
    fn bias_corrected_betas(&self) -> (f64, f64) {
        (0.0, 0.0)
    }

    /// eps, and where it is added.
    fn eps(&self) -> (f64, EpsPlacement) {
        (0.0, EpsPlacement::Outside)
    }

    /// The eps that is added inside the root, or 0.
    fn eps_inside(&self) -> f64 {
        match self.eps() {
            (eps, EpsPlacement::Inside) => eps,
            (_, EpsPlacement::Outside | EpsPlacement::Hat) => 0.0,
        }
    }

    /// How fast the learning rate falls with the steps of a tensor; 0 for not at all.
    fn lr_decay(&self) -> f64 {
        0.0
    }

    /// How the constants of a step follow from its number.
    fn step_form(&self) -> StepForm {
        StepForm::Plain
    }

    /// The terms of the rule's own formula by PyTorch's names, each with the input without which it does not show.
    /// Those that all rules share are added elsewhere: lr, bias_correction, weight_decay, maximize.
    #[cfg_attr(not(feature = "regression"), expect(dead_code))]
    fn terms(&self) -> Vec<(&'static str, TermInput)>;
}

impl Rule {
    /// Every optimizer by its name: `sgd`, `momentum`, `nesterov`, `rmsprop`, `adam`, `adamw`, `amsgrad` …
    pub fn names() -> impl Iterator<Item = &'static NamedRule> {
        registry::NAMES.iter().copied().flatten()
    }

    /// The name of the algorithm, one of [`names`](Self::names).
    pub fn name(&self) -> &'static str {
        with_rule!(self, rule => rule.name())
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        with_rule!(self, rule => rule.lr)
    }

    /// The same rule with another learning rate.
    pub fn with_lr(mut self, lr: f64) -> Self {
        with_rule!(&mut self, rule => rule.lr = lr);
        self
    }

    /// The same rule, descending.
    #[cfg(feature = "verify")]
    pub(crate) fn minimizing(mut self) -> Self {
        with_rule!(&mut self, rule => rule.maximize = false);
        self
    }

    /// The names of the hyper-parameters, which are those of the fields.
    pub fn hyper_parameters(&self) -> &'static [&'static str] {
        with_rule!(self, rule => rule.names())
    }

    /// The hyper-parameter of this name, if the rule has it: an `f64`, a `bool`, `betas` as a pair of `f64`, or an
    /// option of its own type.
    pub fn hyper_parameter(&self, name: &str) -> Option<&dyn std::any::Any> {
        with_rule!(self, rule => rule.field(name))
    }

    /// [`hyper_parameter`](Self::hyper_parameter), to be set. [`validate`](Self::validate) checks the value.
    pub fn hyper_parameter_mut(&mut self, name: &str) -> Option<&mut dyn std::any::Any> {
        with_rule!(self, rule => rule.field_mut(name))
    }

    /// PyTorch's names of the state that the rule keeps for every parameter, in the order of storage.
    pub fn moments(&self) -> &'static [&'static str] {
        with_rule!(self, rule => rule.moments())
    }

    /// Bytes that one step must move for each f32 parameter: the gradient read once, the parameter
    /// and every moment read once and written once.
    pub fn bytes_per_parameter(&self) -> u64 {
        4 + 8 * (1 + self.moments().len() as u64)
    }

    /// The terms that every rule shares.
    pub fn common_terms(&self) -> CommonTerms {
        with_rule!(self, rule => {
            let (coupled, decoupled) = match rule.decoupled_weight_decay {
                false => (rule.weight_decay, 0.0),
                true => (0.0, rule.weight_decay),
            };
            CommonTerms { maximize: rule.maximize, coupled, decoupled }
        })
    }

    /// The decay rates whose powers correct the moments' bias; zero where the rule corrects nothing.
    pub fn bias_corrected_betas(&self) -> (f64, f64) {
        with_rule!(self, rule => rule.bias_corrected_betas())
    }

    /// The eps that is added outside the root, or 0.
    pub(crate) fn eps_outside(&self) -> f64 {
        match with_rule!(self, rule => rule.eps()) {
            (_, EpsPlacement::Inside) => 0.0,
            (eps, EpsPlacement::Outside | EpsPlacement::Hat) => eps,
        }
    }

    /// Whether eps is multiplied by the root of the second bias correction's inverse.
    pub(crate) fn eps_is_hat(&self) -> bool {
        with_rule!(self, rule => rule.eps().1 == EpsPlacement::Hat)
    }

    pub(crate) fn lr_decay(&self) -> f64 {
        with_rule!(self, rule => rule.lr_decay())
    }

    pub(crate) fn step_form(&self) -> StepForm {
        with_rule!(self, rule => rule.step_form())
    }

    pub(crate) fn shader(&self) -> RuleShader {
        with_rule!(self, rule => rule.shader())
    }

    pub(crate) fn overrides(&self) -> Vec<(&'static str, f64)> {
        with_rule!(self, rule => rule.overrides())
    }

    #[cfg(feature = "regression")]
    pub(crate) fn terms(&self) -> Vec<(&'static str, TermInput)> {
        with_rule!(self, rule => rule.terms())
    }

    /// Checks every hyper-parameter.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range;
    /// [`Error::Option`] for a place of eps that the rule does not have.
    pub fn validate(&self) -> Result<(), Error> {
        with_rule!(self, rule => rule.validate())
    }
}

#[cfg(test)]
mod tests;
