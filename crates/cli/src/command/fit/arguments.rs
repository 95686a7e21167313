//! The arguments of `fit`.

use crate::command::data::{FILES, FileArguments};
use crate::command::device::DeviceArguments;
use crate::command::rules::{Optimizer, RuleArguments};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args)]
#[command(after_long_help = FILES)]
pub struct Arguments {
    /// The data: `synthetic`, `blog` (100 rows of y = 2.5 x + 1), or a file: CSV, .npy, .npz,
    /// .svm / .svmlight / .libsvm or .parquet, plain or as .gz or .zst; `-` is standard input
    #[arg(default_value = "synthetic", value_name = "DATA")]
    pub data: String,
    #[command(flatten)]
    pub device: DeviceArguments,

    /// Optimizers to train with, one after another
    #[arg(long = "optimizer", value_name = "NAME", default_values = ["rmsprop", "adam"])]
    pub optimizers: Vec<Optimizer>,
    /// Rows of a mini-batch [default: synthetic 2048, blog 10, file 32]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_size: Option<u64>,
    /// Number of passes over the data [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// Number of updates, instead of --epochs
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    #[command(flatten)]
    pub model: ModelArguments,
    #[command(flatten)]
    pub training: TrainingArguments,
    #[command(flatten)]
    pub rule: RuleArguments,
    #[command(flatten)]
    pub synthetic: SyntheticArguments,
    /// Number of features of synthetic data [default: 64]; of a file the names of its features, with commas
    /// between them [default: every column that is nothing else]
    #[arg(long, value_name = "D|NAMES", help_heading = "Data")]
    pub features: Vec<String>,
    /// The targets of an .npy file, in an .npy file of their own
    #[arg(long, value_name = "FILE", help_heading = "Data in a file")]
    pub y: Option<PathBuf>,
    #[command(flatten)]
    pub file: FileArguments,
    #[command(flatten)]
    pub placement: PlacementArguments,
    #[command(flatten)]
    pub checkpoints: CheckpointArguments,
    #[command(flatten)]
    pub output: OutputArguments,

