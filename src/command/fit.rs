//! `fit`: train a linear regression.

mod report;

use super::device::{Chosen, Description, DeviceArguments};
use super::log::Log;
use super::plot::{self, Chart, Mark, Series};
use super::progress::Bar;
use super::rules::{Optimizer, RuleArguments};
use super::{Failure, output};
use clap::Args;
use report::Run;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use sysinfo::System;
use wgpu_optim::Rule;
use wgpu_optim::cpu::gradient::{Rows, mean_squared_error};
use wgpu_optim::cpu::synthetic::Synthetic;
use wgpu_optim::gpu::{Gpu, Shape};
use wgpu_optim::regression::Problem;
use wgpu_optim::train::{
    Batches, CpuWorker, GpuData, GpuWorker, Plan, Progress, VerifyEvery, Worker, train,
};
use wgpu_optim::wgpu::DeviceType;

#[derive(Args)]
pub struct Arguments {
    /// The data: `synthetic`, `blog` (100 rows of y = 2.5 x + 1), or a CSV file with a header line
    #[arg(default_value = "synthetic", value_name = "DATA")]
    data: String,
    #[command(flatten)]
    device: DeviceArguments,

    /// The optimizers, one after the other [default: rmsprop adam]
    #[arg(long = "optimizer", value_enum, value_name = "NAME")]
    optimizers: Vec<Optimizer>,
    /// Rows of a mini-batch [default: synthetic 2048, blog 10, file 32]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    batch_size: Option<u64>,
    /// Passes over the data [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Updates, instead of passes
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    #[command(flatten)]
    rule: RuleArguments,

    /// Rows of the synthetic problem [default: 1048576]
    #[arg(long, value_name = "N", help_heading = "Data")]
    samples: Option<u64>,
    /// Features of the synthetic problem [default: 64]
    #[arg(long, value_name = "D", help_heading = "Data")]
    features: Option<u32>,
    /// Standard deviation of the synthetic problem's noise [default: 0.1]
    #[arg(long, value_name = "SIGMA", help_heading = "Data", allow_negative_numbers = true)]
    noise: Option<f64>,
    /// Seed of the synthetic problem [default: 1]
    #[arg(long, value_name = "SEED", help_heading = "Data")]
    seed: Option<u64>,
    /// The column to predict [default: the last one]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    target: Option<String>,
    /// Scale every feature of a file to mean 0 and standard deviation 1
    #[arg(long, help_heading = "Data")]
    standardize: bool,

    /// Write a CSV log of the loss to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    log: Option<PathBuf>,
    /// Log every K-th update, and the last [default: 1 for small data, else a thousandth of the updates]
    #[arg(long, value_name = "K", help_heading = "Output", value_parser = clap::value_parser!(u64).range(1..))]
    log_every: Option<u64>,
    /// Take the loss over all rows every K updates, and after the last [default: as often as logged for
    /// small data, else only after the last]
    #[arg(long, value_name = "K", help_heading = "Output", value_parser = clap::value_parser!(u64).range(1..))]
    eval_every: Option<u64>,
    /// Plot the loss against updates to this file, .svg or .png
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Check every K-th update against f64 [default: as many as cost less than 5 % of the time]
    #[arg(long, value_name = "K", help_heading = "Verification", value_parser = clap::value_parser!(u64).range(1..))]
    verify_every: Option<u64>,
    /// Do not check anything
    #[arg(long, help_heading = "Verification", conflicts_with = "verify_every")]
    no_verify: bool,
}

/// One thing to fit, and how.
struct Fit {
    problem: Problem,
    rules: Vec<Rule>,
    batches: Batches,
    verify: VerifyEvery,
    log_every: u64,
    eval_every: u64,
    plotted: bool,
    stop: Arc<AtomicBool>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check_outputs()?;
    let fit = Fit::new(arguments)?;
    let device = arguments.device.open()?;
    let is_blog = arguments.data == "blog";
    let mut log = arguments.log.as_deref().map(|path| Log::create(path, is_blog)).transpose()?;
    let mut runs = Vec::new();
    let outcome = fit.on(&device, &mut log, &mut runs);

    // What is done is told, whatever became of the rest.
    if !runs.is_empty() {
        let device = Description::of(&device);
        if arguments.json {
            output::json(&report::json(device, &fit.problem, &runs))?;
        } else {
            output::text(&report::table(&device, &fit.problem, &runs))?;
        }
    }
    outcome?;
    if let Some(log) = log {
        log.finish()?;
    }
    if let Some(path) = &arguments.plot {
        fit.draw(path, &runs)?;
    }
    report::verdict(&runs)
}

