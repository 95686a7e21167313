//! Minima of exact solvers: `tests/golden/regressions.json`, as described in `generate_regressions.py`.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
use wgpu_optim::regression::Problem;
use wgpu_optim::{Loss, Model};

/// A regression and its minimum.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    pub name: String,
    pub data: String,
    /// An array per output, if y differs from the file.
    targets: Option<Vec<Vec<f64>>>,
    pub weights: Option<Vec<f64>>,
    pub offset: Option<Vec<f64>>,
    pub loss: Loss,
    pub penalty: Penalty,
    pub solver: String,
    /// The weights of every output.
    pub coef: Vec<Vec<f64>>,
    pub intercept: Vec<f64>,
    /// The loss and the penalty.
    pub objective: f64,
    /// The loss alone.
    pub value: f64,
    /// Distance of the smallest subgradient of the objective from zero.
    pub stationarity: f64,
    pub metrics: HashMap<String, f64>,
    pub classes: Option<Vec<f64>>,
}

/// Penalty: l1 · Σ |w| + l2/2 · Σ w².
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    pub l1: f64,
    pub l2: f64,
}

impl Regression {
    pub fn model(&self) -> Model {
        Model {
            outputs: self.coef.len(),
            weighted: self.weights.is_some(),
            offset: self.offset.is_some(),
            ..Model::new(self.coef[0].len(), self.loss)
        }
    }

    /// The standardized features and the targets, both row-major.
    pub fn rows(&self) -> (Vec<f64>, Vec<f64>) {
        let path = format!("tests/data/{}.csv", self.data);
        let mut problem = Problem::csv(Path::new(&path), None).unwrap();
        problem.standardize();
        let (x, y) = problem.materialize().unwrap();
        let Some(targets) = &self.targets else { return (x, y) };
        let row = |i| targets.iter().map(move |output| output[i]);
        (x, (0..targets[0].len()).flat_map(row).collect())
    }

    /// The scores of all rows at the minimum, row-major.
    pub fn scores(&self, x: &[f64]) -> Vec<f64> {
        self.scores_of(x, &[self.coef.concat(), self.intercept.clone()].concat())
    }

    /// The scores of all rows for other parameters, in the order of a model.
    pub fn scores_of(&self, x: &[f64], params: &[f64]) -> Vec<f64> {
        let (features, outputs) = (self.coef[0].len(), self.coef.len());
        let (weights, intercepts) = params.split_at(features * outputs);
        let score = |(i, row): (usize, &[f64])| -> Vec<f64> {
            let offset = self.offset.as_ref().map_or(0.0, |offset| offset[i]);
            let output =
                |(w, b): (&[f64], &f64)| w.iter().zip(row).map(|(w, x)| w * x).sum::<f64>() + b + offset;
            weights.chunks(features).zip(intercepts).map(output).collect()
        };
        x.chunks(features).enumerate().flat_map(score).collect()
    }
}

pub fn regressions() -> Vec<Regression> {
    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Regression>,
    }
    let golden: Golden = serde_json::from_str(include_str!("../golden/regressions.json")).unwrap();
    golden.cases
}
