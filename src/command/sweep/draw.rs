//! Which updates of a sweep are checked against f64, and how far that went.

use serde::Serialize;
use std::collections::BTreeSet;
use wgpu_optim::cpu::random::philox;
use wgpu_optim::regression::Problem;
use wgpu_optim::train::Recipe;
use wgpu_optim::verify::{self, ObservedStep, Verification};

use super::super::Failure;

/// Fits that are drawn, and updates of each.
const FITS: u64 = 16;
const UPDATES: u64 = 4;

/// What is checked: some updates of some fits.
pub struct Draw {
    /// By their numbers, from 0.
    pub fits: BTreeSet<usize>,
    /// By their numbers, from 0: the first, the last, and some between.
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

/// What the checks came to.
#[derive(Debug, Serialize)]
pub struct Checks {
    /// Fits and updates of each that were drawn.
    pub fits: usize,
    pub updates: usize,
    /// The share of all updates that was checked.
    pub share: f64,
    #[serde(flatten)]
    pub verification: Verification,
}

impl Checks {
    pub fn new(draw: &Draw, all: u64) -> Self {
        let (fits, updates) = (draw.fits.len(), draw.updates.len());
        Checks { fits, updates, share: 1.0 / all as f64, verification: Verification::new() }
    }

    /// Compares one update. What has left the numbers is told as diverged, and there is nothing to compare.
    pub fn check(
        &mut self,
        recipe: &Recipe,
        problem: &Problem,
        step: &ObservedStep,
    ) -> Result<(), Failure> {
        let ObservedStep { before, gradient, after, .. } = step;
        let values = [&before.params, &after.params, &gradient.grads];
        let mut values = values.into_iter().chain(&before.moments).chain(&after.moments).flatten();
        if values.all(|value| value.is_finite()) && gradient.loss.is_finite() {
            verify::check(&mut self.verification, recipe, problem, step)?;
        }
        Ok(())
    }

    /// Of all sweeps' updates.
    pub fn finish(&mut self) {
        self.share *= self.verification.checks as f64;
    }

    pub fn text(&self) -> String {
        let Verification { checks, worst_ratio, pass, .. } = &self.verification;
        let verdict = if *pass { "ok" } else { "FAIL" };
        let share = 100.0 * self.share;
        format!(
            "verification {verdict}: {checks} updates ({share:.2} % of all), worst {worst_ratio:.2} of bound"
        )
    }

    /// An error if something was computed wrong.
    pub fn verdict(&self) -> Result<(), Failure> {
        let Verification { worst: Some(worst), pass: false, worst_ratio, .. } = &self.verification
        else {
            return Ok(());
        };
        let verify::Worst { update, quantity, element, actual, expected, bound } = worst;
        Err(Failure::Check(format!(
            "update {update}, {quantity}[{element}] is {actual:e} where f64 gives {expected:e}: the error is \
             {worst_ratio:.3} times its bound of {bound:e}"
        )))
    }
}
