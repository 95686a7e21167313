//! The losses of generalized linear regression.
//!
//! A model's score is z = x·w + b (+ offset). A loss defines the prediction μ(z), its cost, and the derivative of the
//! cost by z. A loss is two files of one name, `src/regression/reference/loss/` with the definition and
//! `shaders/loss/` with the kernel, and one line of [`Loss::traits`].

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
    /// max(0, 1 − s z)² with s = 2 y − 1 = ±1 of a class y ∈ {0, 1}: the margin loss of a linear support vector
    /// machine, without probabilities; scikit-learn's `squared_hinge`.
    SquaredHinge,
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

/// The targets that a loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// Any number; the score is R².
    Real,
    /// 0 or 1, one of two classes; the score is the accuracy.
    Binary,
    /// A count, ≥ 0; the score is D², the explained share of the deviance.
    Count,
    /// 0, 1, … of several classes; the score is the accuracy.
    Class,
}

/// The description of a loss, by which everything but its definition handles it.
struct Traits {
    name: &'static str,
    /// In plots and sentences.
    title: &'static str,
    targets: TargetKind,
    /// Files of `shaders/`: its own, after those it needs.
    shader: &'static [&'static str],
}

/// Files of `shaders/`.
macro_rules! shader_files {
    ($($file:literal),+) => {
        &[$(crate::wgsl::shader_file!($file)),+]
    };
}

impl Loss {
    /// Every loss, with the default of its parameter.
    pub const ALL: [Loss; 8] = [
        Loss::Mse,
        Loss::SquaredError,
        Loss::Huber { epsilon: 0.1 },
        Loss::Quantile { quantile: 0.5 },
        Loss::Logistic,
        Loss::SquaredHinge,
        Loss::Poisson,
        Loss::Softmax { classes: 2 },
    ];

    /// The list of losses: one line each.
    #[inline]
    fn traits(&self) -> Traits {
        use TargetKind::{Binary, Class, Count, Real};
        let squared: &[&str] = shader_files!("loss/squared.wgsl");
        let huber = shader_files!("loss/huber.wgsl");
        let quantile = shader_files!("loss/quantile.wgsl");
        let logistic = shader_files!("exponential.wgsl", "loss/logistic.wgsl");
        let hinge = shader_files!("loss/squared_hinge.wgsl");
        let poisson = shader_files!("exponential.wgsl", "loss/poisson.wgsl");
        let softmax = shader_files!("exponential.wgsl", "loss/softmax.wgsl");
        let of = |name, title, targets, shader| Traits { name, title, targets, shader };
        match *self {
            Loss::Mse => of("mse", "MSE", Real, squared),
            Loss::SquaredError => of("squared_error", "half the MSE", Real, squared),
            Loss::Huber { .. } => of("huber", "Huber loss", Real, huber),
            Loss::Quantile { .. } => of("quantile", "pinball loss", Real, quantile),
            Loss::Logistic => of("logistic", "log loss", Binary, logistic),
            Loss::SquaredHinge => of("squared_hinge", "squared hinge loss", Binary, hinge),
            Loss::Poisson => of("poisson", "Poisson loss", Count, poisson),
            Loss::Softmax { .. } => of("softmax", "log loss", Class, softmax),
        }
    }

    /// The loss of this name, with the default of its parameter.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|loss| loss.name() == name)
    }

    /// The largest score that Poisson regression takes as it is, and the logarithm of its largest count: e³⁸ is
    /// 3.19e16. That far f32 holds the sum of the squares of 2¹⁶ rows, and Adam's squares of their gradients.
    pub const MAX_LOG_MEAN: f64 = 38.0;
    /// The most classes or outputs of a model.
    pub const MAX_OUTPUTS: u32 = 1 << 12;

    /// The name for reports, flags and labels.
    pub fn name(&self) -> &'static str {
        self.traits().name
    }

    /// The name in plots and sentences.
    pub fn title(&self) -> &'static str {
        self.traits().title
    }

    /// The targets that it takes.
    #[inline]
    pub fn target_kind(&self) -> TargetKind {
        self.traits().targets
    }

    /// Whether y is a class.
    pub fn is_classifier(&self) -> bool {
        matches!(self.target_kind(), TargetKind::Binary | TargetKind::Class)
    }

    /// Whether its predictions are probabilities of classes; a squared hinge has only a margin.
    pub fn has_probabilities(&self) -> bool {
        matches!(self, Loss::Logistic | Loss::Softmax { .. })
    }

    /// The files of the kernel.
    pub(crate) fn shader(&self) -> &'static [&'static str] {
        self.traits().shader
    }

    /// The overrides of those files.
    pub(crate) fn overrides(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Loss::Huber { epsilon } => vec![("EPSILON", epsilon)],
            Loss::Quantile { quantile } => {
                vec![("QUANTILE", quantile), ("ONE_MINUS_QUANTILE", 1.0 - quantile)]
            }
            _ => vec![],
        }
    }

    /// The factors of the loss and of the derivative that the kernels sum: both squared losses sum r² and r.
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
