//! The blog series that this project grew out of: every algorithm with its published settings, as published and as
//! corrected, on any device.
//!
//! Data, initial parameters, batches and settings are those of the series: 100 rows of y = 2.5·x + 1, mini-batches of 10
//! in file order, from (m, b) = (0.5, 0.5) by default. Three of its algorithms have a defect, which only the published
//! variant has: see [`Algorithm::defect`].
//!
//! The numbers of epochs are those of the series' repository. The figures in the articles about RMSprop and Adam used
//! other numbers, which are separate algorithms here.

mod published;
mod runs;

pub use runs::{Device, run};

use wgpu_optim::regression::Batch;
use wgpu_optim::regression::BlogRandom;
use wgpu_optim::{Adam, RmsProp, Rule, Sgd};

/// The shader file of RMSprop as the series published it.
pub const RMSPROP_AS_PUBLISHED: &str = include_str!("rmsprop_as_published.wgsl");

/// Rows of the series' data.
const ROWS: u64 = 100;
/// The learning rate of the published stochastic descent, whose gradients are a hundred times too small.
const SGD_LR: f64 = 0.85;
/// Rows of a mini-batch.
const BATCH: u64 = 10;
/// Rows of a mini-batch of Adam in its article.
const ADAM_ARTICLE_BATCH: u64 = 5;

/// One of the series' algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Gradient descent over all rows.
    BatchGd,
    /// Gradient descent on one row at a time, drawn at random.
    Sgd,
    /// Gradient descent on mini-batches.
    MinibatchGd,
    /// Mini-batch descent with momentum.
    Momentum,
    /// Mini-batch descent with Nesterov momentum.
    Nesterov,
    /// RMSprop.
    #[serde(rename = "rmsprop")]
    RmsProp,
    /// Adam.
    Adam,
    /// RMSprop as in the figures of its article: 2 epochs.
    #[serde(rename = "rmsprop_article")]
    RmsPropArticle,
    /// Adam as in the figures of its article: 5 epochs in mini-batches of 5.
    AdamArticle,
}

/// The published or the corrected variant of an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// The published code.
    Published,
    /// The algorithm according to its formulas.
    Corrected,
}

/// Slope and intercept.
pub type Line = (f64, f64);

impl Algorithm {
    /// All algorithms, in the series' order, then those of the articles.
    pub const ALL: [Algorithm; 9] = [
        Algorithm::BatchGd,
        Algorithm::Sgd,
        Algorithm::MinibatchGd,
        Algorithm::Momentum,
        Algorithm::Nesterov,
        Algorithm::RmsProp,
        Algorithm::Adam,
        Algorithm::RmsPropArticle,
        Algorithm::AdamArticle,
    ];

