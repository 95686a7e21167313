//! The option `--optimizer` and the hyper-parameters of the rules, shared by all commands.

use super::Failure;
use clap::builder::{
    MapValueParser, PossibleValue, PossibleValuesParser, TypedValueParser, ValueParserFactory,
};
use clap::{Args, ValueEnum};
use wgpu_optim::Rule;
use wgpu_optim::rule::{self, AmsgradOf, EpsPlacement, NamedRule};

/// An optimizer by its name.
#[derive(Clone, Copy, Debug)]
pub struct Optimizer(&'static NamedRule);

impl Optimizer {
    /// Every optimizer, in the order of the library.
    pub fn all() -> impl Iterator<Item = Self> {
        Rule::names().map(Optimizer)
    }

    /// The optimizer of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|optimizer| optimizer.name() == name)
    }

    pub fn name(self) -> &'static str {
        self.0.name
    }
}

/// Equal by name.
impl PartialEq for Optimizer {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl ValueParserFactory for Optimizer {
    type Parser = MapValueParser<PossibleValuesParser, fn(String) -> Optimizer>;

    fn value_parser() -> Self::Parser {
        let possible = Self::all().map(|Optimizer(named)| match named.summary {
            "" => PossibleValue::new(named.name),
            summary => PossibleValue::new(named.name).help(summary),
        });
        PossibleValuesParser::new(possible).map(|name| Self::named(&name).expect("a possible value"))
    }
}

/// The library whose defaults apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    #[default]
    Torch,
    Optax,
    Keras,
}

impl From<Preset> for rule::Preset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Torch => rule::Preset::Torch,
            Preset::Optax => rule::Preset::Optax,
            Preset::Keras => rule::Preset::Keras,
        }
    }
}

/// NAdam's momentum decay; without one, muₜ is beta1 from the first step on. A newtype because clap gives
/// `Option<Option<_>>` another meaning.
#[derive(Clone, Copy, Debug)]
pub struct MomentumDecay(Option<f64>);

/// Hyper-parameters. Each applies to every optimizer that has it. Switches accept `=true` and `=false`, so that an
/// option of a preset can be switched off.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Hyper-parameters (default: PyTorch's)")]
pub struct RuleArguments {
    /// Library whose defaults apply to the hyper-parameters
    #[arg(long, value_enum, default_value_t, value_name = "LIBRARY")]
    preset: Preset,
    /// Learning rate [default: sgd, momentum, nesterov, adam, adamw, amsgrad and radam 1e-3, rmsprop and adagrad 1e-2,
    /// nadam and adamax 2e-3, lion 1e-4]
    #[arg(long, value_name = "LR", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Weight decay [default: adamw 1e-2, others 0]
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// Decouple the weight decay from the gradient [default: adamw and lion true, others false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    decoupled: Option<bool>,
    /// Maximize instead of minimizing [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    maximize: Option<bool>,

    /// Decay of the momentum buffer (sgd, momentum, nesterov, rmsprop) [default: momentum and nesterov
    /// 0.9, others 0, no momentum]
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub momentum: Option<f64>,
    /// Dampening: the gradient enters the momentum buffer times 1 − D (sgd, momentum) [default: 0]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    dampening: Option<f64>,
    /// Use Nesterov momentum (sgd, momentum) [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    nesterov: Option<bool>,
    /// Multiply by lr before the momentum buffer, as Keras does (sgd, momentum, nesterov, rmsprop)
    /// [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    lr_in_momentum: Option<bool>,

