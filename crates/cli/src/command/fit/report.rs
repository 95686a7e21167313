//! The report of a fit.

use super::Arguments;
use super::data::{Data, columns};
use super::metrics::Metrics;
use super::placement::MemoryReport;
use crate::command::device::Description;
use crate::command::{Failure, output};
use serde::Serialize;
use serde_json::{Value, json};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::TargetKind;
use wgpu_optim::regression::metrics::roc_auc;
use wgpu_optim::regression::model_file::{Precision, SavedModel};
use wgpu_optim::regression::train::{
    Basis, Best, Criterion, Outcome, StreamTimes, Submissions, TrainPlan, Undefined,
};
use wgpu_optim::regression::verification::Verification;
use wgpu_optim::{Batch, Loss, Model};

/// The most rows of an AUC: it is exact, and sorts them.
const AUC_ROWS: u64 = 1 << 20;
/// Numbers of X in memory for it.
const AUC_NUMBERS: u64 = 1 << 20;

/// One optimizer's run.
#[derive(Serialize)]
pub struct Run {
    pub optimizer: &'static str,
    updates: u64,
    /// Updates that were skipped because their result is not finite.
    skipped: u64,
    /// Whether early stopping ended the run.
    stopped_early: bool,
    initial_loss: f64,
    loss: f64,
    /// The lowest loss over all rows that was evaluated, and its update.
    best: Option<Best>,
    /// The loss and the penalty.
    objective: f64,
    /// On the rows that were trained on.
    metrics: Metrics,
    /// On the held-out rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    early_stopping: Option<Stopping>,
    seconds: f64,
    verify_seconds: f64,
    rows_per_second: f64,
    /// Bytes of X read a second, counted once an update.
    x_gb_per_second: f64,
    /// A list for each of several outputs.
    weights: Value,
    /// A list for several outputs; null without intercept.
    intercept: Value,
    /// Euclidean distance of weights and intercept to the true ones.
    distance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streaming: Option<Streaming>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submissions: Option<Submitted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<MemoryReport>,
    verification: Option<Verification>,
    /// (update, loss) for the plot.
    #[serde(skip)]
    pub points: Vec<(f64, f64)>,
    #[serde(skip)]
    params: Vec<f64>,
}

/// The criterion of early stopping.
#[derive(Serialize)]
struct Stopping {
    criterion: Criterion,
    /// The name of the score of the held-out rows, if there are any.
    score: Option<&'static str>,
    /// Why the score is not the criterion.
    undefined: Option<Undefined>,
}

impl Stopping {
    fn new(loss: &Loss, basis: Basis, holds_out: bool) -> Self {
        let score = match loss.target_kind() {
            TargetKind::Binary | TargetKind::Class => "accuracy",
            TargetKind::Count => "d2",
            TargetKind::Real => "r2",
        };
        let Basis { criterion, undefined } = basis;
        Stopping { criterion, score: holds_out.then_some(score), undefined }
    }

    /// A note if the score is not the criterion.
    fn note(&self) -> Option<String> {
        let (reason, score) = (self.undefined?, self.score?);
        let instead = match self.criterion {
            Criterion::Score => return None,
            Criterion::HeldOutLoss => "the loss of the held-out rows",
            Criterion::TrainingLoss => "the training loss",
        };
        Some(format!(
            "Early stopping uses {instead} instead of the score of the held-out rows: {score} is undefined, as {reason}."
        ))
    }
}

/// Streaming of rows to the device.
#[derive(Serialize)]
struct Streaming {
    gb: f64,
    load_seconds: f64,
    /// Share of the loading time during which the device computed.
    overlap: f64,
    wait_seconds: f64,
}

impl From<&StreamTimes> for Streaming {
    fn from(times: &StreamTimes) -> Self {
        let (load, exposed) = (times.loading.as_secs_f64(), times.exposed.as_secs_f64());
        Streaming {
            gb: times.bytes as f64 / 1e9,
            load_seconds: load,
            overlap: if load > 0.0 { 1.0 - exposed / load } else { 0.0 },
            wait_seconds: times.waiting.as_secs_f64(),
        }
    }
}

