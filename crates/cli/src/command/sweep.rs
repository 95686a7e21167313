//! `sweep`: trains every combination of hyper-parameters at once.

mod draw;
mod grid;
mod report;
mod train;

use super::data::{FILES, FileArguments, Rest};
use super::device::{Description, DeviceArguments};
use super::plot;
use super::rules::Optimizer;
use super::{Failure, output};
use crate::bench::available_memory;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use draw::{Checks, Draw};
use grid::{Dimension, GridArguments};
use rayon::prelude::*;
use report::{Effort, Results, Side};
use std::path::{Path, PathBuf};
use std::time::Instant;
use train::Plan;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::TargetKind;
use wgpu_optim::regression::reference::evaluate;
use wgpu_optim::regression::reference::gradient::Rows;
use wgpu_optim::regression::train::{Batches, Shuffle};
use wgpu_optim::{Loss, Model};

/// Maximum number of models; more are considered a mistake.
const MAX_FITS: usize = 1 << 24;

const EXAMPLE: &str = "\
Example:
  wgpu-optim sweep data.csv --optimizer adam --lr 1e-4:1:41 --beta2 0.9:0.9999:21 --plot losses.svg";

#[derive(Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{FILES}"))]
pub struct Arguments {
    /// Data: `blog` (100 rows of y = 2.5 x + 1), a file in any format of `fit`, or `-` for standard input
    #[arg(default_value = "blog", value_name = "DATA")]
    data: String,
    #[command(flatten)]
    device: DeviceArguments,

    /// Optimizers to train with
    #[arg(long = "optimizer", value_name = "NAME", default_value = "adam")]
    optimizers: Vec<Optimizer>,
    /// Rows of a mini-batch [default: blog 10, file 32]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    batch_size: Option<u64>,
    /// Number of passes over the data
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Row orders in which every setting is trained: the first is the order of the data, the others are reshuffled every
    /// epoch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
    /// Loss function
    #[arg(long, value_name = "LOSS", default_value = "mse", value_parser = losses())]
    loss: Loss,
    #[command(flatten)]
    grid: GridArguments,

    /// Feature columns of a file, separated by commas [default: every column that no other option names]
    #[arg(long, value_name = "NAMES", help_heading = "Data")]
    features: Vec<String>,
    #[command(flatten)]
    file: FileArguments,

    /// Write the loss of every fit to this CSV file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    csv: Option<PathBuf>,
    /// Plot the loss against two hyper-parameters, minimized over all others, to this file, .svg or .png
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    plot: Option<PathBuf>,
    /// Horizontal axis of the plot: a hyper-parameter, or `optimizer`
    #[arg(long, value_name = "NAME", default_value = "lr", requires = "plot", help_heading = "Output")]
    #[arg(value_parser = side)]
    x: Side,
    /// Vertical axis of the plot [default: the first other hyper-parameter with several values]
    #[arg(long, value_name = "NAME", requires = "plot", help_heading = "Output", value_parser = side)]
    y: Option<Side>,
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Losses with one output, with default parameters.
fn losses() -> impl TypedValueParser<Value = Loss> {
    let of_one_output = Loss::ALL.into_iter().filter(|loss| loss.target_kind() != TargetKind::Class);
    PossibleValuesParser::new(of_one_output.map(|loss| loss.name()))
        .map(|name| Loss::named(&name).expect("a possible value"))
}

fn side(name: &str) -> Result<Side, String> {
    Side::named(name).ok_or_else(|| {
        let names = Dimension::ALL.map(Dimension::name).join(", ");
        format!("must be one of {names}, optimizer")
    })
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check_outputs()?;
    let settings = arguments.grid.settings(&arguments.optimizers)?;
    let seeds = arguments.seeds as usize;
    if settings.len().saturating_mul(seeds) > MAX_FITS {
        let (settings, most) = (settings.len(), MAX_FITS);
        let message =
            format!("{settings} settings times {seeds} orders exceed the limit of {most} fits");
        return Err(Failure::Input(message));
    }
    let (problem, model) = arguments.problem()?;
    let orders = arguments.orders(&problem)?;
    let updates = orders[0].updates();
    let draw = Draw::new(settings.len() * seeds, updates);
    let mut checks = Checks::new(&draw, updates * (settings.len() * seeds) as u64);
    arguments.check_memory(&problem, &model, settings.len() * seeds)?;
    let plan = Plan { problem: &problem, model, settings: &settings, orders, draw };
    let (x, aux) = problem.materialize::<f64>()?;
    let loss_of = |params: &[f32]| {
        let params: Vec<f64> = params.iter().map(|&p| f64::from(p)).collect();
        evaluate(&model, Rows { x: &x, aux: &aux }, &params, 0.0).mean_loss()
    };

    let device = arguments.device.open()?;
    let start = Instant::now();
    let params = match &device {
        Some(gpu) => train::on_device(gpu, &plan, &mut checks)?,
        None => train::on_processor(&plan, &mut checks)?,
    };
    let effort =
        Effort { seconds: start.elapsed().as_secs_f64(), updates: updates * params.len() as u64 };
    let losses: Vec<f64> = params.par_iter().map(|params| loss_of(params)).collect();
    let initial_loss = loss_of(&vec![0.0; model.params()]);
    let results =
        Results { problem: &problem, settings: &settings, losses: &losses, orders: seeds, initial_loss };

    let device = Description::of(&device);
    let shown: Vec<Dimension> =
        Dimension::ALL.into_iter().filter(|&d| d == Dimension::Lr || arguments.grid.varies(d)).collect();
    // Independent outputs: one failure does not prevent the others.
    let written = arguments.csv.as_ref().map_or(Ok(()), |path| results.csv(path));
    let drawn = arguments.plot.as_ref().map_or(Ok(()), |path| {
        let map = results.map(arguments.aux())?;
        map.save(path).map_err(Failure::from)
    });
    let printed = match arguments.json {
        true => output::json(&results.json(&device, &effort, &checks)),
        false => output::text(&results.table(&device, &effort, &checks, &shown)),
    };
    let verdict = checks.verdict().and_then(|()| match results.all_diverged() {
        true => Err(Failure::Check("every fit diverged: try lower learning rates".into())),
        false => Ok(()),
    });
    Failure::of_all([written, drawn, printed, verdict].into_iter().filter_map(Result::err).collect())
}

impl Arguments {
    /// Checks before the work that the outputs can be written and overwrite nothing else.
    fn check_outputs(&self) -> Result<(), Failure> {
        let data = Path::new(&self.data).canonicalize().ok();
        let mut seen: Vec<PathBuf> = data.into_iter().collect();
        for (flag, path) in [("--csv", &self.csv), ("--plot", &self.plot)] {
            if let Some(path) = path {
                output::check_file(flag, path, &mut seen)?;
            }
        }
        if let Some(path) = &self.plot {
            plot::check_extension(path)?;
        }
        Ok(())
    }

