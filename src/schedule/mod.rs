//! Learning-rate schedules in f64: PyTorch's names, defaults and values, for the table that an
//! [`Optimizer`](crate::Optimizer) takes its learning rates from.
//!
//! PyTorch's `CosineAnnealingLR(optimizer, T_max=9_500)` becomes a struct with the same options; its method `schedule`
//! takes the initial learning rate:
//!
//! ```
//! use wgpu_optim::schedule::CosineAnnealing;
//!
//! let cosine = CosineAnnealing { t_max: 9_500, ..CosineAnnealing::default() };
//! let schedule = cosine.schedule(1e-3)?.warm_up(500, 0.1)?;
//! assert_eq!(schedule.at(0), 1e-4); // the learning rate of the first step
//! assert_eq!(schedule.at(500), 1e-3);
//! let table: Vec<f32> = schedule.sample(10_000)?; // for `OptimizerBuilder::learning_rates`
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! PyTorch computes many of these recursively, which accumulates rounding errors. Here every step has a closed formula,
//! so step 10⁹ costs as much as step 0.

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
/// The schedules of this module, other than [`from_fn`](Self::from_fn), are finite and ≥ 0 at every step.
#[derive(Clone)]
pub struct Schedule {
    /// The expression that constructs it.
    expression: String,
    at: Arc<dyn Fn(u64) -> f64 + Send + Sync>,
}

impl Schedule {
    /// Returns a constant schedule.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] if it is negative or not a finite f32.
    pub fn constant(lr: f64) -> Result<Self, Error> {
        Check("constant").lr("lr", lr)?;
        Ok(Self::new(format!("Schedule::constant({lr:?})"), move |_| lr))
    }

    /// Returns a schedule from a function of the step, counted from 0. [`sample`](Self::sample) checks its values.
    pub fn from_fn(at: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::new("Schedule::from_fn(..)".into(), at)
    }

    /// Returns a schedule from a function, with a name that identifies it, including every number in it. Checkpoints
    /// compare schedules by name.
    pub fn named(name: impl Into<String>, at: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::new(name.into(), at)
    }

    fn new(expression: String, at: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Schedule { expression, at: Arc::new(at) }
    }

    /// The schedule of `options` with the initial learning rate `lr`.
    fn of(options: &impl fmt::Debug, lr: f64, at: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::new(format!("{options:?}.schedule({lr:?})"), at)
    }

    /// Returns this schedule before step `milestone`, followed by `next`, whose step 0 is step `milestone`.
    ///
    /// PyTorch's `SequentialLR([a, b, c], milestones=[20, 50])` is `a.then(20, b).then(50, c)`, and its
    /// `ConstantLR` is one constant and then another.
    pub fn then(self, milestone: u64, next: Schedule) -> Self {
        let expression = format!("{self:?}.then({milestone}, {next:?})");
        Self::new(expression, move |step| match step.checked_sub(milestone) {
            Some(since) => next.at(since),
            None => self.at(step),
        })
    }

    /// Prepends a linear warm-up over `steps` steps, after which this schedule starts from its own step 0.
    ///
    /// ```text
    /// at(t) = before.at(0) · (start_factor + (1 − start_factor) · t / steps)   t < steps
    ///         before.at(t − steps)                                            t ≥ steps
    /// ```
    ///
    /// The first step uses `start_factor` times the schedule's first learning rate; step `steps` is the first with the
    /// full learning rate. With `steps = 0` nothing changes.
    ///
    /// Source: PyTorch 2.15 `torch.optim.lr_scheduler.LinearLR` with `total_iters = steps`, and after it
    /// the schedule, in a `SequentialLR` with the milestone `steps`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] if `start_factor` is outside [0, 1].
    pub fn warm_up(self, steps: u64, start_factor: f64) -> Result<Self, Error> {
        Check("warm_up").factor("start_factor", start_factor)?;
        let expression = format!("{self:?}.warm_up({steps}, {start_factor:?})");
        let first = self.at(0);
        let ramp = move |step| first * between(start_factor, 1.0, step as f64 / steps as f64);
        Ok(Schedule { expression, ..Self::from_fn(ramp).then(steps, self) })
    }

    /// Returns the learning rate of step `step`, counted from 0: PyTorch's first `optimizer.step()` uses `at(0)`.
    pub fn at(&self, step: u64) -> f64 {
        (self.at)(step)
    }

    /// Returns the learning rates of the first `steps` steps, each rounded once: a table for
    /// [`OptimizerBuilder::learning_rates`](crate::gpu::OptimizerBuilder::learning_rates), whose last entry applies to
    /// further steps.
    ///
    /// # Errors
    /// [`Error::LearningRates`] if `steps` is 0, or for the first entry that is not finite and ≥ 0;
    /// [`Error::OutOfMemory`] if the table does not fit into memory.
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

/// Formats the expression that constructs the schedule.
impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

/// Interpolates linearly from `start` at `progress` 0 to `end` at 1. It is exact at both ends, because it takes no
/// difference of values ≥ 0.
fn between(start: f64, end: f64, progress: f64) -> f64 {
    start * (1.0 - progress) + end * progress
}