    /// Verify every K-th update against f64 [default: as many as cost less than 5 % of the time]
    #[arg(long, value_name = "K", help_heading = "Verification", value_parser = clap::value_parser!(u64).range(1..))]
    pub verify_every: Option<u64>,
    /// Skip the verification against f64
    #[arg(long, help_heading = "Verification", conflicts_with = "verify_every")]
    pub no_verify: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum LossName {
    /// Mean of (z − y)²
    Mse,
    /// ½·(z − y)², scikit-learn's squared_error
    SquaredError,
    /// Quadratic up to --epsilon, linear beyond
    Huber,
    /// Pinball loss at --quantile
    Quantile,
    /// Logistic regression: two classes
    #[value(alias = "log_loss")]
    Logistic,
    /// Linear support vector machine: two classes, without probabilities
    SquaredHinge,
    /// Poisson regression with a log link: counts
    Poisson,
    /// Multinomial logistic regression: two or more classes
    Softmax,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum PenaltyName {
    None,
    /// L2: sum of squared weights (ridge)
    L2,
    /// L1: sum of absolute weights (lasso)
    L1,
    ElasticNet,
}

/// The model.
#[derive(Args)]
#[command(next_help_heading = "Model (scikit-learn's names)")]
pub struct ModelArguments {
    /// Loss function
    #[arg(long, value_enum, value_name = "LOSS", default_value_t = LossName::Mse)]
    pub loss: LossName,
    /// Residual at which the Huber loss becomes linear, in units of the target [default: 0.1]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub epsilon: Option<f64>,
    /// Quantile to fit, for --loss quantile [default: 0.5]
    #[arg(long, value_name = "Q", allow_negative_numbers = true)]
    pub quantile: Option<f64>,
    /// Fit an intercept, which is not penalized
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, default_value_t = true, action = clap::ArgAction::Set)]
    pub fit_intercept: bool,
    /// Penalty on the weights, with strength --alpha (RMSprop's own alpha is then --rmsprop-alpha)
    #[arg(long, value_enum, value_name = "NAME", default_value_t = PenaltyName::None)]
    pub penalty: PenaltyName,
    /// Share of L1 in the elastic net, from 0 to 1 [default: 0.15]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub l1_ratio: Option<f64>,
    /// RMSprop's alpha where --alpha is the penalty's strength
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    pub rmsprop_alpha: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum RateName {
    Constant,
    /// lr / t^--power-t
    InvScaling,
    /// Divide by 5 when the score stops improving
    Adaptive,
    /// Decay linearly to --final-factor of --lr
    Linear,
    /// Decay along half a cosine to --final-factor of --lr
    Cosine,
    /// Multiply by --gamma every --step-size updates
    Step,
    /// Multiply by --gamma every epoch
    Exponential,
}

/// Training.
#[derive(Args)]
#[command(next_help_heading = "Training")]
pub struct TrainingArguments {
    /// Learning-rate schedule, starting at --lr
    #[arg(long = "lr-schedule", alias = "learning-rate", value_enum, value_name = "SCHEDULE", default_value_t = RateName::Constant)]
    pub learning_rate: RateName,
    /// Exponent of `invscaling` [default: 0.25]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub power_t: Option<f64>,
    /// Final learning rate of `linear` and `cosine`, as a share of --lr [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub final_factor: Option<f64>,
    /// Factor of `step` and `exponential` [default: 0.1, exponential 0.9]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub gamma: Option<f64>,
    /// Updates between two decays of `step` [default: a third of all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub step_size: Option<u64>,
    /// Warm-up: updates over which the learning rate rises from 0 [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub warmup: u64,
    /// Reshuffle the rows every epoch
    #[arg(long)]
    pub shuffle: bool,
    /// Seed for shuffling and for the validation split [default: 0]
    #[arg(long, value_name = "SEED", default_value_t = 0, hide_default_value = true)]
    pub shuffle_seed: u64,
    /// Hold out validation rows, and stop when their score stops improving
    #[arg(long)]
    pub early_stopping: bool,
    /// Share of the rows that --early-stopping holds out [default: 0.1]
    #[arg(long, value_name = "SHARE", requires = "early_stopping", allow_negative_numbers = true)]
    pub validation_fraction: Option<f64>,
    /// Stop when an epoch improves by less than this; without --early-stopping by the training loss
    /// [default: 1e-3 with --early-stopping, else never]
    #[arg(long, value_name = "TOL", allow_negative_numbers = true)]
    pub tol: Option<f64>,
    /// Epochs without improvement before training stops [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub n_iter_no_change: Option<u32>,
    /// Return the exponential moving average of the parameters, with this decay
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    pub average: Option<f64>,
    /// Skip non-finite updates, and stop after K of them in a row
    /// [default: stop at the first loss that is not finite]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub skip_nonfinite: Option<u32>,
}

/// A synthetic problem; its targets are those of the loss.
#[derive(Args)]
#[command(next_help_heading = "Synthetic data")]
pub struct SyntheticArguments {
    /// Rows [default: 1048576]
    #[arg(long, value_name = "N")]
    pub samples: Option<u64>,
    /// Targets of a squared loss, or classes of a softmax [default: 1, softmax 10]
    #[arg(long, value_name = "K")]
    pub outputs: Option<u32>,
    /// Standard deviation of the noise of real targets [default: 0.1]
    #[arg(long, value_name = "SIGMA", allow_negative_numbers = true)]
    pub noise: Option<f64>,
    /// Share of real targets whose noise is 16 times as large [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub outliers: Option<f64>,
    /// Share of true weights that are zero [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub sparsity: Option<f64>,
    /// Condition number of the features' covariance [default: 1, independent]
    #[arg(long, value_name = "KAPPA", allow_negative_numbers = true)]
    pub condition: Option<f64>,
    /// Share of ones among the targets of logistic regression [default: not fixed]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub balance: Option<f64>,
    /// Seed of the synthetic problem [default: 1]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Generate rows inside the kernels instead of storing them: the same bits, and no memory
    #[arg(long = "on-the-fly", visible_alias = "virtual")]
    pub is_virtual: bool,
}

/// Placement of the rows during training.
#[derive(Args)]
#[command(next_help_heading = "Memory")]
pub struct PlacementArguments {
    /// Stream the file from disk in every epoch instead of holding it in memory [default: when it does not
    /// fit]
    #[arg(long)]
    pub stream: bool,
    /// Device memory to use, in bytes: larger data is streamed through two buffers (double buffering)
    /// [default: host memory for a software adapter; for hardware, smaller chunks after out-of-memory]
    #[arg(long, value_name = "BYTES", conflicts_with = "is_virtual", value_parser = clap::value_parser!(u64).range(1..))]
    pub device_memory: Option<u64>,
}

/// Checkpoints.
#[derive(Args)]
#[command(next_help_heading = "Checkpoints")]
pub struct CheckpointArguments {
    /// Write checkpoints to this directory, atomically and with checksums
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// Write a checkpoint every N updates
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: Option<u64>,
    /// Write a checkpoint every S seconds [default: 60, without --checkpoint-every]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub checkpoint_seconds: Option<f64>,
    /// Keep the last K checkpoints of every optimizer
    #[arg(long = "keep-last", visible_alias = "keep", value_name = "K", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// Resume from the latest checkpoint in the directory (bit-exact), or start a new run if there is none. More
    /// --epochs or --steps extend the run if the learning rate does not depend on them; all else must match
    #[arg(long)]
    pub resume: bool,
    /// Directory for all outputs of a run: config.json, log.csv, loss.svg, checkpoints, model.safetensors, report.json and
    /// verification.json
    #[arg(long, value_name = "DIR", conflicts_with_all = ["checkpoint", "log", "plot", "out"])]
    pub run_dir: Option<PathBuf>,
}

/// A time from a hundredth of a second to a year.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    match (0.01..=3.2e7).contains(&seconds) {
        true => Ok(seconds),
        false => Err("must be from 0.01 to 3.2e7".into()),
    }
}

/// Outputs.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArguments {
    /// Write the model of the last optimizer to this file, for `predict`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write a CSV log of the loss to this file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Log every K-th update and the last one [default: 1 for small data, else a thousandth of the updates]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    pub log_every: Option<u64>,
    /// Evaluate the loss over all rows every K updates and after the last one [default: as logged for
    /// small data, else only after the last]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    pub eval_every: Option<u64>,
    /// Plot the loss against updates to this file, .svg or .png
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
