//! Options of a synthetic problem.

use super::Synthetic;
use crate::check::Check;
use crate::regression::TargetKind;
use crate::regression::kernels::GradientLayout;
use crate::{Error, Loss};

/// Distribution of a row's targets given its scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub enum Response {
    /// y = z + noise, for each output.
    #[default]
    Linear,
    /// y = 1 with probability 1 / (1 + e⁻ᶻ), else 0.
    Bernoulli,
    /// y is a count with the mean eᶻ.
    Poisson,
    /// y is the class k with probability e^zₖ / Σ e^z.
    Categorical,
}

impl Response {
    /// The name for reports.
    pub fn name(&self) -> &'static str {
        match self {
            Response::Linear => "linear",
            Response::Bernoulli => "bernoulli",
            Response::Poisson => "poisson",
            Response::Categorical => "categorical",
        }
    }
}

impl From<&Loss> for Response {
    /// The response whose true parameters minimize the loss. A quantile other than the median finds another intercept,
    /// which differs from the true one by that quantile of the noise. A
    /// squared hinge finds the direction of the true parameters, not their length.
    fn from(loss: &Loss) -> Self {
        match loss.target_kind() {
            TargetKind::Real => Response::Linear,
            TargetKind::Binary => Response::Bernoulli,
            TargetKind::Count => Response::Poisson,
            TargetKind::Class => Response::Categorical,
        }
    }
}

/// Options of a synthetic problem; the default is one feature and one linear target without noise.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Options {
    /// Number of features, from 1 to 2²⁰.
    pub features: u32,
    /// Number of scores of a row: the targets of a linear response (1 to 4096), the classes of a categorical one (2 to
    /// 4096), else 1. Features × outputs is at most 2²³.
    pub outputs: u32,
    /// Distribution of the targets.
    pub response: Response,
    /// Standard deviation of a linear target's noise, in the target's units, from 0 to [`Synthetic::MAX_NOISE`]; 0 for
    /// other responses, which are random by themselves.
    pub noise: f64,
    /// Share of the linear targets with [`Synthetic::OUTLIER_FACTOR`] times that noise, in [0, 1].
    pub outliers: f64,
    /// Probability that a true weight is zero, in [0, 1).
    pub sparsity: f64,
    /// Condition number of the covariance of the features, from 1 (independent) to
    /// [`Synthetic::MAX_CONDITION`]; 1 for a single feature. [`Synthetic::condition`] is the rounded value.
    pub condition: f64,
    /// Share of rows with y = 1 for a Bernoulli response, in [0.001, 0.999], which determines the true intercept. `None`
    /// draws the intercept at random.
    pub balance: Option<f64>,
    /// Seed.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            features: 1,
            outputs: 1,
            response: Response::Linear,
            noise: 0.0,
            outliers: 0.0,
            sparsity: 0.0,
            condition: 1.0,
            balance: None,
            seed: 0,
        }
    }
}

impl Options {
    /// Maximum number of weights: a thread of a device reads at most a few thousand.
    pub const MAX_WEIGHTS: u64 = 1 << 23;

