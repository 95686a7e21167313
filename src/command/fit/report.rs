//! What a fit tells at its end.

use super::super::device::Description;
use super::super::{Failure, output};
use serde::Serialize;
use wgpu_optim::Rule;
use wgpu_optim::regression::{Problem, Scaling};
use wgpu_optim::train::Report;
use wgpu_optim::verify::Verification;

/// One optimizer's run.
#[derive(Serialize)]
pub struct Run {
    pub optimizer: &'static str,
    updates: u64,
    initial_loss: f64,
    loss: f64,
    seconds: f64,
    verify_seconds: f64,
    rows_per_second: f64,
    /// Bytes of X that were read, once an update, a second.
    x_gb_per_second: f64,
    weights: Vec<f64>,
    intercept: f64,
    /// Euclidean distance of weights and intercept to the true ones.
    distance: Option<f64>,
    verification: Option<Verification>,
    /// (update, loss) for the plot.
    #[serde(skip)]
    pub points: Vec<(f64, f64)>,
}

#[derive(Serialize)]
pub struct Json<'a> {
    device: Description,
    data: Data<'a>,
    runs: &'a [Run],
}

#[derive(Serialize)]
struct Data<'a> {
    name: &'a str,
    samples: u64,
    features: usize,
    /// Weights are those of the scaled features.
    scaling: &'a Option<Scaling>,
}

impl Run {
    pub fn new(rule: &Rule, problem: &Problem, report: Report, points: Vec<(f64, f64)>) -> Self {
        let seconds = report.training.as_secs_f64();
        // Updates that were checked are timed with the checks.
        let rows_per_second = if seconds > 0.0 { report.timed_rows as f64 / seconds } else { f64::NAN };
        let distance = problem.truth.as_ref().map(|truth| {
            let squares = truth.iter().zip(&report.params).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f64>().sqrt()
        });
        let mut weights = report.params;
        let intercept = weights.pop().unwrap_or_default();
        Run {
            optimizer: rule.name(),
            updates: report.updates,
            initial_loss: report.initial_loss,
            loss: report.loss,
            seconds,
            verify_seconds: report.verifying.as_secs_f64(),
            rows_per_second,
            x_gb_per_second: rows_per_second * problem.features as f64 * 4.0 / 1e9,
            weights,
            intercept,
            distance,
            verification: report.verification,
            points,
        }
    }

    fn verified(&self) -> String {
        match &self.verification {
            None => "off".into(),
            Some(report) => {
                let verdict = if report.pass { "ok" } else { "FAIL" };
                let worst = report.worst.as_ref().map_or(String::new(), |worst| {
                    format!(" ({}[{}], update {})", worst.quantity, worst.element, worst.update)
                });
                let (checks, ratio) = (report.checks, report.worst_ratio);
                format!("{verdict}: {checks} checks, worst {ratio:.2} of bound{worst}")
            }
        }
    }
}

pub fn json<'a>(device: Description, problem: &'a Problem, runs: &'a [Run]) -> Json<'a> {
    let data = Data {
        name: &problem.name,
        samples: problem.rows,
        features: problem.features,
        scaling: &problem.scaling,
    };
    Json { device, data, runs }
}

pub fn table(device: &Description, problem: &Problem, runs: &[Run]) -> String {
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
    format!(
        "{name}: {samples} rows × {features} features\n{}\n{}",
        device.line(),
        output::table(&header, 1, rows)
    )
}

/// A run whose every update was checked has no time of its own.
fn rate(value: f64) -> String {
    if value.is_nan() { "–".into() } else { format!("{value:.2}") }
}

/// An error if the device computed something wrong.
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
