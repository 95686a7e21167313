//! `fit`: train a regression.

mod arguments;
mod checkpoints;
mod data;
mod events;
mod metrics;
mod outputs;
mod placement;
mod report;
mod runs;
mod session;
mod setup;

use super::device::Description;
use super::plot::{Chart, Mark, Series};
use super::signals::Signals;
use super::{Failure, output};
pub use arguments::Arguments;
use outputs::Outputs;
use report::Run;
use session::Session;
use std::path::Path;
use wgpu_optim::Model;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::train::{Batches, Recipe, TrainPlan, VerifyEvery};

/// A fit: the resolved arguments.
struct Fit<'a> {
    arguments: &'a Arguments,
    problem: Problem,
    model: Model,
    plans: Vec<TrainPlan>,
    log_every: u64,
    eval_every: u64,
    plots: bool,
    signals: Signals,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let outputs = Outputs::of(arguments)?;
    let fit = Fit::new(arguments, &outputs)?;
    let device = arguments.device.open().map_err(|failure| fit.without_device(failure))?;
    let description = Description::of(&device);
    let mut session = Session::open(&fit, &outputs, &description)?;
    let outcome = fit.on(device, &mut session);
    session.close(&fit, &outputs, description, outcome)
}

impl<'a> Fit<'a> {
    fn new(arguments: &'a Arguments, outputs: &Outputs) -> Result<Self, Failure> {
        let mut rule_arguments = arguments.rule.clone();
        let penalty = arguments.model.penalty(rule_arguments.alpha_mut())?;
        let rules = rule_arguments.rules(&arguments.optimizers)?;
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
            Ok(TrainPlan {
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
                max_skips: training.skip_nonfinite.unwrap_or(0),
            })
        };
        let plans = rules.into_iter().map(plan).collect::<Result<_, Failure>>()?;
        let (plots, signals) = (outputs.plot.is_some(), Signals::default());
        Ok(Fit { arguments, problem, model, plans, log_every, eval_every, plots, signals })
    }

    fn draw(&self, path: &Path, runs: &[Run]) -> Result<(), Failure> {
        let every_row = self.eval_every > 0;
        let series = runs.iter().map(|run| Series {
            label: run.optimizer.into(),
            mark: Mark::Line,
            points: run.points.clone(),
        });
        let loss = self.model.loss.title();
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