    /// Checks all options.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] naming the first option that is outside its range.
    pub fn validate(&self) -> Result<(), Error> {
        let check = Check("synthetic");
        let holds = (1..=GradientLayout::MAX_FEATURES).contains(&self.features);
        check.that(holds, "features", self.features.into(), "1 ≤ value ≤ 1048576")?;
        let most = Loss::MAX_OUTPUTS;
        let (holds, range) = match self.response {
            Response::Linear => ((1..=most).contains(&self.outputs), "1 ≤ value ≤ 4096"),
            Response::Categorical => ((2..=most).contains(&self.outputs), "2 ≤ value ≤ 4096"),
            Response::Bernoulli | Response::Poisson => (self.outputs == 1, "1"),
        };
        check.that(holds, "outputs", self.outputs.into(), range)?;
        let weights = u64::from(self.features) * u64::from(self.outputs);
        let holds = weights <= Self::MAX_WEIGHTS;
        check.that(holds, "features × outputs", weights as f64, "value ≤ 8388608")?;

        let linear = self.response == Response::Linear;
        let within = |most: f64, value: f64| value == 0.0 || linear && (0.0..=most).contains(&value);
        let range = if linear { "0 ≤ value ≤ 65536" } else { "0 if the response is not linear" };
        check.that(within(Synthetic::MAX_NOISE, self.noise), "noise", self.noise, range)?;
        let range = if linear { "0 ≤ value ≤ 1" } else { "0 if the response is not linear" };
        check.that(within(1.0, self.outliers), "outliers", self.outliers, range)?;

        check.decay("sparsity", self.sparsity)?;
        let (most, range) = match self.features {
            1 => (1.0, "1 for a single feature"),
            _ => (Synthetic::MAX_CONDITION, "1 ≤ value ≤ 1e6"),
        };
        check.that((1.0..=most).contains(&self.condition), "condition", self.condition, range)?;
        let Some(balance) = self.balance else { return Ok(()) };
        let (holds, range) = match self.response {
            Response::Bernoulli => ((0.001..=0.999).contains(&balance), "0.001 ≤ value ≤ 0.999"),
            _ => (false, "none if the response is not Bernoulli"),
        };
        check.that(holds, "balance", balance, range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(options: Options, field: &str) {
        let error = options.validate().unwrap_err();
        assert!(matches!(error, Error::HyperParameter { field: of, .. } if of == field), "{error}");
        assert!(error.to_string().contains(field), "{error}");
    }

    #[test]
    fn what_is_outside_its_range_is_refused_by_name() {
        let linear = Options { features: 4, ..Options::default() };
        linear.validate().unwrap();
        refused(Options { features: 0, ..linear }, "features");
        refused(Options { features: (1 << 20) + 1, ..linear }, "features");
        refused(Options { outputs: 0, ..linear }, "outputs");
        refused(Options { outputs: 4097, ..linear }, "outputs");
        refused(Options { features: 1 << 20, outputs: 9, ..linear }, "features × outputs");
        for bad in [-1.0, f64::NAN, f64::INFINITY, 65_537.0] {
            refused(Options { noise: bad, ..linear }, "noise");
            refused(Options { outliers: bad, ..linear }, "outliers");
            refused(Options { sparsity: bad, ..linear }, "sparsity");
        }
        refused(Options { sparsity: 1.0, ..linear }, "sparsity");
        for condition in [-1.0, 0.99, 1.1e6, f64::INFINITY, f64::NAN] {
            refused(Options { condition, ..linear }, "condition");
        }
        refused(Options { features: 1, condition: 2.0, ..linear }, "condition");
        refused(Options { balance: Some(0.5), ..linear }, "balance");
    }

    #[test]
    fn what_a_response_has_no_use_for_is_refused() {
        for response in [Response::Bernoulli, Response::Poisson] {
            let options = Options { response, ..Options::default() };
            options.validate().unwrap();
            refused(Options { outputs: 2, ..options }, "outputs");
            refused(Options { noise: 0.1, ..options }, "noise");
            refused(Options { outliers: 0.1, ..options }, "outliers");
        }
        let response = Response::Categorical;
        refused(Options { response, ..Options::default() }, "outputs");
        refused(Options { response, outputs: 2, balance: Some(0.5), ..Options::default() }, "balance");
        let response = Response::Bernoulli;
        for balance in [0.0, 1.0, f64::NAN] {
            refused(Options { response, balance: Some(balance), ..Options::default() }, "balance");
        }
    }

    #[test]
    fn every_loss_has_a_response() {
        assert_eq!(Response::from(&Loss::Quantile { quantile: 0.5 }), Response::Linear);
        assert_eq!(Response::from(&Loss::Softmax { classes: 3 }), Response::Categorical);
    }
}