    /// Decays of the two moments (adam, adamw, amsgrad, nadam, radam, adamax, lion) [default: 0.9,0.999, lion 0.9,0.99]
    #[arg(long, value_name = "B1,B2", value_parser = betas, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["beta1", "beta2"])]
    betas: Option<(f64, f64)>,
    /// Decay of the first moment alone [default: as --betas]
    #[arg(long, value_name = "B1", allow_negative_numbers = true)]
    pub beta1: Option<f64>,
    /// Decay of the second moment alone [default: as --betas]
    #[arg(long, value_name = "B2", allow_negative_numbers = true)]
    pub beta2: Option<f64>,
    /// Constant added to the denominator (all but sgd and lion) [default: 1e-8, adagrad 1e-10]
    #[arg(long, value_name = "EPS", allow_negative_numbers = true)]
    pub eps: Option<f64>,
    /// Place of eps relative to the root (adam, adamw, amsgrad, rmsprop; adamax and adagrad without `hat`, radam
    /// without `inside`) [default: outside, adamax inside, radam hat]
    #[arg(long, value_name = "PLACE", value_parser = eps_placements())]
    eps_placement: Option<EpsPlacement>,
    /// Use the AMSGrad variant: divide by the root of the largest second moment so far (adam, adamw) [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    amsgrad: Option<bool>,
    /// Second moment whose maximum AMSGrad takes (adam, adamw) [default: raw]
    #[arg(long, value_name = "MOMENT", value_parser = amsgrads())]
    amsgrad_of: Option<AmsgradOf>,
    /// Momentum decay: how fast the momentum rises to beta1, or `none` for a constant beta1 (nadam) [default: 4e-3]
    #[arg(long, value_name = "D", value_parser = momentum_decay, allow_hyphen_values = true)]
    momentum_decay: Option<MomentumDecay>,

    /// Decay of the average of squared gradients (rmsprop) [default: 0.99]
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    pub alpha: Option<f64>,
    /// Use the centered variant: divide by the root of the variance (rmsprop) [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    centered: Option<bool>,
    /// Clamp a variance that rounding made negative to 0, unlike PyTorch (rmsprop) [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    clamp_variance: Option<bool>,
    /// Divide the averages by 1 − alphaᵗ (rmsprop) [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    bias_correction: Option<bool>,
    /// Initial average or sum of squared gradients (rmsprop, adagrad) [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    initial_accumulator: Option<f64>,
    /// Decay of the learning rate: lr / (1 + (t − 1) · D) (adagrad) [default: 0]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    lr_decay: Option<f64>,
}

/// The hyper-parameter of this name, if the rule has it.
fn field<'a, T: 'static>(rule: &'a mut Rule, name: &str) -> Option<&'a mut T> {
    rule.hyper_parameter_mut(name).map(|field| field.downcast_mut().expect("the type of its option"))
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|error| format!("`{text}`: {error}"))
}

fn betas(text: &str) -> Result<(f64, f64), String> {
    match text.split_once(',') {
        Some((first, second)) => Ok((number(first)?, number(second)?)),
        None => Err("must be two numbers, as in 0.9,0.999".into()),
    }
}

fn momentum_decay(text: &str) -> Result<MomentumDecay, String> {
    Ok(MomentumDecay(if text == "none" { None } else { Some(number(text)?) }))
}

fn eps_placements() -> impl TypedValueParser<Value = EpsPlacement> {
    PossibleValuesParser::new(["outside", "inside", "hat"]).map(|name| match &name[..] {
        "inside" => EpsPlacement::Inside,
        "hat" => EpsPlacement::Hat,
        _ => EpsPlacement::Outside,
    })
}

fn amsgrads() -> impl TypedValueParser<Value = AmsgradOf> {
    PossibleValuesParser::new(["raw", "corrected"])
        .map(|name| if name == "corrected" { AmsgradOf::Corrected } else { AmsgradOf::Raw })
}

impl RuleArguments {
    /// Arguments with the defaults of a preset.
    pub fn of(preset: Preset) -> Self {
        RuleArguments { preset, ..Self::default() }
    }

