//! The metrics of a model.

use serde::Serialize;
use std::collections::BTreeMap;
use wgpu_optim::regression::TargetKind;
use wgpu_optim::regression::train::score;
use wgpu_optim::{Evaluation, Loss};

/// Metrics by their names; those that have no value are null.
#[derive(Serialize)]
pub struct Metrics {
    #[serde(flatten)]
    values: BTreeMap<&'static str, Option<f64>>,
    /// The reasons why metrics are undefined.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    undefined: BTreeMap<&'static str, &'static str>,
}

impl Metrics {
    /// The metrics of an evaluation.
    pub fn new(loss: &Loss, on: &Evaluation) -> Self {
        let mut metrics = Metrics { values: BTreeMap::new(), undefined: BTreeMap::new() };
        let weighs =
            |value: f64| if on.weight > 0.0 { Ok(value) } else { Err("the rows have no weight") };
        match loss.target_kind() {
            TargetKind::Binary | TargetKind::Class => {
                metrics.add("accuracy", weighs(on.accuracy()));
                if loss.has_probabilities() {
                    metrics.add("log_loss", weighs(on.mean_loss()));
                    metrics.add("deviance", weighs(on.mean_deviance()));
                }
                return metrics;
            }
            TargetKind::Count => {
                let null = on.null_poisson_deviance();
                let explained = match null.is_nan() {
                    true => Err("the target is the same in all rows"),
                    false => Ok(score(loss, on, null)),
                };
                metrics.add("deviance", weighs(on.mean_deviance()));
                metrics.add("d2", weighs(0.0).and(explained));
            }
            TargetKind::Real => metrics.add("r2", weighs(on.r2())),
        }
        metrics.add("mse", weighs(on.mean_squared_error()));
        metrics.add("mae", weighs(on.mean_absolute_error()));
        metrics
    }

    /// Adds a metric, or the reason why it is undefined.
    pub fn add(&mut self, name: &'static str, value: Result<f64, &'static str>) {
        // JSON has no infinity.
        let finite = |value: f64| if value.is_finite() { Ok(value) } else { Err("it is not finite") };
        let value = value.and_then(finite);
        self.values.insert(name, value.ok());
        self.undefined.extend(value.err().map(|reason| (name, reason)));
    }

    /// All metrics in one line.
    pub fn text(&self) -> String {
        let word = |(name, value): (&&str, &Option<f64>)| match value {
            Some(value) => format!("{name} {value:.6}"),
            None => format!("{name} undefined ({})", self.undefined[name]),
        };
        self.values.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}
