//! What a fit can be asked for.

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

    /// The optimizers, one after the other [default: rmsprop adam]
    #[arg(long = "optimizer", value_enum, value_name = "NAME")]
    pub optimizers: Vec<Optimizer>,
    /// Rows of a mini-batch [default: synthetic 2048, blog 10, file 32]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_size: Option<u64>,
    /// Passes over the data [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: Option<u64>,
    /// Updates, instead of passes
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
    pub keeping: KeepingArguments,
    #[command(flatten)]
    pub output: OutputArguments,

    /// Check every K-th update against f64 [default: as many as cost less than 5 % of the time]
    #[arg(long, value_name = "K", help_heading = "Verification", value_parser = clap::value_parser!(u64).range(1..))]
    pub verify_every: Option<u64>,
    /// Do not check anything
    #[arg(long, help_heading = "Verification", conflicts_with = "verify_every")]
    pub no_verify: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum LossName {
    /// Mean of (z − y)²
    Mse,
    /// Half of it, as scikit-learn has it
    SquaredError,
    /// Squared near the target, linear beyond --epsilon
    Huber,
    /// The --quantile of the target
    Quantile,
    /// Two classes
    #[value(alias = "log_loss")]
    Logistic,
    /// Counts
    Poisson,
    /// Any number of classes
    Softmax,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum PenaltyName {
    None,
    /// Squares of the weights: ridge
    L2,
    /// Their absolute values: lasso
    L1,
    ElasticNet,
}

/// What is fitted.
#[derive(Args)]
#[command(next_help_heading = "Model (scikit-learn's names)")]
pub struct ModelArguments {
    /// What a prediction costs
    #[arg(long, value_enum, value_name = "LOSS", default_value_t = LossName::Mse)]
    pub loss: LossName,
    /// Where the Huber loss becomes linear, in units of the target [default: 0.1]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub epsilon: Option<f64>,
    /// Which quantile to fit [default: 0.5]
    #[arg(long, value_name = "Q", allow_negative_numbers = true)]
    pub quantile: Option<f64>,
    /// Whether to train intercepts, which are not penalised
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, default_value_t = true, action = clap::ArgAction::Set)]
    pub fit_intercept: bool,
    /// What large weights cost; its strength is --alpha (RMSprop's is then --rmsprop-alpha)
    #[arg(long, value_enum, value_name = "NAME", default_value_t = PenaltyName::None)]
    pub penalty: PenaltyName,
    /// The absolute values' share of the elastic net [default: 0.15]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub l1_ratio: Option<f64>,
    /// RMSprop's --alpha beside a penalty
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    pub rmsprop_alpha: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum RateName {
    Constant,
    /// lr / t^--power-t
    InvScaling,
    /// Divided by 5 whenever nothing gets better
    Adaptive,
    /// Falls in a straight line to --final-factor of itself
    Linear,
    /// Falls in half a cosine to --final-factor of itself
    Cosine,
    /// Multiplied by --gamma every --step-size updates
    Step,
    /// Multiplied by --gamma every epoch
    Exponential,
}

/// How it is trained.
#[derive(Args)]
#[command(next_help_heading = "Training")]
pub struct TrainingArguments {
    /// How the learning rate goes on from --lr
    #[arg(long, value_enum, value_name = "SCHEDULE", default_value_t = RateName::Constant)]
    pub learning_rate: RateName,
    /// Exponent of `invscaling` [default: 0.25]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub power_t: Option<f64>,
    /// What `linear` and `cosine` end at, as a share of --lr [default: 0]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub final_factor: Option<f64>,
    /// Factor of `step` and `exponential` [default: 0.1, exponential 0.9]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub gamma: Option<f64>,
    /// Updates from one factor of `step` to the next [default: a third of all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub step_size: Option<u64>,
    /// Updates in which the learning rate rises from 0 first [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub warmup: u64,
    /// Another order of the rows in every epoch, made from --shuffle-seed
    #[arg(long)]
    pub shuffle: bool,
    /// Which orders --shuffle makes, and which rows are held out [default: 0]
    #[arg(long, value_name = "SEED", default_value_t = 0, hide_default_value = true)]
    pub shuffle_seed: u64,
    /// Hold rows out, and stop when their score gets no better
    #[arg(long)]
    pub early_stopping: bool,
    /// The share of rows that --early-stopping holds out [default: 0.1]
    #[arg(long, value_name = "SHARE", requires = "early_stopping", allow_negative_numbers = true)]
    pub validation_fraction: Option<f64>,
    /// Stop when an epoch is not better by so much; without --early-stopping by the training loss
    /// [default: 1e-3 with --early-stopping, else never]
    #[arg(long, value_name = "TOL", allow_negative_numbers = true)]
    pub tol: Option<f64>,
    /// How many epochs in a row may be no better [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub n_iter_no_change: Option<u32>,
    /// Take the moving average of the parameters with this decay for the result
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    pub average: Option<f64>,
    /// Skip updates that come to something that is not finite, and stop after K of them in a row
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
    /// Share of ones among the targets of logistic regression [default: as it comes]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub balance: Option<f64>,
    /// Which problem it is [default: 1]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Make the rows where they are needed and never store them: the same bits, and no memory
    #[arg(long = "virtual")]
    pub is_virtual: bool,
}

/// Where rows are while they are trained on.
#[derive(Args)]
#[command(next_help_heading = "Memory")]
pub struct PlacementArguments {
    /// Read the file again in every epoch instead of holding its rows in memory [default: where they do not
    /// fit]
    #[arg(long)]
    pub stream: bool,
    /// Bytes of the device's memory that may be taken: rows that do not fit take turns there in two chunks
    /// [default: what a software adapter's host has; of hardware what it gives]
    #[arg(long, value_name = "BYTES", conflicts_with = "is_virtual", value_parser = clap::value_parser!(u64).range(1..))]
    pub device_memory: Option<u64>,
}

/// How a run is kept from being lost.
#[derive(Args)]
#[command(next_help_heading = "Checkpoints")]
pub struct KeepingArguments {
    /// Save the run in this folder as it goes: what is there is always whole, and every bit of it is checked
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// Save it every N updates
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: Option<u64>,
    /// Save it every S seconds [default: 60, if not by updates]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub checkpoint_seconds: Option<f64>,
    /// Keep the last K checkpoints of every optimizer
    #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// Go on with the run in the folder, to the bits that it would have come to; where there is none it begins. More
    /// --epochs or --steps make it longer, if the learning rate does not depend on them; all else must be as it was
    #[arg(long)]
    pub resume: bool,
    /// A folder for all of a run: config.json, log.csv, loss.svg, checkpoints, model.safetensors, report.json and
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

/// Where results go.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArguments {
    /// Write the model of the last optimizer to this file, for `predict`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write a CSV log of the loss to this file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Log every K-th update, and the last [default: 1 for small data, else a thousandth of the updates]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    pub log_every: Option<u64>,
    /// Take the loss over all rows every K updates, and after the last [default: as often as logged for
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
