use super::{Schedule, between};
use crate::Error;
use crate::check::Check;

/// A factor that changes linearly over `total_iters` steps, and is constant after them.
///
/// ```text
/// at(t) = lr · (start_factor + (end_factor − start_factor) · min(t, total_iters) / total_iters)
/// ```
///
/// Source and defaults: PyTorch 2.15 `torch.optim.lr_scheduler.LinearLR`, which does not start from a
/// factor of 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The factor at step 0, in [0, 1]. Default 1/3.
    pub start_factor: f64,
    /// The factor from step `total_iters` on, in [0, 1]. Default 1.
    pub end_factor: f64,
    /// Number of steps over which the factor changes, ≥ 1. Default 5.
    pub total_iters: u64,
}

impl Default for Linear {
    fn default() -> Self {
        Linear { start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters: 5 }
    }
}

impl Linear {
    /// Returns the schedule with the initial learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn schedule(self, lr: f64) -> Result<Schedule, Error> {
        let Self { start_factor, end_factor, total_iters } = self;
        let check = Check("linear");
        check.lr("lr", lr)?;
        check.factor("start_factor", start_factor)?;
        check.factor("end_factor", end_factor)?;
        check.steps("total_iters", total_iters)?;
        Ok(Schedule::of(&self, lr, move |step| {
            let progress = step.min(total_iters) as f64 / total_iters as f64;
            lr * between(start_factor, end_factor, progress)
        }))
    }
}

/// Decay by `gamma` every `step_size` steps.
///
/// ```text
/// at(t) = lr · gamma^⌊t / step_size⌋
/// ```
///
/// Source and defaults: PyTorch 2.15 `torch.optim.lr_scheduler.StepLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Steps from one decay to the next, ≥ 1. No default: the 0 of [`default`](Self::default) is an error.
    pub step_size: u64,
    /// The factor of one decay, in [0, 1]. Default 0.1.
    pub gamma: f64,
}

impl Default for Step {
    fn default() -> Self {
        Step { step_size: 0, gamma: 0.1 }
    }
}

impl Step {
    /// Returns the schedule with the initial learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn schedule(self, lr: f64) -> Result<Schedule, Error> {
        let Self { step_size, gamma } = self;
        let check = Check("step");
        check.lr("lr", lr)?;
        check.steps("step_size", step_size)?;
        check.factor("gamma", gamma)?;
        Ok(Schedule::of(&self, lr, move |step| lr * gamma.powf((step / step_size) as f64)))
    }
}

/// Decay by `gamma` at each of the milestones.
///
/// ```text
/// at(t) = lr · gammaⁿ,  n: number of milestones ≤ t
/// ```
///
/// Source and defaults: PyTorch 2.15 `torch.optim.lr_scheduler.MultiStepLR`.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStep {
    /// First steps of the decays, in any order; repeated milestones decay repeatedly. None by default.
    pub milestones: Vec<u64>,
    /// The factor of one decay, in [0, 1]. Default 0.1.
    pub gamma: f64,
}

impl Default for MultiStep {
    fn default() -> Self {
        MultiStep { milestones: Vec::new(), gamma: 0.1 }
    }
}

impl MultiStep {
    /// Returns the schedule with the initial learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn schedule(mut self, lr: f64) -> Result<Schedule, Error> {
        let check = Check("multi_step");
        check.lr("lr", lr)?;
        check.factor("gamma", self.gamma)?;
        self.milestones.sort_unstable();
        Ok(Schedule::of(&self.clone(), lr, move |step| {
            let decays = self.milestones.partition_point(|&milestone| milestone <= step);
            lr * self.gamma.powf(decays as f64)
        }))
    }
}

/// Decay by `gamma` at every step.
///
/// ```text
/// at(t) = lr · gammaᵗ
/// ```
///
/// Source: PyTorch 2.15 `torch.optim.lr_scheduler.ExponentialLR`, which has no defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    /// The factor of one step, in [0, 1].
    pub gamma: f64,
}

impl Exponential {
    /// Returns the schedule with the initial learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn schedule(self, lr: f64) -> Result<Schedule, Error> {
        let check = Check("exponential");
        check.lr("lr", lr)?;
        check.factor("gamma", self.gamma)?;
        Ok(Schedule::of(&self, lr, move |step| lr * self.gamma.powf(step as f64)))
    }
}

/// Decay to 0 over `total_iters` steps, by a power of the remaining share of steps.
///
/// ```text
/// at(t) = lr · (1 − min(t, total_iters) / total_iters)^power
/// ```
///
/// Source and defaults: PyTorch 2.15 `torch.optim.lr_scheduler.PolynomialLR`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polynomial {
    /// Number of steps over which the learning rate decays, ≥ 1. Default 5.
    pub total_iters: u64,
    /// The power, ≥ 0. Default 1.
    pub power: f64,
}

impl Default for Polynomial {
    fn default() -> Self {
        Polynomial { total_iters: 5, power: 1.0 }
    }
}

impl Polynomial {
    /// Returns the schedule with the initial learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn schedule(self, lr: f64) -> Result<Schedule, Error> {
        let Self { total_iters, power } = self;
        let check = Check("polynomial");
        check.lr("lr", lr)?;
        check.steps("total_iters", total_iters)?;
        check.that(power >= 0.0 && power.is_finite(), "power", power, "value ≥ 0, finite")?;
        Ok(Schedule::of(&self, lr, move |step| {
            let left = total_iters.saturating_sub(step);
            lr * (left as f64 / total_iters as f64).powf(power)
        }))
    }
}