impl Fit {
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let optimizers = match &arguments.optimizers[..] {
            [] => &[Optimizer::Rmsprop, Optimizer::Adam],
            chosen => chosen,
        };
        let rules = arguments.rule.rules(optimizers)?;
        let problem = arguments.problem()?;
        if problem.rows == 1 {
            output::note("There is one row of data: any model through it fits.");
        }

        let rows = problem.rows;
        let default = match &arguments.data[..] {
            "synthetic" => 2048,
            "blog" => 10,
            _ => 32,
        };
        let size = arguments.batch_size.unwrap_or(default.min(rows));
        if size > rows {
            let message =
                format!("--batch-size {size} is more than the {rows} rows of {}", problem.name);
            return Err(Failure::Input(message));
        }
        let epochs = arguments.epochs.unwrap_or(10);
        let updates = match arguments.steps {
            Some(steps) => steps,
            None => epochs
                .checked_mul(rows.div_ceil(size))
                .ok_or_else(|| Failure::Input(format!("--epochs {epochs}: too many updates")))?,
        };
        let small = problem.is_small();
        let log_every = arguments.log_every.unwrap_or(if small { 1 } else { (updates / 1000).max(1) });
        Ok(Fit {
            problem,
            rules,
            batches: Batches::InOrder { rows, size, updates },
            verify: match (arguments.no_verify, arguments.verify_every) {
                (true, _) => VerifyEvery::Never,
                (false, Some(k)) => VerifyEvery::Updates(k),
                (false, None) => VerifyEvery::Budget,
            },
            log_every,
            eval_every: arguments.eval_every.unwrap_or(if small { log_every } else { 0 }),
            plotted: arguments.plot.is_some(),
            stop: Arc::default(),
        })
    }

    /// Trains with each rule in turn; the data are made once.
    fn on(&self, device: &Chosen, log: &mut Option<Log>, runs: &mut Vec<Run>) -> Result<(), Failure> {
        self.check_memory(device)?;
        let start = vec![0.0; self.problem.features + 1];
        match device {
            Some(gpu) => {
                let max_batch = self.batches.max_rows();
                let data = GpuData::new(gpu, &self.problem, max_batch)?;
                stop_on_signal(&self.stop)?;
                for rule in &self.rules {
                    let mut worker = GpuWorker::new(&data, rule, &start, max_batch)?;
                    runs.push(self.one(rule, &mut worker, log)?);
                }
            }
            None => {
                let (x, y) = self.problem.materialize::<f32>()?;
                stop_on_signal(&self.stop)?;
                for rule in &self.rules {
                    let mut worker = CpuWorker::new((&x, &y), rule, &start)?;
                    runs.push(self.one(rule, &mut worker, log)?);
                }
            }
        }
        Ok(())
    }

    /// The rows are held in the host's memory unless there is a GPU that has its own: that one says itself
    /// when it has no more.
    fn check_memory(&self, device: &Chosen) -> Result<(), Failure> {
        let software = |gpu: &Gpu| gpu.info.device_type == DeviceType::Cpu;
        if !device.as_ref().is_none_or(software) {
            return Ok(());
        }
        let Problem { rows, features, .. } = self.problem;
        let needed = u128::from(rows) * (features as u128 + 1) * 4;
        let mut system = System::new();
        system.refresh_memory();
        let available = system.available_memory();
        // A system that does not say is not one without memory.
        if available > 0 && needed > u128::from(available) {
            return Err(Failure::Input(format!(
                "{rows} rows × {features} features need {:.1} GB of memory, and {:.1} GB are available",
                needed as f64 / 1e9,
                available as f64 / 1e9,
            )));
        }
        Ok(())
    }

    fn one(&self, rule: &Rule, worker: &mut dyn Worker, log: &mut Option<Log>) -> Result<Run, Failure> {
        let name = rule.name();
        // Where the data are small, the loss over all rows comes from the parameters after each update.
        let trace = self.problem.is_small();
        let rows = trace.then(|| self.problem.materialize::<f64>()).transpose()?;
        let plan = Plan {
            rule: *rule,
            batches: self.batches.clone(),
            verify: self.verify,
            eval_every: if trace { 0 } else { self.eval_every },
            trace,
        };
        let mut bar = Bar::new(name, self.batches.updates());
        let mut points = Vec::new();
        let mut observe = |progress: Progress| {
            let update = progress.update;
            bar.set(update, progress.batch_loss, progress.rows_per_second);
            let traced = match (&rows, progress.params) {
                (Some((x, y)), Some(params)) if update.is_multiple_of(self.eval_every) => {
                    let rows = Rows { x, y };
                    Some(mean_squared_error(rows, params, &mut vec![0.0; params.len()]))
                }
                _ => None,
            };
            let loss = traced.or(progress.loss);
            let due = update.is_multiple_of(self.log_every);
            // One quantity to a plot: the loss over all rows if it is asked for, else the batch's.
            let point = if self.eval_every > 0 { loss } else { due.then_some(progress.batch_loss) };
            if self.plotted {
                points.extend(point.map(|loss| (update as f64, loss)));
            }
            match log {
                Some(log) if due || loss.is_some() => log.add(name, &progress, loss),
                _ => Ok(()),
            }
        };
        let report = train(&self.problem, &plan, worker, &self.stop, &mut observe)
            .map_err(|error| Failure::from(error).of(name));
        bar.finish();
        Ok(Run::new(rule, &self.problem, report?, points))
    }

    fn draw(&self, path: &Path, runs: &[Run]) -> Result<(), Failure> {
        let every_row = self.eval_every > 0;
        let series = runs.iter().map(|run| Series {
            label: run.optimizer.into(),
            mark: Mark::Line,
            points: run.points.clone(),
        });
        let Problem { name, rows, features, .. } = &self.problem;
        let chart = Chart {
            title: format!("{name}: {rows} rows × {features} features"),
            x_label: "updates".into(),
            y_label: if every_row { "MSE over all rows" } else { "MSE of the batch" }.into(),
            log_y: true,
            series: series.collect(),
        };
        Ok(chart.save(path)?)
    }
}

