//! The option `--optimizer` and the hyper-parameters of the rules, shared by all commands.

use super::Failure;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use wgpu_optim::rule::{AmsgradOf, EpsPlacement};
use wgpu_optim::{Adagrad, Adam, Adamax, Lion, NAdam, RmsProp, Rule, Sgd};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Optimizer {
    Sgd,
    /// SGD with a momentum of 0.9
    Momentum,
    /// SGD with Nesterov momentum of 0.9
    Nesterov,
    Rmsprop,
    Adam,
    /// Adam with decoupled weight decay
    Adamw,
    /// Adam with the maximum of the second moments
    Amsgrad,
    Nadam,
    Adamax,
    Adagrad,
    Lion,
}

/// The library whose defaults apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    #[default]
    Torch,
    Optax,
    Keras,
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
    /// Learning rate [default: sgd, momentum, nesterov, adam, adamw and amsgrad 1e-3, rmsprop and adagrad 1e-2,
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

    /// Decays of the two moments (adam, adamw, amsgrad, nadam, adamax, lion) [default: 0.9,0.999, lion 0.9,0.99]
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
    /// Place of eps relative to the root (adam, adamw, amsgrad, rmsprop; adamax and adagrad without `hat`)
    /// [default: outside, adamax inside]
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

impl Optimizer {
    /// The optimizer's rule with the defaults of a preset.
    fn default_rule(self, preset: Preset) -> Rule {
        macro_rules! preset {
            ($rule:ident) => {
                match preset {
                    Preset::Torch => $rule::torch(),
                    Preset::Optax => $rule::optax(),
                    Preset::Keras => $rule::keras(),
                }
            };
        }
        match self {
            Optimizer::Sgd => preset!(Sgd).into(),
            // With the libraries' default of 0 this would be plain SGD.
            Optimizer::Momentum => Sgd { momentum: 0.9, ..preset!(Sgd) }.into(),
            Optimizer::Nesterov => Sgd { momentum: 0.9, nesterov: true, ..preset!(Sgd) }.into(),
            Optimizer::Rmsprop => preset!(RmsProp).into(),
            Optimizer::Adam => preset!(Adam).into(),
            Optimizer::Adamw => match preset {
                Preset::Torch => Adam::adamw().into(),
                // The defaults of optax.adamw and of keras.optimizers.AdamW.
                Preset::Optax => Adam { weight_decay: 1e-4, ..Adam::optax() }.into(),
                Preset::Keras => Adam { weight_decay: 4e-3, ..Adam::keras() }.into(),
            },
            Optimizer::Amsgrad => Adam { amsgrad: true, ..preset!(Adam) }.into(),
            Optimizer::Nadam => preset!(NAdam).into(),
            Optimizer::Adamax => preset!(Adamax).into(),
            Optimizer::Adagrad => preset!(Adagrad).into(),
            Optimizer::Lion => preset!(Lion).into(),
        }
    }
}

impl RuleArguments {
    /// Arguments with the defaults of a preset.
    pub fn of(preset: Preset) -> Self {
        RuleArguments { preset, ..Self::default() }
    }

    /// The given options that an optimizer has.
    pub fn used_by(&self, optimizer: Optimizer) -> Vec<&'static str> {
        let mut used = Vec::new();
        self.rule(optimizer, &mut used);
        used
    }

    /// The value of `--alpha`, which `fit` also uses for penalties.
    pub fn alpha_mut(&mut self) -> &mut Option<f64> {
        &mut self.alpha
    }

    /// The validated rules of the optimizers.
    pub fn rules(&self, optimizers: &[Optimizer]) -> Result<Vec<Rule>, Failure> {
        let mut used = Vec::new();
        let rules: Vec<Rule> = optimizers.iter().map(|&o| self.rule(o, &mut used)).collect();
        // An option that no optimizer uses is an error of the user.
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
    fn rule(&self, optimizer: Optimizer, used: &mut Vec<&'static str>) -> Rule {
        let mut rule = optimizer.default_rule(self.preset);
        macro_rules! set {
            ($($flag:ident: $($place:tt).+),+) => {{$(
                if let Some(value) = self.$flag {
                    $($place).+ = value;
                    used.push(stringify!($flag));
                }
            )+}};
        }
        macro_rules! set_all {
            // The fields of every rule, and the listed fields of this rule, named like their flags.
            ($rule:ident $(, $field:ident)*) => {
                set!(
                    lr: $rule.lr, weight_decay: $rule.weight_decay, maximize: $rule.maximize,
                    decoupled: $rule.decoupled_weight_decay $(, $field: $rule.$field)*
                )
            };
        }
        macro_rules! set_betas {
            ($rule:ident) => {
                set!(betas: $rule.betas, beta1: $rule.betas.0, beta2: $rule.betas.1)
            };
        }
        match &mut rule {
            Rule::Sgd(r) => set_all!(r, momentum, dampening, nesterov, lr_in_momentum),
            Rule::RmsProp(r) => {
                set_all!(r, alpha, eps, eps_placement, momentum, lr_in_momentum, centered);
                set!(
                    clamp_variance: r.clamp_variance, bias_correction: r.bias_correction,
                    initial_accumulator: r.initial_accumulator
                );
            }
            Rule::Adam(r) => {
                set_all!(r, eps, eps_placement, amsgrad, amsgrad_of);
                set_betas!(r);
            }
            Rule::NAdam(r) => {
                set_all!(r, eps);
                set_betas!(r);
                if let Some(MomentumDecay(decay)) = self.momentum_decay {
                    r.momentum_decay = decay;
                    used.push("momentum_decay");
                }
            }
            Rule::Adamax(r) => {
                set_all!(r, eps, eps_placement);
                set_betas!(r);
            }
            Rule::Adagrad(r) => set_all!(r, lr_decay, eps, eps_placement, initial_accumulator),
            Rule::Lion(r) => {
                set_all!(r);
                set_betas!(r);
            }
            _ => {}
        }
        rule
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

    #[derive(Parser)]
    struct Cli {
        #[arg(long = "optimizer", value_enum)]
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
    fn every_name_is_that_of_its_rule() {
        for preset in Preset::value_variants() {
            for optimizer in Optimizer::value_variants() {
                let rule = optimizer.default_rule(*preset);
                rule.validate().unwrap();
                assert_eq!(rule.name(), optimizer.to_possible_value().unwrap().get_name());
            }
        }
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
    fn options_of_a_preset_can_be_switched_off() {
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