/// Submissions to the device.
#[derive(Serialize)]
struct Submitted {
    count: u64,
    longest_seconds: f64,
    budget_seconds: f64,
}

impl From<Submissions> for Submitted {
    fn from(Submissions { count, longest }: Submissions) -> Self {
        let (longest_seconds, budget_seconds) =
            (longest.as_secs_f64(), Submissions::BUDGET.as_secs_f64());
        Submitted { count, longest_seconds, budget_seconds }
    }
}

#[derive(Serialize)]
pub struct Json<'a> {
    device: Description,
    data: Data<'a>,
    model: &'a Model,
    runs: &'a [Run],
}

/// The area under the ROC curve of the first rows.
fn auc(problem: &Problem, model: &Model, params: &[f64], rows: u64) -> Result<Option<f64>, Failure> {
    let rows = rows.min(AUC_ROWS);
    let aux_columns = model.aux_columns();
    let (weights, intercept) = params.split_at(model.features);
    let (mut scores, mut y, mut of_rows) =
        (Vec::new(), Vec::new(), model.weight_at().map(|_| Vec::new()));
    // So many at a time that they fit where one batch did.
    let part = (AUC_NUMBERS / model.features as u64).max(1);
    for first in (0..rows).step_by(part as usize) {
        let (x, aux) = problem.rows_of::<f32>(&Batch::new(first, part.min(rows - first)))?;
        for (x, aux_row) in x.chunks(model.features).zip(aux.chunks(aux_columns)) {
            let dot: f64 = x.iter().zip(weights).map(|(&x, w)| f64::from(x) * w).sum();
            let offset = model.offset_at().map_or(0.0, |at| f64::from(aux_row[at]));
            scores.push(dot + intercept.first().unwrap_or(&0.0) + offset);
            y.push(f64::from(aux_row[0]));
            if let (Some(of_rows), Some(at)) = (&mut of_rows, model.weight_at()) {
                of_rows.push(f64::from(aux_row[at]));
            }
        }
    }
    // A single class has no AUC.
    Ok(roc_auc(&y, &scores, of_rows.as_deref()).ok())
}

/// Euclidean distance; for a softmax without the mean over the classes, which changes no probability.
fn distance(model: &Model, truth: &[f64], params: &[f64]) -> f64 {
    let mut differences: Vec<f64> = truth.iter().zip(params).map(|(a, b)| a - b).collect();
    if matches!(model.loss, Loss::Softmax { .. }) {
        let (weights, intercepts) = differences.split_at_mut(model.weights());
        for (part, stride) in [(weights, model.features), (intercepts, 1)] {
            for j in 0..stride.min(part.len()) {
                let mean = part.iter().skip(j).step_by(stride).sum::<f64>() / model.outputs as f64;
                part.iter_mut().skip(j).step_by(stride).for_each(|x| *x -= mean);
            }
        }
    }
    differences.iter().map(|x| x * x).sum::<f64>().sqrt()
}

impl Run {
    pub fn new(plan: &TrainPlan, problem: &Problem, outcome: Outcome, points: Vec<(f64, f64)>) -> Self {
        let Outcome { report, placement, streaming, submissions } = outcome;
        let model = &plan.recipe.model;
        let seconds = report.training.as_secs_f64();
        // Updates that were checked are timed with the checks.
        let rows_per_second = if seconds > 0.0 { report.timed_rows as f64 / seconds } else { f64::NAN };
        let truth = problem.truth.as_ref().filter(|truth| truth.len() == report.params.len());
        let distance = truth.map(|truth| distance(model, truth, &report.params));
        let mut measured = Metrics::new(&model.loss, &report.evaluation);
        if model.loss.target_kind() == TargetKind::Binary {
            // A missing AUC does not lose the other results.
            let auc = match auc(problem, model, &report.params, plan.rows) {
                Ok(auc) => auc.ok_or("all rows are of one class"),
                Err(failure) => {
                    output::note(&format!("warning: {}: no AUC: {failure}", plan.recipe.rule.name()));
                    Err("the rows could not be read again")
                }
            };
            measured.add("auc", auc);
        }
        let (weights, intercepts) = report.params.split_at(model.weights());
        let (weights, intercept) = match model.outputs {
            1 => (json!(weights), json!(intercepts.first())),
            _ => {
                let rows: Vec<&[f64]> = weights.chunks(model.features).collect();
                (json!(rows), if model.intercept { json!(intercepts) } else { Value::Null })
            }
        };
        Run {
            optimizer: plan.recipe.rule.name(),
            updates: report.updates,
            skipped: report.skipped,
            stopped_early: report.stopped_early,
            initial_loss: report.initial_loss,
            loss: report.loss,
            best: report.best,
            objective: report.objective,
            metrics: measured,
            early_stopping: report
                .stopping
                .map(|basis| Stopping::new(&model.loss, basis, report.validation.is_some())),
            validation: report.validation.map(|on| Metrics::new(&model.loss, &on)),
            seconds,
            verify_seconds: report.verifying.as_secs_f64(),
            rows_per_second,
            x_gb_per_second: rows_per_second * problem.features as f64 * 4.0 / 1e9,
            weights,
            intercept,
            distance,
            streaming: streaming.as_ref().map(Streaming::from),
            submissions: submissions.map(Submitted::from),
            memory: placement.as_ref().map(MemoryReport::from),
            verification: report.verification,
            points,
            params: report.params,
        }
    }