impl Arguments {
    /// Refuses, ahead of a long run, what could not be written after it or would overwrite something else.
    fn check_outputs(&self) -> Result<(), Failure> {
        let outputs = [("--log", &self.log), ("--plot", &self.plot)];
        let data = Path::new(&self.data).canonicalize().ok();
        let mut seen: Vec<PathBuf> = data.into_iter().collect();
        for (flag, path) in outputs {
            if let Some(path) = path {
                output::check_file(flag, path, &mut seen)?;
            }
        }
        if let Some(path) = &self.plot {
            plot::check_extension(path)?;
        }
        Ok(())
    }

    fn problem(&self) -> Result<Problem, Failure> {
        let synthetic = [
            ("--samples", self.samples.is_some()),
            ("--features", self.features.is_some()),
            ("--noise", self.noise.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        let file = [("--target", self.target.is_some()), ("--standardize", self.standardize)];
        let (wrong, of): (&[_], _) = match &self.data[..] {
            "synthetic" => (&file, "a file"),
            "blog" => (&[&synthetic[..], &file].concat(), "synthetic data or a file"),
            _ => (&synthetic, "synthetic data"),
        };
        if let Some((flag, _)) = wrong.iter().find(|(_, given)| *given) {
            return Err(Failure::Input(format!(
                "{flag} goes with {of}, and the data are `{}`",
                self.data
            )));
        }
        match &self.data[..] {
            "blog" => Ok(Problem::blog()),
            "synthetic" => {
                let noise = self.noise.unwrap_or(0.1);
                if !(0.0..=Synthetic::MAX_NOISE).contains(&noise) {
                    let most = Synthetic::MAX_NOISE;
                    return Err(Failure::Input(format!(
                        "--noise is {noise}, and must be from 0 to {most}"
                    )));
                }
                let rows = self.samples.unwrap_or(1 << 20);
                let features = self.features.unwrap_or(64);
                if features > Shape::MAX_FEATURES {
                    let most = Shape::MAX_FEATURES;
                    return Err(Failure::Input(format!(
                        "--features is {features}, and must be up to {most}"
                    )));
                }
                Ok(Problem::synthetic(rows, features, noise, self.seed.unwrap_or(1))?)
            }
            path => {
                let mut problem = Problem::csv(Path::new(path), self.target.as_deref())?;
                if self.standardize {
                    problem.standardize();
                }
                Ok(problem)
            }
        }
    }
}

/// Where nothing is trained yet, Ctrl-C just ends the program. From here on the first one ends the run after its update, the second one at once.
fn stop_on_signal(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let stop = stop.clone();
    let handler = move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Input(format!("signals: {error}")))
}
