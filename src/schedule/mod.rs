//! Learning-rate schedules in f64: PyTorch's names, defaults and values, for the table that an
//! [`Optimizer`](crate::Optimizer) takes its learning rates from.
//!
//! What PyTorch calls `CosineAnnealingLR(optimizer, T_max=9_500)` is a struct of the same options, and
//! the learning rate that it starts from is given to its `schedule`:
//!
//! ```
//! use wgpu_optim::schedule::CosineAnnealing;
//!
//! let cosine = CosineAnnealing { t_max: 9_500, ..CosineAnnealing::default() };
//! let schedule = cosine.schedule(1e-3)?.warm_up(500, 0.1)?;
//! assert_eq!(schedule.at(0), 1e-4); // what the first step uses
//! assert_eq!(schedule.at(500), 1e-3);
//! let table: Vec<f32> = schedule.sample(10_000)?; // for `OptimizerBuilder::learning_rates`
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! PyTorch computes many of these from one step to the next, and its rounding errors add up; here every
//! step has a formula of its own, so that step 10⁹ costs what step 0 does.

mod annealing;
mod decay;

pub use annealing::{AnnealStrategy, CosineAnnealing, CosineAnnealingWarmRestarts, OneCycle};
pub use decay::{Exponential, Linear, MultiStep, Polynomial, Step};

use crate::Error;
use crate::check::{self, Check};
use std::fmt;
use std::sync::Arc;

/// A learning rate for every step.
///
/// What this module makes, other than [`from_fn`](Self::from_fn), is finite and ≥ 0 at every step.
#[derive(Clone)]
pub struct Schedule {
    /// The expression that made it.
    made_by: String,
    at: Arc<dyn Fn(u64) -> f64 + Send + Sync>,
}

impl Schedule {
    /// The same learning rate at every step.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] if it is negative or not a finite f32.
    pub fn constant(lr: f64) -> Result<Self, Error> {
        Check("constant").lr("lr", lr)?;
        Ok(Self::new(format!("Schedule::constant({lr:?})"), move |_| lr))
    }

    /// Any function from a step, counted from 0, to its learning rate. What it gives is checked by
    /// [`sample`](Self::sample).
    pub fn from_fn(at: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::new("Schedule::from_fn(..)".into(), at)
    }

    /// [`from_fn`](Self::from_fn) with a name that tells it from others: what it is, and every number in it.
    pub fn named(name: impl Into<String>, at: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::new(name.into(), at)
    }

    fn new(made_by: String, at: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Schedule { made_by, at: Arc::new(at) }
    }

    /// The schedule that `options` give a learning rate.
    fn of(options: &impl fmt::Debug, lr: f64, at: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::new(format!("{options:?}.schedule({lr:?})"), at)
    }

    /// This schedule before step `milestone`, and `next` from there on: step `milestone` is the step 0 of
    /// `next`.
    ///
    /// PyTorch's `SequentialLR([a, b, c], milestones=[20, 50])` is `a.then(20, b).then(50, c)`, and its
    /// `ConstantLR` is one constant and then another.
    pub fn then(self, milestone: u64, next: Schedule) -> Self {
        let made_by = format!("{self:?}.then({milestone}, {next:?})");
        Self::new(made_by, move |step| match step.checked_sub(milestone) {
            Some(since) => next.at(since),
            None => self.at(step),
        })
    }

    /// A linear warm-up over `steps` steps in front of this schedule, which then starts from its own
    /// step 0.
    ///
    /// ```text
    /// at(t) = before.at(0) · (start_factor + (1 − start_factor) · t / steps)   t < steps
    ///         before.at(t − steps)                                            t ≥ steps
    /// ```
    ///
    /// The first step has `start_factor` of the schedule's first learning rate; step `steps − 1` is the
    /// last one below it, and step `steps` the first to have all of it. Over 0 steps nothing changes.
    ///
    /// Source: PyTorch 2.15 `torch.optim.lr_scheduler.LinearLR` with `total_iters = steps`, and after it
    /// the schedule, in a `SequentialLR` with the milestone `steps`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] if `start_factor` is outside of [0, 1].
    pub fn warm_up(self, steps: u64, start_factor: f64) -> Result<Self, Error> {
        Check("warm_up").factor("start_factor", start_factor)?;
        let made_by = format!("{self:?}.warm_up({steps}, {start_factor:?})");
        let first = self.at(0);
        let ramp = move |step| first * between(start_factor, 1.0, step as f64 / steps as f64);
        Ok(Schedule { made_by, ..Self::from_fn(ramp).then(steps, self) })
    }

    /// The learning rate of update number `step`, counted from 0: PyTorch's first `optimizer.step()`
    /// uses `at(0)`.
    pub fn at(&self, step: u64) -> f64 {
        (self.at)(step)
    }

    /// The learning rates of the first `steps` updates, each rounded once: a table for
    /// [`OptimizerBuilder::learning_rates`](crate::gpu::OptimizerBuilder::learning_rates). Its last entry
    /// holds after that.
    ///
    /// # Errors
    /// [`Error::LearningRates`] if `steps` is 0, or for the first entry that is not finite and ≥ 0;
    /// [`Error::OutOfMemory`] if there is no room for so many.
    pub fn sample(&self, steps: usize) -> Result<Vec<f32>, Error> {
        let mut table = Vec::new();
        table.try_reserve_exact(steps).map_err(|_| Error::OutOfMemory {
            what: "the learning-rate table",
            reason: format!("{steps} steps"),
        })?;
        table.extend((0..steps as u64).map(|step| self.at(step) as f32));
        check::learning_rates(&table)?;
        Ok(table)
    }
}

/// The expression that makes the schedule.
impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.made_by)
    }
}

/// From `start` at `progress` 0 to `end` at 1, exact at both: of values ≥ 0 no difference is taken.
fn between(start: f64, end: f64, progress: f64) -> f64 {
    start * (1.0 - progress) + end * progress
}
