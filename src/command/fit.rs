//! `fit`: train a regression.

mod arguments;
mod placement;
mod report;
mod setup;

use super::device::{Chosen, Description};
use super::log::Log;
use super::plot::{self, Chart, Mark, Series};
use super::progress::Bar;
use super::rules::Optimizer;
use super::{Failure, output};
pub use arguments::Arguments;
use report::Run;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wgpu_optim::Model;
use wgpu_optim::cpu;
use wgpu_optim::cpu::gradient::Rows;
use wgpu_optim::regression::Problem;
use wgpu_optim::train::{
    Batches, CpuWorker, EpochsWorker, GpuWorker, HostRows, Plan, Progress, Recipe, VerifyEvery, Worker,
    train,
};

/// One thing to fit, and how.
struct Fit<'a> {
    arguments: &'a Arguments,
    problem: Problem,
    model: Model,
    plans: Vec<Plan>,
    log_every: u64,
    eval_every: u64,
    stop: Arc<AtomicBool>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check_outputs()?;
    let fit = Fit::new(arguments)?;
    let device = arguments.device.open()?;
    let outputs = &arguments.output;
    let is_blog = arguments.data == "blog" && fit.model.params() == 2;
    let mut log = outputs.log.as_deref().map(|path| Log::create(path, is_blog)).transpose()?;
    let mut runs = Vec::new();
    let outcome = fit.on(&device, &mut log, &mut runs);

    // What is done is told, whatever became of the rest.
    if !runs.is_empty() {
        let device = Description::of(&device);
        if outputs.json {
            output::json(&report::json(device, &fit.problem, &fit.model, &runs))?;
        } else {
            output::text(&report::table(&device, &fit.problem, &fit.model, &runs))?;
        }
    }
    outcome?;
    if let Some(log) = log {
        log.finish()?;
    }
    if let Some(path) = &outputs.plot {
        fit.draw(path, &runs)?;
    }
    if let (Some(path), Some(run)) = (&outputs.out, runs.last()) {
        run.saved(&fit.problem, &fit.model, arguments)
            .save(path)
            .map_err(|error| Failure::Input(error.to_string()))?;
    }
    report::verdict(&runs)
}

impl<'a> Fit<'a> {
    fn new(arguments: &'a Arguments) -> Result<Self, Failure> {
        let optimizers = match &arguments.optimizers[..] {
            [] => &[Optimizer::Rmsprop, Optimizer::Adam],
            chosen => chosen,
        };
        let mut rule_arguments = arguments.rule.clone();
        let penalty = arguments.model.penalty(rule_arguments.alpha_mut())?;
        let rules = rule_arguments.rules(optimizers)?;
        let (mut problem, model) = arguments.problem()?;
        if problem.rows == 1 {
            output::note("There is one row of data: any model through it fits.");
        }
        let training = &arguments.training;
        let stopping = training.stopping(&mut problem)?;
        let rows = problem.rows - stopping.map_or(0, |stopping| stopping.validation_rows);
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
        let log_every =
            arguments.output.log_every.unwrap_or(if small { 1 } else { (updates / 1000).max(1) });
        let eval_every = arguments.output.eval_every.unwrap_or(if small { log_every } else { 0 });
        // Where the data are small, the loss over all rows comes from the parameters after each update.
        let trace = small && !problem.is_streamed();
        let shuffle = training.shuffle(&model)?;
        let batches = Batches::Epochs { rows, size, updates, shuffle };
        let plan = |rule| {
            let recipe = Recipe { model, rule, penalty, average: training.average };
            recipe.validate()?;
            Ok(Plan {
                recipe,
                learning_rate: training.schedule(&rule, updates, batches.epoch())?,
                batches: batches.clone(),
                rows,
                stopping,
                verify: match (arguments.no_verify, arguments.verify_every) {
                    (true, _) => VerifyEvery::Never,
                    (false, Some(k)) => VerifyEvery::Updates(k),
                    (false, None) => VerifyEvery::Budget,
                },
                eval_every: if trace { 0 } else { eval_every },
                trace,
            })
        };
        let plans = rules.into_iter().map(plan).collect::<Result<_, Failure>>()?;
        Ok(Fit { arguments, problem, model, plans, log_every, eval_every, stop: Arc::default() })
    }

