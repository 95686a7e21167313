use super::{
    EpsPlacement, NamedRule, Preset, Rule, RuleShader, TermInput, UpdateRule, fields, rule_shader,
};
use crate::Error;
use crate::check::Check;
use crate::wgsl::flag;

/// RMSprop, as `torch.optim.RMSprop`, and as optax and Keras have it.
///
/// ```text
/// square_avg ← alpha · square_avg + (1 − alpha) · g²
/// centered:  grad_avg ← alpha · grad_avg + (1 − alpha) · g
/// v = square_avg − grad_avg², at least 0      (square_avg where not centered)
/// d = g / (√v + eps)
/// momentum:  momentum_buffer ← momentum · momentum_buffer + d
/// p ← p − lr · momentum_buffer                (lr · d without momentum)
/// ```
///
/// PyTorch does not clamp the variance, and takes the root of a negative number where rounding makes it
/// one; `clamp_variance` is on unless it is turned off. Source: Hinton, *Neural Networks for Machine
/// Learning*, lecture 6e; centered: Graves 2013. Form and defaults: PyTorch 2.15; [`Rule`](crate::Rule) describes `maximize` and
/// the weight decays.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[doc(alias = "RMSprop")]
pub struct RmsProp {
    /// Learning rate, ≥ 0. Default 1e-2.
    pub lr: f64,
    /// Decay of the averages, in [0, 1). Default 0.99.
    pub alpha: f64,
    /// Added to the root, > 0 and a normal f32. Default 1e-8. Below 1e-12 a device that flushes
    /// subnormal squares to zero takes visibly other steps where gradients are tiny.
    pub eps: f64,
    /// Where eps is added: outside the root in PyTorch, inside in optax and Keras. Epsilon-hat
    /// requires `bias_correction`.
    pub eps_placement: EpsPlacement,
    /// Decay of the momentum buffer, in [0, 1). Default 0: no momentum.
    pub momentum: f64,
    /// Whether the momentum buffer holds steps already multiplied by lr, as in optax and Keras.
    /// Default false.
    pub lr_in_momentum: bool,
    /// Divides by the root of the variance instead of the second moment. Default false.
    pub centered: bool,
    /// Whether a variance that rounding made negative counts as 0. Default true.
    pub clamp_variance: bool,
    /// Initial value of `square_avg`, ≥ 0: 1 in TensorFlow 1. Default 0.
    pub initial_accumulator: f64,
    /// Whether the averages are divided by 1 − alphaᵗ, as optax does on request. Default false.
    pub bias_correction: bool,
    /// Weight decay, ≥ 0. Default 0.
    pub weight_decay: f64,
    /// Whether the weight decay is decoupled from the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascends instead of descending. Default false.
    pub maximize: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            eps_placement: EpsPlacement::Outside,
            momentum: 0.0,
            lr_in_momentum: false,
            centered: false,
            clamp_variance: true,
            initial_accumulator: 0.0,
            bias_correction: false,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl RmsProp {
    /// The defaults of `torch.optim.RMSprop`, 2.15, but for the clamped variance.
    pub fn torch() -> Self {
        Self::default()
    }

    /// As `optax.rmsprop`, 0.2.8, which asks for lr, but for the clamped variance: alpha 0.9, eps inside the
    /// root, lr inside the buffer.
    pub fn optax() -> Self {
        let eps_placement = EpsPlacement::Inside;
        RmsProp { alpha: 0.9, eps_placement, lr_in_momentum: true, ..Self::default() }
    }

    /// The defaults of `keras.optimizers.RMSprop`, 3.15, but for the clamped variance: lr 1e-3, alpha 0.9, eps 1e-7 inside the root, lr
    /// inside the buffer, decoupled weight decay.
    pub fn keras() -> Self {
        RmsProp { lr: 1e-3, eps: 1e-7, decoupled_weight_decay: true, ..Self::optax() }
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

fields!(RmsProp: lr alpha eps eps_placement centered clamp_variance bias_correction momentum lr_in_momentum
    initial_accumulator weight_decay decoupled_weight_decay maximize);

impl UpdateRule for RmsProp {
    const NAMES: &'static [NamedRule] = &[NamedRule {
        name: "rmsprop",
        summary: "",
        preset: |preset| Some(RmsProp::preset(preset).into()),
    }];

    fn variants() -> Vec<(&'static str, Rule)> {
        let rmsprop = RmsProp { lr: 0.01, alpha: 0.95, eps: 1e-6, ..RmsProp::default() };
        let centered = RmsProp { centered: true, ..rmsprop };
        let both = RmsProp { momentum: 0.9, ..centered };
        let weight_decay = 0.1;
        let (maximize, decoupled_weight_decay) = (true, true);
        vec![
            ("rmsprop", rmsprop.into()),
            (
                "rmsprop, bias correction, weight decay, maximize",
                RmsProp { bias_correction: true, weight_decay, maximize, ..rmsprop }.into(),
            ),
            (
                "rmsprop of optax, momentum, decoupled decay",
                RmsProp {
                    initial_accumulator: 1.0,
                    momentum: 0.5,
                    weight_decay,
                    decoupled_weight_decay,
                    ..RmsProp::optax()
                }
                .into(),
            ),
            ("rmsprop, centered", centered.into()),
            (
                "rmsprop, centered, eps inside, unclamped, weight decay",
                RmsProp {
                    clamp_variance: false,
                    eps_placement: EpsPlacement::Inside,
                    eps: 0.1,
                    weight_decay,
                    ..centered
                }
                .into(),
            ),
            ("rmsprop, centered, momentum", both.into()),
            (
                "rmsprop, centered, lr in momentum, decoupled decay, maximize",
                RmsProp { lr_in_momentum: true, weight_decay, decoupled_weight_decay, maximize, ..both }
                    .into(),
            ),
        ]
    }

    fn name(&self) -> &'static str {
        "rmsprop"
    }