    /// The given options that an optimizer has.
    pub fn used_by(&self, optimizer: Optimizer) -> Vec<&'static str> {
        let mut used = Vec::new();
        let mut rule =
            optimizer.0.preset(rule::Preset::Torch).expect("every optimizer has PyTorch's defaults");
        self.set(&mut rule, &mut used);
        used
    }

    /// The value of `--alpha`, which `fit` also uses for penalties.
    pub fn alpha_mut(&mut self) -> &mut Option<f64> {
        &mut self.alpha
    }

    /// The validated rules of the optimizers.
    pub fn rules(&self, optimizers: &[Optimizer]) -> Result<Vec<Rule>, Failure> {
        let mut used = Vec::new();
        let rules: Vec<Rule> =
            optimizers.iter().map(|&o| self.rule(o, &mut used)).collect::<Result<_, _>>()?;
        // A hyper-parameter that nothing uses is a mistake of the user's that must not pass in silence.
        if let Some(flag) = self.given().into_iter().find(|flag| !used.contains(flag)) {
            let flag = flag.replace('_', "-");
            let message = format!("--{flag} is not a hyper-parameter of any selected optimizer");
            return Err(Failure::Input(message));
        }
        for rule in &rules {
            rule.validate()?;
        }
        Ok(rules)
    }

    /// The rule with the given hyper-parameters, whose names are added to `used`.
    fn rule(&self, optimizer: Optimizer, used: &mut Vec<&'static str>) -> Result<Rule, Failure> {
        let Some(mut rule) = optimizer.0.preset(self.preset.into()) else {
            let preset = self.preset.to_possible_value().expect("no preset is hidden");
            let (name, preset) = (optimizer.name(), preset.get_name());
            let message =
                format!("--preset {preset} has no defaults for {name}: that library does not have it");
            return Err(Failure::Input(message));
        };
        self.set(&mut rule, used);
        Ok(rule)
    }

    /// Sets the given hyper-parameters that the rule has, and adds their names to `used`.
    fn set(&self, rule: &mut Rule, used: &mut Vec<&'static str>) {
        macro_rules! set {
            ($($flag:ident)+) => {$(set!($flag: stringify!($flag));)+};
            ($flag:ident: $field:expr) => {
                if let (Some(value), Some(field)) = (self.$flag, field(rule, $field)) {
                    *field = value;
                    used.push(stringify!($flag));
                }
            };
        }
        set!(
            lr weight_decay maximize momentum dampening nesterov lr_in_momentum betas eps eps_placement
            amsgrad amsgrad_of alpha centered clamp_variance bias_correction initial_accumulator lr_decay
        );
        set!(decoupled: "decoupled_weight_decay");
        if let (Some(beta1), Some(betas)) = (self.beta1, field::<(f64, f64)>(rule, "betas")) {
            betas.0 = beta1;
            used.push("beta1");
        }
        if let (Some(beta2), Some(betas)) = (self.beta2, field::<(f64, f64)>(rule, "betas")) {
            betas.1 = beta2;
            used.push("beta2");
        }
        if let (Some(MomentumDecay(decay)), Some(field)) =
            (self.momentum_decay, field(rule, "momentum_decay"))
        {
            *field = decay;
            used.push("momentum_decay");
        }
    }

    /// The names of the given options.
    fn given(&self) -> Vec<&'static str> {
        macro_rules! given {
            ($($flag:ident)+) => {{
                // The pattern does not compile if an option is missing.
                let RuleArguments { preset: _, $($flag),+ } = self;
                let all = [$((stringify!($flag), $flag.is_some())),+];
                all.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
            }};
        }
        given!(
            lr weight_decay decoupled maximize momentum dampening nesterov lr_in_momentum betas beta1 beta2
            eps eps_placement amsgrad amsgrad_of momentum_decay alpha centered clamp_variance bias_correction
            initial_accumulator lr_decay
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use wgpu_optim::{Adam, Adamax, Lion, NAdam, RAdam, RmsProp, Sgd};

    #[derive(Parser)]
    struct Cli {
        #[arg(long = "optimizer")]
        optimizers: Vec<Optimizer>,
        #[command(flatten)]
        rule: RuleArguments,
    }

    fn rules(arguments: &str) -> Result<Vec<Rule>, Failure> {
        let arguments = std::iter::once("test").chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(arguments).map_err(|error| Failure::Input(error.to_string()))?;
        cli.rule.rules(&cli.optimizers)
    }

    #[track_caller]
    fn assert_rule(arguments: &str, expected: impl Into<Rule>) {
        assert_eq!(rules(arguments).unwrap(), [expected.into()], "{arguments}");
    }

    #[test]
    fn a_preset_that_has_no_such_optimizer_is_refused() {
        assert_rule("--optimizer radam --preset optax", RAdam::optax());
        let Err(Failure::Input(message)) = rules("--optimizer radam --preset keras") else { panic!() };
        assert!(message.contains("keras has no defaults for radam"), "{message}");
    }

    #[test]
    fn presets_give_the_defaults() {
        assert_rule("--optimizer rmsprop", RmsProp::torch());
        assert_rule("--optimizer rmsprop --preset optax", RmsProp::optax());
        assert_rule("--optimizer sgd --preset keras", Sgd::keras());
        assert_rule("--optimizer adamw", Adam::adamw());
    }

    #[test]
    fn sgd_with_momentum_is_pytorchs() {
        let expected = Sgd { momentum: 0.9, nesterov: true, ..Sgd::torch() };
        assert_rule("--optimizer sgd --momentum 0.9 --nesterov", expected);
        assert_rule("--optimizer nesterov", expected);
        let dampening = 0.5;
        let expected = Sgd { momentum: 0.9, dampening, ..Sgd::torch() };
        assert_rule("--optimizer momentum --dampening 0.5", expected);
    }

    #[test]
    fn adam_with_decoupled_weight_decay_is_adamw() {
        assert_rule("--optimizer adam --decoupled --weight-decay 0.01", Adam::adamw());
    }

    #[test]
    fn what_a_preset_switches_on_can_be_switched_off() {
        let expected = Lion { decoupled_weight_decay: false, ..Lion::default() };
        assert_rule("--optimizer lion --decoupled=false", expected);
        let expected = Adam { eps_placement: EpsPlacement::Outside, ..Adam::keras() };
        assert_rule("--optimizer adam --preset keras --eps-placement outside", expected);
        let expected = NAdam { momentum_decay: None, ..NAdam::keras() };
        assert_rule("--optimizer nadam --preset keras --momentum-decay none", expected);
        let expected = RmsProp { centered: true, clamp_variance: false, ..RmsProp::torch() };
        assert_rule("--optimizer rmsprop --centered --clamp-variance=false", expected);
    }

    #[test]
    fn one_beta_leaves_the_other() {
        let expected = Adamax { betas: (0.9, 0.5), ..Adamax::torch() };
        assert_rule("--optimizer adamax --beta2 0.5", expected);
        assert_rule("--optimizer adamax --betas 0.9,0.5", expected);
        rules("--optimizer adamax --betas 0.9,0.5 --beta1 0.5").unwrap_err();
        rules("--optimizer adamax --betas 0.9").unwrap_err();
        rules("--optimizer adamax --betas 0.9,x").unwrap_err();
    }

    #[test]
    fn a_hyper_parameter_that_nothing_uses_is_refused() {
        rules("--optimizer rmsprop --optimizer adam --alpha 0.9").unwrap();
        for (optimizer, flag) in [
            ("adam", "--alpha 0.9"),
            ("adam", "--momentum 0.9"),
            ("sgd", "--eps 1e-3"),
            ("lion", "--eps 1e-3"),
            ("nadam", "--eps-placement inside"),
            ("rmsprop", "--betas 0,0"),
            ("adagrad", "--amsgrad"),
        ] {
            let Err(Failure::Input(message)) = rules(&format!("--optimizer {optimizer} {flag}")) else {
                panic!("{optimizer} {flag}");
            };
            assert!(message.contains(flag.split(' ').next().unwrap()), "{message}");
        }
    }
}