    fn problem(&self) -> Result<(Problem, Model), Failure> {
        let mut problem = if self.data == "blog" {
            let mut given = self.file.given();
            given.push(("--features", !self.features.is_empty()));
            if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
                let message = format!("{flag} requires a data file, and the data are `blog`");
                return Err(Failure::Input(message));
            }
            Problem::blog()
        } else {
            let (features, labels) = (&self.features[..], self.loss.is_classifier());
            self.file.problem(Path::new(&self.data), Rest { features, labels, ..Rest::default() })?
        };
        let model = problem.model(self.loss, true)?;
        if model.outputs > 1 {
            let message = format!("{} targets: sweep supports one target", model.outputs);
            return Err(Failure::Input(message));
        }
        Ok((problem, model))
    }

    /// The batches of every row order.
    fn orders(&self, problem: &Problem) -> Result<Vec<Batches>, Failure> {
        let rows = problem.rows;
        let default = if self.data == "blog" { 10 } else { 32 };
        let size = self.batch_size.unwrap_or(default.min(rows));
        if size > rows {
            let name = &problem.name;
            let message = format!("--batch-size {size} is more than the {rows} rows of {name}");
            return Err(Failure::Input(message));
        }
        let too_many = || Failure::Input(format!("--epochs {}: too many updates", self.epochs));
        let updates = self.epochs.checked_mul(rows.div_ceil(size)).ok_or_else(too_many)?;
        // One window for all rows.
        let shuffle = |seed| Shuffle { seed, window: rows.next_multiple_of(size) };
        let order = |seed: u32| {
            let shuffle = (seed > 0).then(|| shuffle(seed.into()));
            Batches::Epochs { rows, size, updates, shuffle }
        };
        Ok((0..self.seeds).map(order).collect())
    }

    /// Checks before any allocation that the rows in f32 and f64 and the models fit into memory.
    fn check_memory(&self, problem: &Problem, model: &Model, fits: usize) -> Result<(), Failure> {
        let (rows, numbers) = (problem.rows, (problem.features + problem.aux_columns()) as u64);
        let of_rows = rows.saturating_mul(numbers).saturating_mul(12);
        // Parameters, gradient and at most two moments, and the list entry.
        let of_fits = (fits as u64).saturating_mul(16 * model.params() as u64 + 64);
        let (needed, available) = (of_rows.saturating_add(of_fits), available_memory());
        if needed <= available {
            return Ok(());
        }
        Err(Failure::Input(format!(
            "{fits} fits of {} parameters to {rows} rows need {needed} bytes of memory, and {available} are available",
            model.params()
        )))
    }

    /// The axes of the plot.
    fn aux(&self) -> [Side; 2] {
        let y = self.y.unwrap_or_else(|| {
            let order = [
                Dimension::Beta2,
                Dimension::Beta1,
                Dimension::Momentum,
                Dimension::Alpha,
                Dimension::Eps,
                Dimension::WeightDecay,
                Dimension::Lr,
            ];
            let varies = |d: &Dimension| self.grid.varies(*d) && self.x != Side::Of(*d);
            order.into_iter().find(varies).map_or(Side::Optimizer, Side::Of)
        });
        [self.x, y]
    }
}
