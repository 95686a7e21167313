//! The settings of a sweep: every combination of the given values.

use crate::command::Failure;
use crate::command::rules::{Optimizer, Preset, RuleArguments};
use clap::Args;
use wgpu_optim::Rule;

/// Maximum number of settings; more are considered a mistake.
const MAX: u128 = 1 << 22;

/// A hyper-parameter that a grid varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Lr,
    Beta1,
    Beta2,
    Momentum,
    Alpha,
    Eps,
    WeightDecay,
}

impl Dimension {
    pub const ALL: [Dimension; 7] = [
        Dimension::Lr,
        Dimension::Beta1,
        Dimension::Beta2,
        Dimension::Momentum,
        Dimension::Alpha,
        Dimension::Eps,
        Dimension::WeightDecay,
    ];

    /// The name in reports; the flag has hyphens instead of underscores.
    pub fn name(self) -> &'static str {
        match self {
            Dimension::Lr => "lr",
            Dimension::Beta1 => "beta1",
            Dimension::Beta2 => "beta2",
            Dimension::Momentum => "momentum",
            Dimension::Alpha => "alpha",
            Dimension::Eps => "eps",
            Dimension::WeightDecay => "weight_decay",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == name.replace('-', "_"))
    }

    /// Whether it is a decay factor, whose distance from 1 matters.
    pub fn is_decay(self) -> bool {
        use Dimension::{Alpha, Beta1, Beta2, Momentum};
        matches!(self, Beta1 | Beta2 | Momentum | Alpha)
    }

    /// The value in a rule, if the rule has this hyper-parameter.
    pub fn of(self, rule: &Rule) -> Option<f64> {
        let betas = || rule.hyper_parameter("betas")?.downcast_ref::<(f64, f64)>();
        match self {
            Dimension::Beta1 => Some(betas()?.0),
            Dimension::Beta2 => Some(betas()?.1),
            _ => rule.hyper_parameter(self.name())?.downcast_ref().copied(),
        }
    }
}

/// Values of a hyper-parameter. A newtype because clap gives `Option<Vec<_>>` another meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(Vec<f64>);

/// Parses `a,b,c`, or MIN:MAX:COUNT with logarithmic spacing.
fn spaced(text: &str) -> Result<Values, String> {
    values(text, |x| x)
}

/// Parses values of decays: MIN:MAX:COUNT spaces 1 − x logarithmically.
fn spaced_from_one(text: &str) -> Result<Values, String> {
    values(text, |x| 1.0 - x)
}

fn values(text: &str, distance: impl Fn(f64) -> f64) -> Result<Values, String> {
    let number = |text: &str| {
        let number = text.trim().parse::<f64>().map_err(|error| format!("`{text}`: {error}"))?;
        if number.is_finite() { Ok(number) } else { Err(format!("`{text}` is not finite")) }
    };
    let parts: Vec<&str> = text.split(':').collect();
    let [first, last, count] = parts[..] else {
        if parts.len() > 1 {
            return Err("a range must be MIN:MAX:COUNT, as in 1e-4:1:41".into());
        }
        let mut values = text.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
        values.sort_by(f64::total_cmp);
        values.dedup();
        return Ok(Values(values));
    };
    let (min, max) = (number(first)?, number(last)?);
    let count: u32 = count.trim().parse().map_err(|error| format!("`{count}`: {error}"))?;
    if count < 2 || u128::from(count) > MAX {
        return Err(format!("a range must have 2 to {MAX} values, not {count}"));
    }
    let [from, to] = [min, max].map(&distance);
    if min >= max || from <= 0.0 || to <= 0.0 {
        return Err(format!("no {count} values with logarithmic spacing exist from {min} to {max}"));
    }
    let (start, step) = (from.ln(), (to.ln() - from.ln()) / f64::from(count - 1));
    let inner = (1..count - 1).map(|i| distance((start + step * f64::from(i)).exp()));
    Ok(Values(std::iter::once(min).chain(inner).chain([max]).collect()))
}

