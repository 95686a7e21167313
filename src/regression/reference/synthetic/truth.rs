//! The true parameters of a synthetic problem.

use super::table::{Grid, exp};
use super::{SPARSITY, Synthetic, WEIGHTS};

/// The true parameters of a [`Synthetic`] problem as integers, and the table of its response.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    pub(super) weights: Vec<i32>,
    pub(super) intercepts: Vec<i32>,
    pub(super) table: Vec<u32>,
    units: [f32; 2],
}

impl Truth {
    /// [`Synthetic::truth`].
    pub(super) fn new(problem: &Synthetic) -> Truth {
        let weights = |output| (0..problem.features).map(move |j| problem.weight(output, j));
        let mut truth = Truth {
            weights: (0..problem.outputs).flat_map(weights).collect(),
            intercepts: (0..problem.outputs).map(|output| problem.intercept(output)).collect(),
            table: Grid::of(problem.response).table(problem.response),
            units: [problem.weight_bits(), problem.intercept_bits()]
                .map(|bits| 0.5f32.powi(bits as i32)),
        };
        if let Some(share) = problem.balance {
            truth.intercepts = vec![0];
            let share = f64::from(share) / 2f64.powi(32);
            truth.intercepts = vec![balanced_intercept(problem, &truth, share)];
        }
        truth
    }

    /// Returns the parameters of a [`Model`](crate::Model) with intercepts: weights, outputs × features, then intercepts.
    /// They are exact in f32.
    pub fn params(&self) -> Vec<f32> {
        let [weight, intercept] = self.units;
        let weights = self.weights.iter().map(|&w| w as f32 * weight);
        weights.chain(self.intercepts.iter().map(|&b| b as f32 * intercept)).collect()
    }

    /// Returns the weights as integers, outputs × features, in units of 2⁻¹⁴ or, if they are divided by 2ⁿ, of 2⁻¹⁴⁻ⁿ.
    pub fn weight_units(&self) -> &[i32] {
        &self.weights
    }

    /// Returns the intercepts as integers, in units of 2⁻¹⁴ for a linear response and 2⁻¹⁵ for others.
    pub fn intercept_units(&self) -> &[i32] {
        &self.intercepts
    }

    /// The table of the response, for the device.
    pub(crate) fn table(&self) -> &[u32] {
        &self.table
    }
}

impl Synthetic {
    fn weight(&self, output: u32, j: u32) -> i32 {
        let zero = self.random(output.into(), j / 4, SPARSITY)[j as usize % 4] < self.zeros;
        if zero { 0 } else { self.eight(output.into(), j / 8, WEIGHTS)[j as usize % 8] }
    }

    fn intercept(&self, output: u32) -> i32 {
        let j = self.features;
        self.eight(output.into(), j / 8, WEIGHTS)[j as usize % 8]
    }
}

/// The smallest intercept with which the mean probability of the first rows is at least `share`, in the units of
/// intercepts, within ±16.
fn balanced_intercept(problem: &Synthetic, truth: &Truth, share: f64) -> i32 {
    let rows = ((1 << 24) / problem.features).clamp(256, 4096);
    let mut x = vec![0.0; problem.features as usize];
    let unit = 0.5f64.powi(problem.score_bits() as i32);
    let scores: Vec<f64> = (0..rows)
        .map(|row| {
            problem.fill_features(row.into(), &mut x);
            problem.score(truth, 0, &x) as f64 * unit
        })
        .collect();
    let share_with = |intercept: i32| {
        let b = f64::from(intercept) * f64::from(truth.units[1]);
        scores.iter().map(|z| 1.0 / (1.0 + exp(-(z + b).clamp(-64.0, 64.0)))).sum::<f64>()
            / f64::from(rows)
    };
    let end = 16 << problem.intercept_bits();
    let (mut below, mut reaches) = (-end, end);
    while reaches - below > 1 {
        let middle = i32::midpoint(below, reaches);
        if share_with(middle) < share { below = middle } else { reaches = middle }
    }
    reaches
}
