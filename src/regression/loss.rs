//! What a model's predictions cost: the losses of generalised linear regression.
//!
//! A model's score is z = x·w + b (+ offset). A loss says what the prediction is, μ(z), what it costs, and
//! the derivative of that by z. What each means is in `src/cpu/loss/`, a file of one name, and what runs
//! in `shaders/loss/`.

use crate::Error;
use crate::check::Check;

/// A loss; the batch's is the mean over its rows, weighted where rows have weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Loss {
    /// (z − y)²: its mean is the mean squared error. Several outputs add up.
    #[default]
    Mse,
    /// ½ (z − y)², scikit-learn's `squared_error`. Several outputs add up.
    SquaredError,
    /// ½ (z − y)² up to a distance of `epsilon`, linear beyond (Huber 1964); scikit-learn's `huber`.
    Huber {
        /// Where the loss becomes linear, > 0 and in the units of y. Default 0.1 as in scikit-learn's
        /// `SGDRegressor`.
        epsilon: f64,
    },
    /// `quantile` · (y − z) where z is too small and (1 − `quantile`) · (z − y) where it is too large: the
    /// pinball loss of scikit-learn's `QuantileRegressor`.
    Quantile {
        /// Which quantile of y is fitted, in (0, 1). Default 0.5, the median.
        quantile: f64,
    },
    /// ln(1 + eᶻ) − y z, the negative log-likelihood of a class y ∈ {0, 1} whose probability is
    /// μ = 1 / (1 + e⁻ᶻ); scikit-learn's `log_loss`.
    Logistic,
    /// μ − y z with μ = eᶻ, half the Poisson deviance but for what depends on y alone; a straight line
    /// from z = 38 on. y is at most e³⁸.
    Poisson,
    /// ln Σₖ e^zₖ − z_y, the negative log-likelihood of a class y ∈ {0 … `classes` − 1} under
    /// μₖ = e^zₖ / Σ e^z: multinomial logistic regression.
    Softmax {
        /// How many classes there are, at least 2.
        classes: u32,
    },
}

impl Loss {
    /// The largest score that Poisson regression takes as it is, and the logarithm of its largest count: e³⁸ is
    /// 3.19e16. That far f32 holds the sum of the squares of 2¹⁶ rows, and Adam's squares of their gradients.
    pub const MAX_LOG_MEAN: f64 = 38.0;
    /// The most classes or outputs of a model.
    pub const MAX_OUTPUTS: u32 = 1 << 12;

    /// The name for reports, flags and labels.
    pub fn name(&self) -> &'static str {
        match self {
            Loss::Mse => "mse",
            Loss::SquaredError => "squared_error",
            Loss::Huber { .. } => "huber",
            Loss::Quantile { .. } => "quantile",
            Loss::Logistic => "logistic",
            Loss::Poisson => "poisson",
            Loss::Softmax { .. } => "softmax",
        }
    }

    /// Whether y is a class.
    pub fn is_classifier(&self) -> bool {
        matches!(self, Loss::Logistic | Loss::Softmax { .. })
    }

    /// What the kernels' loss and derivative are multiplied by: both squared losses run as r² and r.
    pub(crate) fn factors(&self) -> (f64, f64) {
        match self {
            Loss::Mse => (1.0, 2.0),
            Loss::SquaredError => (0.5, 1.0),
            _ => (1.0, 1.0),
        }
    }

    /// Checks the loss's own parameter.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] naming it.
    pub fn validate(&self) -> Result<(), Error> {
        let check = Check(self.name());
        match *self {
            Loss::Huber { epsilon } => check.divisor("epsilon", epsilon),
            Loss::Quantile { quantile } => {
                let holds = quantile > 0.0 && quantile < 1.0;
                check.that(holds, "quantile", quantile, "0 < value < 1")
            }
            Loss::Softmax { classes } => {
                let holds = (2..=Self::MAX_OUTPUTS).contains(&classes);
                check.that(holds, "classes", classes.into(), "2 ≤ value ≤ 4096")
            }
            _ => Ok(()),
        }
    }
}
