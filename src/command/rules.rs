//! `--optimizer` and the hyper-parameters of the rules.

use super::Failure;
use clap::{Args, ValueEnum};
use wgpu_optim::{Adam, RmsProp, Rule, Sgd};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Optimizer {
    Sgd,
    Momentum,
    Nesterov,
    Rmsprop,
    Adam,
}

/// Hyper-parameters; each stands for every optimizer that has it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Hyper-parameters (default: PyTorch's)")]
pub struct RuleArguments {
    /// Learning rate [default: sgd, momentum, nesterov and adam 1e-3, rmsprop 1e-2]
    #[arg(long, value_name = "LR", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Decay of the momentum buffer (momentum, nesterov) [default: 0.9]
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Share of the gradient kept out of the momentum buffer (momentum) [default: 0]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    dampening: Option<f64>,
    /// Decay of the squared gradient's average (rmsprop) [default: 0.99]
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// Decay of the two moments (adam) [default: 0.9,0.999]
    #[arg(long, value_name = "B1,B2", value_parser = betas, allow_hyphen_values = true)]
    betas: Option<(f64, f64)>,
    /// Added to the root (rmsprop, adam) [default: 1e-8]
    #[arg(long, value_name = "EPS", allow_negative_numbers = true)]
    eps: Option<f64>,
}

fn betas(text: &str) -> Result<(f64, f64), String> {
    let number = |text: &str| text.trim().parse::<f64>().map_err(|e| format!("`{text}`: {e}"));
    match text.split_once(',') {
        Some((first, second)) => Ok((number(first)?, number(second)?)),
        None => Err("two numbers are needed, as in 0.9,0.999".into()),
    }
}

impl RuleArguments {
    /// The rules of the optimizers asked for, valid.
    pub fn rules(&self, optimizers: &[Optimizer]) -> Result<Vec<Rule>, Failure> {
        self.check_each_is_used(optimizers)?;
        let rule = |&optimizer: &Optimizer| {
            let rule = self.rule(optimizer);
            rule.validate()?;
            Ok(rule)
        };
        optimizers.iter().map(rule).collect()
    }

    fn rule(&self, optimizer: Optimizer) -> Rule {
        let sgd = Sgd { lr: self.lr.unwrap_or(Sgd::default().lr), ..Sgd::default() };
        // PyTorch's default of 0 would be plain SGD.
        let momentum = self.momentum.unwrap_or(0.9);
        match optimizer {
            Optimizer::Sgd => sgd.into(),
            Optimizer::Momentum => {
                Sgd { momentum, dampening: self.dampening.unwrap_or(0.0), ..sgd }.into()
            }
            Optimizer::Nesterov => Sgd { momentum, nesterov: true, ..sgd }.into(),
            Optimizer::Rmsprop => {
                let default = RmsProp::default();
                RmsProp {
                    lr: self.lr.unwrap_or(default.lr),
                    alpha: self.alpha.unwrap_or(default.alpha),
                    eps: self.eps.unwrap_or(default.eps),
                    ..default
                }
                .into()
            }
            Optimizer::Adam => {
                let default = Adam::default();
                Adam {
                    lr: self.lr.unwrap_or(default.lr),
                    betas: self.betas.unwrap_or(default.betas),
                    eps: self.eps.unwrap_or(default.eps),
                    ..default
                }
                .into()
            }
        }
    }

    /// A hyper-parameter that nothing uses is a mistake of the user's that must not pass in silence.
    fn check_each_is_used(&self, optimizers: &[Optimizer]) -> Result<(), Failure> {
        use Optimizer::{Adam, Momentum, Nesterov, Rmsprop};
        let given: [(&str, bool, &[Optimizer]); 5] = [
            ("--momentum", self.momentum.is_some(), &[Momentum, Nesterov]),
            ("--dampening", self.dampening.is_some(), &[Momentum]),
            ("--alpha", self.alpha.is_some(), &[Rmsprop]),
            ("--betas", self.betas.is_some(), &[Adam]),
            ("--eps", self.eps.is_some(), &[Rmsprop, Adam]),
        ];
        for (flag, is_given, users) in given {
            if is_given && !optimizers.iter().any(|optimizer| users.contains(optimizer)) {
                let message = format!("{flag} is a hyper-parameter of none of the optimizers chosen");
                return Err(Failure::Input(message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: RuleArguments =
        RuleArguments { lr: None, momentum: None, dampening: None, alpha: None, betas: None, eps: None };

    #[test]
    fn defaults_are_pytorchs() {
        let rules = NONE.rules(&[Optimizer::Rmsprop, Optimizer::Adam, Optimizer::Sgd]).unwrap();
        assert_eq!(rules, [RmsProp::default().into(), Adam::default().into(), Sgd::default().into()]);
    }

    #[test]
    fn every_name_is_that_of_its_rule() {
        for optimizer in Optimizer::value_variants() {
            let rule = NONE.rule(*optimizer);
            assert_eq!(rule.name(), optimizer.to_possible_value().unwrap().get_name());
        }
    }

    #[test]
    fn a_hyper_parameter_that_nothing_uses_is_refused() {
        let arguments = RuleArguments { alpha: Some(0.9), ..NONE };
        arguments.rules(&[Optimizer::Rmsprop, Optimizer::Adam]).unwrap();
        arguments.rules(&[Optimizer::Adam]).unwrap_err();
    }

    #[test]
    fn betas_are_two_numbers() {
        assert_eq!(betas("0.9, 0.99"), Ok((0.9, 0.99)));
        betas("0.9").unwrap_err();
        betas("0.9,x").unwrap_err();
    }
}
