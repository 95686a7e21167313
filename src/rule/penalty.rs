use crate::check::Check;
use crate::{Error, Rule};

/// A penalty on weights, added to the mean loss of a batch, with the names of scikit-learn:
/// alpha · (l1_ratio · ‖w‖₁ + ½ (1 − l1_ratio) · ‖w‖²).
///
/// The L2 part is added to the gradient. The L1 part is proximal: after each step of a rule, weights move towards
/// zero by alpha · l1_ratio · lr / d and stop at zero, where d is the divisor of the gradient of that parameter
/// (√v̂ + eps in Adam, 1 in SGD). Weights become exactly zero, and a fixed point of the rule is a minimum of the
/// objective. A momentum buffer without dampening makes steps 1 / (1 − momentum) times as long, and the proximal
/// step too. Lion has no such minimum, because its steps do not grow with the gradient: its weights move by
/// alpha · l1_ratio · lr.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Penalty {
    /// Strength, ≥ 0. Default 0: none.
    pub alpha: f64,
    /// Share of L1, from 0 (L2 alone) to 1 (L1 alone). Default 0.
    pub l1_ratio: f64,
}

impl Penalty {
    /// The L2 penalty alone: ridge.
    pub fn l2(alpha: f64) -> Self {
        Penalty { alpha, l1_ratio: 0.0 }
    }

    /// The L1 penalty alone: lasso.
    pub fn l1(alpha: f64) -> Self {
        Penalty { alpha, l1_ratio: 1.0 }
    }

    /// The factor of ½ ‖w‖².
    pub fn l2_factor(&self) -> f64 {
        self.alpha * (1.0 - self.l1_ratio)
    }

    /// The factor of ‖w‖₁.
    pub fn l1_factor(&self) -> f64 {
        self.alpha * self.l1_ratio
    }

    /// The penalty of these weights.
    pub fn of(&self, weights: &[f64]) -> f64 {
        let sum = |cost: fn(f64) -> f64| weights.iter().map(|&w| cost(w)).sum::<f64>();
        self.l1_factor() * sum(f64::abs) + 0.5 * self.l2_factor() * sum(|w| w * w)
    }

    /// The factor of lr / d in the proximal step.
    pub(crate) fn proximal_factor(&self, rule: &Rule) -> f64 {
        let longer = match rule {
            Rule::Sgd(sgd) if sgd.momentum > 0.0 => (1.0 - sgd.dampening) / (1.0 - sgd.momentum),
            Rule::RmsProp(rmsprop) => 1.0 / (1.0 - rmsprop.momentum),
            _ => 1.0,
        };
        self.l1_factor() * longer
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] naming the first field that is outside.
    pub fn validate(&self) -> Result<(), Error> {
        let check = Check("penalty");
        check.not_negative("alpha", self.alpha)?;
        check.factor("l1_ratio", self.l1_ratio)
    }
}
