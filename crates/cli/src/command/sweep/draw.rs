//! The random sample of a sweep's updates that is verified against f64.

use serde::Serialize;
use std::collections::BTreeSet;
use wgpu_optim::cpu::random::philox;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::reference::gradient::Rows;
use wgpu_optim::regression::train::Recipe;
use wgpu_optim::regression::verification::{self, Bounded, ObservedStep, Snapshot, Verification};

use crate::command::Failure;

/// Sampled fits, and sampled updates of each.
const FITS: u64 = 16;
const UPDATES: u64 = 4;

/// The sampled fits and updates.
pub struct Draw {
    /// Indices of the fits, from 0.
    pub fits: BTreeSet<usize>,
    /// Indices of the updates, from 0: the first, the last, and some between.
    pub updates: BTreeSet<u64>,
}

impl Draw {
    pub fn new(fits: usize, updates: u64) -> Self {
        let draw = |i: u64, of: u64, what: u32| {
            let [low, high, ..] = philox([i as u32, what, 0, 0], [0; 2]);
            (u64::from(high) << 32 | u64::from(low)) % of
        };
        let some = (0..FITS).map(|i| draw(i, fits as u64, 0) as usize);
        let between = (0..UPDATES - 2).map(|i| draw(i, updates, 1));
        Draw { fits: some.collect(), updates: between.chain([0, updates - 1]).collect() }
    }
}

/// Results of the checks.
#[derive(Debug, Serialize)]
pub struct Checks {
    /// Sampled fits, and sampled updates of each.
    pub drawn_fits: usize,
    pub drawn_updates: usize,
    /// Number of updates of all fits, and the share of them that was checked.
    pub all_updates: u64,
    pub share: f64,
    #[serde(flatten)]
    pub verification: Verification,
}

impl Checks {
    pub fn new(draw: &Draw, all_updates: u64) -> Self {
        let (drawn_fits, drawn_updates) = (draw.fits.len(), draw.updates.len());
        let verification = Verification::new();
        Checks { drawn_fits, drawn_updates, all_updates, share: 0.0, verification }
    }

    /// Compares one update. An update that overflows f32 is not compared: its fit counts as diverged.
    pub fn check(
        &mut self,
        recipe: &Recipe,
        problem: &Problem,
        step: &ObservedStep,
    ) -> Result<(), Failure> {
        let ObservedStep { before, gradient, after, .. } = step;
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let of = |snapshot: &Snapshot| {
            finite(&snapshot.params) && snapshot.moments.iter().all(|moment| finite(moment))
        };
        let results = of(after) && finite(&gradient.grads) && gradient.loss.is_finite();
        if of(before) && (results || !overflows(recipe, problem, step)?) {
            verification::check(&mut self.verification, recipe, problem, step)?;
            self.share = self.verification.checks as f64 / self.all_updates as f64;
        }
        Ok(())
    }

    pub fn text(&self) -> String {
        let Verification { checks, worst_ratio, pass, .. } = &self.verification;
        let verdict = if *pass { "ok" } else { "FAIL" };
        let all = self.all_updates;
        format!("verification {verdict}: {checks} of {all} updates, worst {worst_ratio:.2} of bound")
    }

    /// Returns an error if a check failed.
    pub fn verdict(&self) -> Result<(), Failure> {
        let Verification { worst: Some(worst), pass: false, worst_ratio, .. } = &self.verification
        else {
            return Ok(());
        };
        let verification::Worst { update, quantity, element, actual, expected, bound } = worst;
        Err(Failure::Check(format!(
            "update {update}, {quantity}[{element}]: {actual:e}, but f64 gives {expected:e}; the error is \
             {worst_ratio:.3} times its bound of {bound:e}"
        )))
    }
}

/// Whether the definition of an update also overflows f32.
fn overflows(recipe: &Recipe, problem: &Problem, step: &ObservedStep) -> Result<bool, Failure> {
    let ObservedStep { t, lr, before, gradient, .. } = step;
    let open = |bounds: &[Bounded]| {
        let most = |bound: &Bounded| bound.value.abs() + bound.error;
        bounds.iter().any(|bound| most(bound).is_nan() || most(bound) > f64::from(f32::MAX))
    };
    let (x, aux) = problem.rows_of::<f32>(&gradient.batch)?;
    let rows = Rows { x: &x, aux: &aux };
    let (grads, loss) = verification::gradient(&recipe.model, rows, &before.params, gradient.depths);
    if open(&grads) || open(&[loss]) {
        return Ok(true);
    }
    let (params, moments) = verification::update(recipe, (*t, *lr), before, &gradient.grads);
    Ok(open(&params) || moments.iter().any(|moment| open(moment)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_optim::regression::verification::ObservedGradient;
    use wgpu_optim::{Batch, Loss, Model, Sgd};

    /// Checks an SGD update over the blog's first row, from the parameters `before` to `after`.
    fn checked(before: [f32; 2], lr: f64, after: [f32; 2]) -> Verification {
        let recipe = Recipe::new(Model::new(1, Loss::Mse), Sgd { lr, ..Sgd::default() }.into());
        let problem = Problem::blog();
        let batch = Batch::new(0, 1);
        let (x, y) = problem.rows_of::<f32>(&batch).unwrap();
        let residual = x[0] * before[0] + before[1] - y[0];
        let grads = vec![2.0 * x[0] * residual, 2.0 * residual];
        let gradient = ObservedGradient { batch, depths: (1, 4), grads, loss: residual * residual };
        let of = |params: [f32; 2]| Snapshot { params: params.to_vec(), moments: vec![] };
        let (before, after, sample) = (of(before), of(after), None);
        let step = ObservedStep { t: 1, lr, before, gradient, sample, after };
        let mut checks = Checks::new(&Draw::new(1, 1), 1);
        checks.check(&recipe, &problem, &step).unwrap();
        checks.verification
    }

    #[test]
    fn nan_fails_unless_f32_overflows() {
        let nan = [f32::NAN; 2];
        let wrong = checked([0.0; 2], 0.1, nan);
        assert_eq!((wrong.checks, wrong.pass), (1, false), "a device that makes it of nothing");
        let diverged = checked([1e38; 2], 1e30, nan);
        assert_eq!((diverged.checks, diverged.pass), (0, true));
        assert_eq!(checked(nan, 0.1, nan).checks, 0);
        assert!(!checked([0.0; 2], 0.1, [5.0; 2]).pass);
    }

    #[test]
    fn the_first_and_the_last_update_are_among_those_drawn() {
        for updates in [1, 2, 3, 1000] {
            let draw = Draw::new(5, updates);
            assert!(draw.updates.contains(&0) && draw.updates.contains(&(updates - 1)));
            assert!(draw.updates.iter().all(|&update| update < updates));
            assert!(!draw.fits.is_empty() && draw.fits.iter().all(|&fit| fit < 5));
        }
        assert!(Draw::new(100_000, 9).fits.len() > 10);
    }
}