    /// The model for a file.
    pub fn saved(&self, problem: &Problem, model: &Model, arguments: &Arguments) -> SavedModel {
        let (coef, intercept) = self.params.split_at(model.weights());
        let named = |names: &[String], count: usize, prefix: &str| match names.len() {
            len if len == count => names.to_vec(),
            _ if count == 1 && prefix == "y" => vec!["y".into()],
            _ => (1..=count).map(|i| format!("{prefix}{i}")).collect(),
        };
        let training = [
            ("optimizer", self.optimizer.to_string()),
            ("data", arguments.data.clone()),
            ("updates", self.updates.to_string()),
            ("loss", self.loss.to_string()),
            ("version", env!("CARGO_PKG_VERSION").into()),
        ];
        SavedModel {
            model: *model,
            coef: coef.into(),
            intercept: intercept.into(),
            precision: Precision::Single,
            names: named(&problem.names, problem.features, "x"),
            target_names: named(&problem.target_names, model.targets(), "y"),
            classes: problem.classes.clone(),
            class_names: problem.class_names.clone(),
            columns: problem.file.as_ref().and_then(|file| file.places.clone()),
            scaling: problem.scaling.clone(),
            training: training.map(|(key, value)| (key.into(), value)).into(),
        }
    }

    /// A note on early stopping, if there is one.
    pub fn note(&self) -> Option<String> {
        self.early_stopping.as_ref()?.note()
    }

    fn verified(&self) -> String {
        match &self.verification {
            None => "off".into(),
            Some(report) => {
                // Terms that no check covered are not ok.
                let verdict = match (report.pass, report.terms_not_seen.is_empty()) {
                    (false, _) => "FAIL",
                    (true, true) => "ok",
                    (true, false) => "ok in part",
                };
                let worst = report.worst.as_ref().map_or(String::new(), |worst| {
                    format!(" ({}[{}], update {})", worst.quantity, worst.element, worst.update)
                });
                let (checks, ratio) = (report.checks, report.worst_ratio);
                let plural = if checks == 1 { "" } else { "s" };
                format!("{verdict}: {checks} check{plural}, worst {ratio:.2} of bound{worst}")
            }
        }
    }

    /// The verified updates, and their terms.
    fn coverage(&self) -> String {
        let name = self.optimizer;
        let Some(report) = &self.verification else {
            return format!("{name}: nothing was verified (--no-verify)");
        };
        let (checks, listed) = (report.checks as usize, &report.updates);
        let numbers =
            |updates: &[u64]| updates.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let updates = match &listed[..] {
            [] => return format!("{name}: no update was verified"),
            [one] => format!("update {one}"),
            few if few.len() <= 6 => format!("updates {}", numbers(few)),
            [first, .., last] => format!("{checks} updates from {first} to {last}"),
        };
        let seen = format!("{name}: verified {updates}, with {}", report.terms.join(", "));
        match &report.terms_not_seen[..] {
            [] => seen,
            unseen => {
                format!("{seen}; NOT {}, whose inputs were zero in every check", unseen.join(", "))
            }
        }
    }