    fn moments(&self) -> &'static [&'static str] {
        match (self.centered, self.momentum != 0.0) {
            (false, false) => &["square_avg"],
            (true, false) => &["square_avg", "grad_avg"],
            (false, true) => &["square_avg", "momentum_buffer"],
            (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
        }
    }

    fn shader(&self) -> RuleShader {
        rule_shader!("rmsprop")
    }

    fn overrides(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("MOMENTUM_BUFFER", if self.centered { 2.0 } else { 1.0 }),
            flag("CENTERED", self.centered),
            flag("CLAMP_VARIANCE", self.clamp_variance),
            flag("MOMENTUM", self.momentum != 0.0),
            flag("LR_IN_MOMENTUM", self.lr_in_momentum),
            flag("BIAS_CORRECTION", self.bias_correction),
            flag("EPS_INSIDE", self.eps_placement == EpsPlacement::Inside),
            flag("INITIAL_ACCUMULATOR", self.initial_accumulator != 0.0),
        ]
    }

    fn bias_corrected_betas(&self) -> (f64, f64) {
        if self.bias_correction { (0.0, self.alpha) } else { (0.0, 0.0) }
    }

    fn eps(&self) -> (f64, EpsPlacement) {
        (self.eps, self.eps_placement)
    }

    fn validate(&self) -> Result<(), Error> {
        let check = Check("rmsprop");
        check.lr("lr", self.lr)?;
        check.decay("alpha", self.alpha)?;
        check.eps(self.eps)?;
        if !self.bias_correction {
            check.no_hat(self.eps_placement)?;
        }
        check.decay("momentum", self.momentum)?;
        check.not_negative("initial_accumulator", self.initial_accumulator)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn terms(&self) -> Vec<(&'static str, TermInput)> {
        let mut terms = vec![("alpha", TermInput::Moment("square_avg"))];
        terms.extend(self.centered.then_some(("centered", TermInput::Moment("grad_avg"))));
        let momentum = ("momentum", TermInput::Moment("momentum_buffer"));
        terms.extend((self.momentum != 0.0).then_some(momentum));
        terms
    }
}
