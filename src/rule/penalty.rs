use crate::check::Check;
use crate::{Error, Rule};

/// What large weights cost: alpha · (l1_ratio · ‖w‖₁ + ½ (1 − l1_ratio) · ‖w‖²), added to a batch's mean loss
/// under scikit-learn's names.
///
/// The squared part is added to the gradient. The other part is proximal: after each step of a rule, weights
/// are moved towards zero by alpha · l1_ratio · lr / d and stop there, where d is what the rule divides that
/// parameter's gradient by (√v̂ + eps in Adam, 1 in SGD). So weights become exactly zero, and where a rule
/// comes to rest is where the objective has its minimum. A momentum buffer without dampening makes steps
/// 1 / (1 − momentum) times as long; so does it the shrinking. Lion, whose steps do not grow with the gradient,
/// has no such minimum: its weights are shrunk by alpha · l1_ratio · lr.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct Penalty {
    /// Strength, ≥ 0. Default 0: none.
    pub alpha: f64,
    /// Share of the absolute values, from 0 (squares alone) to 1 (absolute values alone). Default 0.
    pub l1_ratio: f64,
}

impl Penalty {
    /// Squares alone: ridge.
    pub fn l2(alpha: f64) -> Self {
        Penalty { alpha, l1_ratio: 0.0 }
    }

    /// Absolute values alone: lasso.
    pub fn l1(alpha: f64) -> Self {
        Penalty { alpha, l1_ratio: 1.0 }
    }

    /// What multiplies ½ ‖w‖².
    pub fn squares(&self) -> f64 {
        self.alpha * (1.0 - self.l1_ratio)
    }

    /// What multiplies ‖w‖₁.
    pub fn magnitudes(&self) -> f64 {
        self.alpha * self.l1_ratio
    }

    /// What these weights cost.
    pub fn of(&self, weights: &[f64]) -> f64 {
        let sum = |cost: fn(f64) -> f64| weights.iter().map(|&w| cost(w)).sum::<f64>();
        self.magnitudes() * sum(f64::abs) + 0.5 * self.squares() * sum(|w| w * w)
    }

    /// What multiplies lr / d in the shrinking of one step.
    pub(crate) fn shrinking(&self, rule: &Rule) -> f64 {
        let longer = match rule {
            Rule::Sgd(sgd) if sgd.momentum > 0.0 => (1.0 - sgd.dampening) / (1.0 - sgd.momentum),
            Rule::RmsProp(rmsprop) => 1.0 / (1.0 - rmsprop.momentum),
            _ => 1.0,
        };
        self.magnitudes() * longer
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