/// Values of hyper-parameters: one, a list a,b,c, or MIN:MAX:COUNT with logarithmic spacing. Each applies to the
/// optimizers that have it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Hyper-parameters (default: PyTorch's)")]
pub struct GridArguments {
    /// Library whose defaults apply to the hyper-parameters
    #[arg(long, value_enum, default_value_t, value_name = "LIBRARY")]
    preset: Preset,
    /// Learning rates: a value, a list a,b,c, or MIN:MAX:COUNT with logarithmic spacing
    #[arg(long, value_name = "LRS", value_parser = spaced, allow_hyphen_values = true)]
    lr: Option<Values>,
    /// Decays of the first moment; MIN:MAX:COUNT spaces 1 − beta1 logarithmically
    #[arg(long, value_name = "B1S", value_parser = spaced_from_one, allow_hyphen_values = true)]
    beta1: Option<Values>,
    /// Decays of the second moment, as for --beta1
    #[arg(long, value_name = "B2S", value_parser = spaced_from_one, allow_hyphen_values = true)]
    beta2: Option<Values>,
    /// Decays of the momentum buffer, as for --beta1
    #[arg(long, value_name = "MS", value_parser = spaced_from_one, allow_hyphen_values = true)]
    momentum: Option<Values>,
    /// Decays of the average of squared gradients (rmsprop), as for --beta1
    #[arg(long, value_name = "AS", value_parser = spaced_from_one, allow_hyphen_values = true)]
    alpha: Option<Values>,
    /// Constants added to the denominator, as for --lr
    #[arg(long, value_name = "EPS", value_parser = spaced, allow_hyphen_values = true)]
    eps: Option<Values>,
    /// Weight decays, as for --lr
    #[arg(long, value_name = "WS", value_parser = spaced, allow_hyphen_values = true)]
    weight_decay: Option<Values>,
}

/// One combination of hyper-parameters.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The optimizer as requested; several optimizers share the rule SGD.
    pub optimizer: Optimizer,
    pub rule: Rule,
}

impl GridArguments {
    fn values(&self, dimension: Dimension) -> Option<&[f64]> {
        let values = match dimension {
            Dimension::Lr => &self.lr,
            Dimension::Beta1 => &self.beta1,
            Dimension::Beta2 => &self.beta2,
            Dimension::Momentum => &self.momentum,
            Dimension::Alpha => &self.alpha,
            Dimension::Eps => &self.eps,
            Dimension::WeightDecay => &self.weight_decay,
        };
        values.as_ref().map(|Values(values)| values.as_slice())
    }

    /// Whether a dimension has several values.
    pub fn varies(&self, dimension: Dimension) -> bool {
        self.values(dimension).is_some_and(|values| values.len() > 1)
    }

    /// The given dimensions that an optimizer has.
    fn dimensions_of(&self, optimizer: Optimizer) -> Vec<(Dimension, &[f64])> {
        let given = Dimension::ALL.into_iter().filter_map(|d| Some((d, self.values(d)?)));
        let has = |(dimension, values): &(Dimension, &[f64])| {
            let mut rule = RuleArguments::default();
            set(&mut rule, *dimension, values[0]);
            !rule.used_by(optimizer).is_empty()
        };
        given.filter(has).collect()
    }