    /// Trains by each plan in turn; the data are made once.
    fn on(&self, device: &Chosen, log: &mut Option<Log>, runs: &mut Vec<Run>) -> Result<(), Failure> {
        let start = vec![0.0; self.model.params()];
        let batches = &self.plans[0].batches;
        match device {
            Some(gpu) => {
                let data = self.on_gpu(gpu, batches)?;
                stop_on_signal(&self.stop)?;
                for plan in &self.plans {
                    let mut worker: Box<dyn Worker> = match self.is_small() {
                        true => Box::new(EpochsWorker::new(&data, &plan.recipe, &start, batches)?),
                        false => Box::new(GpuWorker::new(&data, &plan.recipe, &start, batches)?),
                    };
                    let before = data.stream_times();
                    let run = self.one(plan, &mut *worker, log)?;
                    let run = run.streamed(before, data.stream_times());
                    runs.push(run.submitted(data.take_submissions()));
                }
            }
            None => {
                let on_demand = self.arguments.synthetic.is_virtual || self.problem.is_streamed();
                let held = if on_demand { None } else { Some(self.in_memory()?) };
                stop_on_signal(&self.stop)?;
                for plan in &self.plans {
                    let rows = match &held {
                        Some((x, sides)) => HostRows::Resident { x, sides },
                        None => HostRows::OnDemand(&self.problem),
                    };
                    let mut worker = CpuWorker::<f32>::new(rows, &plan.recipe, &start)?;
                    runs.push(self.one(plan, &mut worker, log)?);
                }
            }
        }
        Ok(())
    }

    /// Whether whole epochs go into one dispatch, whatever else is asked for: the same bits come of a problem
    /// wherever its rows are.
    fn is_small(&self) -> bool {
        EpochsWorker::fits(&self.problem, &self.plans[0].recipe, &self.plans[0].batches)
    }

    fn one(&self, plan: &Plan, worker: &mut dyn Worker, log: &mut Option<Log>) -> Result<Run, Failure> {
        let name = plan.recipe.rule.name();
        let rows = plan.trace.then(|| self.problem.materialize::<f64>()).transpose()?;
        let mut bar = Bar::new(name, plan.batches.updates());
        let mut points = Vec::new();
        let mut observe = |progress: Progress| {
            let update = progress.update;
            bar.set(update, progress.batch_loss, progress.rows_per_second);
            let traced = match (&rows, progress.params) {
                (Some((x, sides)), Some(params)) if update.is_multiple_of(self.eval_every) => {
                    let rows = Rows { x, sides }.part(&self.model, 0, plan.rows as usize);
                    Some(cpu::evaluate(&self.model, rows, params, 0.0).mean_loss())
                }
                _ => None,
            };
            let loss = traced.or(progress.loss);
            let due = update.is_multiple_of(self.log_every);
            // One quantity to a plot: the loss over all rows if it is asked for, else the batch's.
            let point = if self.eval_every > 0 { loss } else { due.then_some(progress.batch_loss) };
            if self.arguments.output.plot.is_some() {
                points.extend(point.map(|loss| (update as f64, loss)));
            }
            match log {
                Some(log) if due || loss.is_some() => log.add(name, &progress, loss),
                _ => Ok(()),
            }
        };
        let report = train(&self.problem, plan, worker, &self.stop, &mut observe)
            .map_err(|error| Failure::from(error).of(name));
        bar.finish();
        Run::new(plan, &self.problem, report?, points)
    }

    fn draw(&self, path: &Path, runs: &[Run]) -> Result<(), Failure> {
        let every_row = self.eval_every > 0;
        let series = runs.iter().map(|run| Series {
            label: run.optimizer.into(),
            mark: Mark::Line,
            points: run.points.clone(),
        });
        let loss = report::loss_name(&self.model.loss);
        let Problem { name, rows, features, .. } = &self.problem;
        let chart = Chart {
            title: format!("{name}: {rows} rows × {features} features"),
            x_label: "updates".into(),
            y_label: format!("{loss} {}", if every_row { "over all rows" } else { "of the batch" }),
            log_x: false,
            log_y: true,
            series: series.collect(),
        };
        Ok(chart.save(path)?)
    }
}

impl Arguments {
    /// Refuses, ahead of a long run, what could not be written after it or would overwrite something else.
    fn check_outputs(&self) -> Result<(), Failure> {
        let to = &self.output;
        let outputs = [("--log", &to.log), ("--plot", &to.plot), ("--out", &to.out)];
        let mut seen: Vec<PathBuf> = [Path::new(&self.data)]
            .into_iter()
            .chain(self.file.y.as_deref())
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        for (flag, path) in outputs {
            if let Some(path) = path {
                output::check_file(flag, path, &mut seen)?;
            }
        }
        if let Some(path) = &to.plot {
            plot::check_extension(path)?;
        }
        Ok(())
    }
}

/// Where nothing is trained yet, Ctrl-C just ends the program. From here on the first one ends the run after
/// its update, the second one at once.
fn stop_on_signal(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let stop = stop.clone();
    let handler = move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Input(format!("signals: {error}")))
}