    /// The name for tables and file names.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::BatchGd => "batch_gd",
            Algorithm::Sgd => "sgd",
            Algorithm::MinibatchGd => "minibatch_gd",
            Algorithm::Momentum => "momentum",
            Algorithm::Nesterov => "nesterov",
            Algorithm::RmsProp => "rmsprop",
            Algorithm::Adam => "adam",
            Algorithm::RmsPropArticle => "rmsprop_article",
            Algorithm::AdamArticle => "adam_article",
        }
    }

    /// The defect of the published code, in a sentence.
    pub fn defect(self) -> Option<&'static str> {
        match self {
            Algorithm::Sgd => Some(
                "sgd: the published code divides the gradient of one row by all 100 rows, so its lr of \
                 0.85 is really 0.0085 (with 0.85 the corrected code diverges, so it takes 0.0085).",
            ),
            Algorithm::Nesterov => Some(
                "nesterov: the published code moves the parameters to the look-ahead point, leaves them \
                 there, and then subtracts a velocity that contains the same momentum once more.",
            ),
            Algorithm::RmsProp => Some(
                "rmsprop: the published code divides the intercept's gradient by the root of the slope's \
                 average, which happens to suit these data: the correct rule ends in a cycle of size lr.",
            ),
            Algorithm::RmsPropArticle => Some(
                "rmsprop_article: the same defect, which after 20 updates still shows in the intercept: 0.959, \
                 where the correct rule has 1.002.",
            ),
            _ => None,
        }
    }

    /// The rule of the corrected algorithm, with the series' settings.
    pub fn rule(self) -> Rule {
        let sgd = |lr| Sgd { lr, ..Sgd::default() };
        // The series scales this learning rate by 1 − beta.
        let momentum = Sgd { momentum: 0.9, ..sgd(0.05 * (1.0 - 0.9)) };
        match self {
            Algorithm::BatchGd => sgd(0.1).into(),
            Algorithm::Sgd => sgd(SGD_LR / ROWS as f64).into(),
            Algorithm::MinibatchGd => sgd(0.5).into(),
            Algorithm::Momentum => momentum.into(),
            Algorithm::Nesterov => Sgd { nesterov: true, ..momentum }.into(),
            Algorithm::RmsProp | Algorithm::RmsPropArticle => {
                RmsProp { lr: 0.05, alpha: 0.9, ..RmsProp::default() }.into()
            }
            Algorithm::Adam | Algorithm::AdamArticle => Adam { lr: 0.05, ..Adam::default() }.into(),
        }
    }

    /// The initial parameters.
    pub fn start(self) -> Line {
        if self == Algorithm::BatchGd { (0.33, 0.48) } else { (0.5, 0.5) }
    }

    /// The batch of every update.
    pub fn batches(self) -> Vec<Batch> {
        let in_order = |rows: u64, epochs| {
            let epoch = (0..ROWS).step_by(rows as usize).map(move |first| Batch::new(first, rows));
            (0..epochs).flat_map(|_| epoch.clone()).collect()
        };
        match self {
            Algorithm::BatchGd => in_order(ROWS, 75),
            Algorithm::Sgd => {
                // The series continues the random numbers after those of its data.
                let mut random = BlogRandom::new();
                for _ in 0..ROWS {
                    random.uniform();
                }
                (0..500).map(|_| Batch::new(random.row(), 1)).collect()
            }
            Algorithm::Momentum => in_order(BATCH, 20),
            Algorithm::RmsProp => in_order(BATCH, 8),
            Algorithm::RmsPropArticle => in_order(BATCH, 2),
            Algorithm::AdamArticle => in_order(ADAM_ARTICLE_BATCH, 5),
            Algorithm::MinibatchGd | Algorithm::Nesterov | Algorithm::Adam => in_order(BATCH, 10),
        }
    }

    /// The final parameters that the series prints for this variant, if it does: a corrected variant has them only if the
    /// algorithm has no defect.
    pub fn published(self, variant: Variant) -> Option<Line> {
        if variant == Variant::Corrected && self.defect().is_some() {
            return None;
        }
        match self {
            Algorithm::Momentum => Some((2.499982141031187, 1.0000022781248525)),
            Algorithm::Nesterov => Some((2.4883666557187394, 0.9970348560917996)),
            Algorithm::RmsProp => Some((2.500000366541509, 0.9999980870880228)),
            Algorithm::Adam => Some((2.513850200823342, 0.9979734270328469)),
            // The articles show these results in figures only.
            Algorithm::RmsPropArticle | Algorithm::AdamArticle => None,
            Algorithm::BatchGd | Algorithm::Sgd | Algorithm::MinibatchGd => None,
        }
    }

    /// The expected final parameters: the published ones, or else those of the same algorithm in f64 in NumPy 2.4.6.
    pub fn expected(self, variant: Variant) -> Line {
        self.published(variant).unwrap_or(match self {
            Algorithm::RmsPropArticle if variant == Variant::Published => {
                (1.732_878_875_473_327_3, 0.958_805_401_459_354_4)
            }
            Algorithm::RmsPropArticle => (1.733_925_033_900_454_2, 1.001_631_210_510_624_4),
            Algorithm::AdamArticle => (2.515_841_775_708_289, 1.000_692_116_798_625_1),
            Algorithm::BatchGd => (2.489_942_608_542_619, 0.999_565_454_215_416_1),
            Algorithm::Sgd => (2.405_290_537_384_743, 0.993_429_392_876_042_6),
            Algorithm::Nesterov => (2.499_356_972_088_573, 1.0000274866609207),
            Algorithm::RmsProp => (2.503_034_334_777_378, 0.956_743_643_504_765_8),
            // Exact: this algorithm converges to the last bit.
            _ => (2.5, 1.0),
        })
    }
}