    /// The remarks on a run below the table.
    fn remarks(&self, loss: &Loss) -> Vec<String> {
        let mut remarks = vec![self.coverage()];
        // Squared errors without more are in the table.
        if !matches!(loss, Loss::Mse) {
            remarks.push(format!("{}: {}", self.optimizer, self.metrics.text()));
        }
        if let Some(validation) = &self.validation {
            remarks.push(format!("{}: on the rows held out {}", self.optimizer, validation.text()));
        }
        if self.skipped > 0 {
            let (name, skipped) = (self.optimizer, self.skipped);
            remarks.push(format!("{name}: skipped {skipped} non-finite updates"));
        }
        if self.stopped_early {
            let (name, updates) = (self.optimizer, self.updates);
            remarks.push(format!(
                "{name}: stopped early after {updates} updates, without further improvement"
            ));
        }
        if let Some(Streaming { gb, load_seconds, overlap, wait_seconds }) = &self.streaming {
            remarks.push(format!(
                "{}: {gb:.2} GB of rows brought to the device in {load_seconds:.2} s, {:.0} % of it behind \
                 the compute; {wait_seconds:.2} s waiting for the device",
                self.optimizer,
                100.0 * overlap,
            ));
        }
        remarks
    }
}

pub fn json<'a>(
    device: Description,
    problem: &'a Problem,
    model: &'a Model,
    runs: &'a [Run],
) -> Json<'a> {
    let data = Data::of(problem);
    Json { device, data, model, runs }
}

pub fn table(device: &Description, problem: &Problem, model: &Model, runs: &[Run]) -> String {
    let header = [
        "optimizer",
        "updates",
        "seconds",
        "M rows/s",
        "GB/s of X",
        "loss at start",
        "loss",
        "distance",
        "verification",
    ];
    let rows = runs.iter().map(|run| {
        vec![
            run.optimizer.into(),
            run.updates.to_string(),
            format!("{:.3}", run.seconds),
            rate(run.rows_per_second / 1e6),
            rate(run.x_gb_per_second),
            format!("{:.6}", run.initial_loss),
            format!("{:.6e}", run.loss),
            run.distance.map_or("unknown".into(), |distance| format!("{distance:.2e}")),
            run.verified(),
        ]
    });
    let Problem { name, rows: samples, features, .. } = problem;
    let kind = match model.loss {
        Loss::Mse if model.outputs == 1 => String::new(),
        loss if model.outputs > 1 => format!(", {} of {} outputs", loss.name(), model.outputs),
        loss => format!(", {}", loss.name()),
    };
    let mut lines = vec![format!("{name}: {samples} rows × {features} features{kind}")];
    lines.extend(columns(problem));
    lines.extend([device.line(), output::table(&header, 1, rows)]);
    lines.extend(runs.iter().flat_map(|run| run.remarks(&model.loss)));
    lines.join("\n")
}

/// A run whose every update was verified has no training time.
fn rate(value: f64) -> String {
    if value.is_nan() { "–".into() } else { format!("{value:.2}") }
}

/// The verification of each run.
pub fn verifications(runs: &[Run]) -> Value {
    runs.iter()
        .map(|run| json!({ "optimizer": run.optimizer, "verification": run.verification }))
        .collect()
}

/// An error if a verification failed.
pub fn verdict(runs: &[Run]) -> Result<(), Failure> {
    let failed = runs.iter().find_map(|run| {
        let report = run.verification.as_ref().filter(|report| !report.pass)?;
        Some((run.optimizer, report.worst_ratio, report.worst.as_ref()?))
    });
    let Some((optimizer, ratio, worst)) = failed else { return Ok(()) };
    Err(Failure::Check(format!(
        "{optimizer}: update {}, {}[{}] is {:e} (0x{:08x}) where f64 gives {:e}: the error is {ratio:.3} \
         times its bound of {:e}",
        worst.update,
        worst.quantity,
        worst.element,
        worst.actual,
        worst.actual.to_bits(),
        worst.expected,
        worst.bound,
    )))
}