    /// Every combination for every optimizer, validated, in order of the optimizers.
    pub fn settings(&self, optimizers: &[Optimizer]) -> Result<Vec<Setting>, Failure> {
        let grids: Vec<_> = optimizers.iter().map(|&o| (o, self.dimensions_of(o))).collect();
        let unused = |d: &Dimension| {
            self.values(*d).is_some() && !grids.iter().any(|(_, grid)| grid.iter().any(|g| g.0 == *d))
        };
        if let Some(dimension) = Dimension::ALL.into_iter().find(unused) {
            let flag = dimension.name().replace('_', "-");
            let message = format!("--{flag} is not a hyper-parameter of any selected optimizer");
            return Err(Failure::Input(message));
        }
        let size = |grid: &[(Dimension, &[f64])]| -> u128 {
            grid.iter().map(|(_, values)| values.len() as u128).product()
        };
        let total: u128 = grids.iter().map(|(_, grid)| size(grid)).sum();
        if total > MAX {
            let message = format!("the grid has {total} settings: the limit is {MAX}");
            return Err(Failure::Input(message));
        }
        let mut settings = Vec::new();
        for (optimizer, grid) in grids {
            for mut i in 0..size(&grid) as usize {
                let mut arguments = RuleArguments::of(self.preset);
                for (dimension, values) in grid.iter().rev() {
                    set(&mut arguments, *dimension, values[i % values.len()]);
                    i /= values.len();
                }
                for rule in arguments.rules(&[optimizer])? {
                    settings.push(Setting { optimizer, rule });
                }
            }
        }
        Ok(settings)
    }
}

fn set(arguments: &mut RuleArguments, dimension: Dimension, value: f64) {
    let field = match dimension {
        Dimension::Lr => &mut arguments.lr,
        Dimension::Beta1 => &mut arguments.beta1,
        Dimension::Beta2 => &mut arguments.beta2,
        Dimension::Momentum => &mut arguments.momentum,
        Dimension::Alpha => &mut arguments.alpha,
        Dimension::Eps => &mut arguments.eps,
        Dimension::WeightDecay => &mut arguments.weight_decay,
    };
    *field = Some(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_by_equal_factors_and_end_exactly() {
        let Values(lrs) = spaced("1e-4:1:5").unwrap();
        assert_eq!((lrs[0], lrs[4], lrs.len()), (1e-4, 1.0, 5));
        assert!(lrs.windows(2).all(|pair| (pair[1] / pair[0] - 10.0).abs() < 1e-9));
        let Values(betas) = spaced_from_one("0.9:0.999:3").unwrap();
        assert_eq!((betas[0], betas[2]), (0.9, 0.999));
        assert!((betas[1] - 0.99).abs() < 1e-12);
        assert_eq!(spaced("0.3, 0.1,0.3").unwrap(), Values(vec![0.1, 0.3]));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let wrong =
            ["", "a", "1:2", "1:2:1", "2:1:3", "0:1:3", "-1:1:3", "1:2:3:4", "1:2:x", "inf", "nan"];
        for text in wrong {
            spaced(text).unwrap_err();
        }
        spaced_from_one("0.9:1:3").unwrap_err();
        assert_eq!(spaced_from_one("0:0.9:2").unwrap(), Values(vec![0.0, 0.9]));
    }

    #[test]
    fn an_optimizer_has_the_dimensions_that_it_has() {
        let some = |values: &[f64]| Some(Values(values.to_vec()));
        let arguments = GridArguments {
            preset: Preset::default(),
            lr: some(&[0.1, 0.2]),
            beta1: None,
            beta2: some(&[0.9, 0.99, 0.999]),
            momentum: None,
            alpha: None,
            eps: None,
            weight_decay: None,
        };
        let [adam, sgd] = ["adam", "sgd"].map(|name| Optimizer::named(name).unwrap());
        let settings = arguments.settings(&[adam, sgd]).unwrap();
        assert_eq!(settings.len(), 6 + 2);
        let beta2 = |i: usize| Dimension::Beta2.of(&settings[i].rule);
        assert_eq!([beta2(0), beta2(1), beta2(3), beta2(6)], [Some(0.9), Some(0.99), Some(0.9), None]);
        let Err(Failure::Input(text)) = arguments.settings(&[sgd]) else { panic!() };
        assert_eq!(text, "--beta2 is not a hyper-parameter of any selected optimizer");
    }
}
