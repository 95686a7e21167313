use super::{Schedule, between};
use crate::Error;
use crate::check::Check;
use std::f64::consts::PI;

/// Interpolates from `start` at `progress` 0 to `end` at 1 along half a cosine, exact at both ends.
fn cosine(start: f64, end: f64, progress: f64) -> f64 {
    between(end, start, (1.0 + (PI * progress).cos()) / 2.0)
}

/// A cosine from `lr` down to `eta_min` over `t_max` steps, back up over `t_max` steps, and so on.
///
/// ```text
/// at(t) = eta_min + (lr − eta_min) · (1 + cos(π · t / t_max)) / 2
/// ```
///
/// To stay at the minimum: `.then(t_max, Schedule::constant(eta_min)?)`.
///
/// Source and defaults: PyTorch 2.15 `torch.optim.lr_scheduler.CosineAnnealingLR`, which also goes up again
/// after `T_max`.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct CosineAnnealing {
    /// Steps from the maximum to the minimum, ≥ 1. No default: the 0 of [`default`](Self::default) is
    /// an error.
    pub t_max: u64,
    /// The minimum, ≥ 0. Default 0.
    pub eta_min: f64,
}

impl CosineAnnealing {
    /// Returns the schedule with the initial learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn schedule(self, lr: f64) -> Result<Schedule, Error> {
        let Self { t_max, eta_min } = self;
        let check = Check("cosine_annealing");
        check.lr("lr", lr)?;
        check.steps("t_max", t_max)?;
        check.lr("eta_min", eta_min)?;
        Ok(Schedule::of(&self, lr, move |step| {
            // Whole periods are subtracted in integers, because the cosine of a large angle is inaccurate.
            let since = step % t_max;
            let down = (step / t_max).is_multiple_of(2);
            let t = if down { since } else { t_max - since };
            cosine(lr, eta_min, t as f64 / t_max as f64)
        }))
    }
}

/// A cosine from `lr` down to `eta_min` over `t_0` steps, restarted from `lr` over `t_mult` times as many steps, and so
/// on.
///
/// ```text
/// at(t) = eta_min + (lr − eta_min) · (1 + cos(π · t_cur / t_i)) / 2
/// ```
///
/// t_cur is the number of steps since the last restart and t_i the length of the period, so that `eta_min` itself is
/// never reached. Source: Loshchilov & Hutter, *SGDR: Stochastic Gradient Descent with Warm
/// Restarts*, ICLR 2017; PyTorch 2.15 `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`, whose
/// defaults these are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineAnnealingWarmRestarts {
    /// Steps until the first restart, ≥ 1. No default: the 0 of [`default`](Self::default) is an error.
    pub t_0: u64,
    /// Ratio of the lengths of consecutive periods, ≥ 1. Default 1.
    pub t_mult: u64,
    /// The minimum, ≥ 0. Default 0.
    pub eta_min: f64,
}

impl Default for CosineAnnealingWarmRestarts {
    fn default() -> Self {
        CosineAnnealingWarmRestarts { t_0: 0, t_mult: 1, eta_min: 0.0 }
    }
}

impl CosineAnnealingWarmRestarts {
    /// Returns the schedule with the initial learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn schedule(self, lr: f64) -> Result<Schedule, Error> {
        let check = Check("cosine_annealing_warm_restarts");
        check.lr("lr", lr)?;
        check.steps("t_0", self.t_0)?;
        check.steps("t_mult", self.t_mult)?;
        check.lr("eta_min", self.eta_min)?;
        Ok(Schedule::of(&self, lr, move |step| cosine(lr, self.eta_min, self.progress(step))))
    }

    /// `t_cur / t_i`.
    fn progress(&self, step: u64) -> f64 {
        // A completed period is not longer than `step`, so the next one fits u128.
        let (mut t_cur, mut t_i) = (u128::from(step), u128::from(self.t_0));
        if self.t_mult == 1 {
            t_cur %= t_i;
        }
        while t_cur >= t_i {
            t_cur -= t_i;
            t_i *= u128::from(self.t_mult);
        }
        t_cur as f64 / t_i as f64
    }
}

/// The interpolation of a [`OneCycle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AnnealStrategy {
    /// Along half a cosine.
    #[default]
    Cos,
    /// Along a line.
    Linear,
}

/// A rise from `max_lr / div_factor` to `max_lr`, and a fall to the initial value divided by `final_div_factor`.
///
/// ```text
/// initial_lr = max_lr / div_factor,  min_lr = initial_lr / final_div_factor,  T = total_steps
///
///               step 0       step pct_start · T − 1   step 2 · pct_start · T − 2   step T − 1
/// two phases    initial_lr   max_lr                                                min_lr
/// three         initial_lr   max_lr                   initial_lr                   min_lr
/// ```
///
/// `anneal_strategy` interpolates between them; the boundaries are not rounded to whole steps. Past the last step
/// PyTorch raises an exception; here the last learning rate applies.
///
/// Source: Smith & Topin, *Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
/// Rates*, 2018; PyTorch 2.15 `torch.optim.lr_scheduler.OneCycleLR`, whose defaults these are. It also
/// cycles the momentum, which this schedule does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// Steps of the cycle, ≥ 1. No default: the 0 of [`default`](Self::default) is an error.
    pub total_steps: u64,
    /// Share of the cycle with a rising learning rate, in [0, 1]. Default 0.3. Above 0.5 the end of the cycle truncates
    /// the second of three phases.
    pub pct_start: f64,
    /// Interpolation. Default [`Cos`](AnnealStrategy::Cos).
    pub anneal_strategy: AnnealStrategy,
    /// Ratio of the maximum to the initial learning rate, > 0. Default 25.
    pub div_factor: f64,
    /// Ratio of the initial to the final learning rate, > 0. Default 1e4.
    pub final_div_factor: f64,
    /// Whether the learning rate falls to its initial value, as fast as it rose, before it falls to the final value.
    /// Default false.
    pub three_phase: bool,
}

impl Default for OneCycle {
    fn default() -> Self {
        OneCycle {
            total_steps: 0,
            pct_start: 0.3,
            anneal_strategy: AnnealStrategy::Cos,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }
}

impl OneCycle {
    /// Returns the schedule with the maximum `max_lr`.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn schedule(self, max_lr: f64) -> Result<Schedule, Error> {
        let Self { total_steps, pct_start, div_factor, final_div_factor, .. } = self;
        let (initial_lr, min_lr) = (max_lr / div_factor, max_lr / div_factor / final_div_factor);
        let check = Check("one_cycle");
        check.lr("max_lr", max_lr)?;
        check.steps("total_steps", total_steps)?;
        check.factor("pct_start", pct_start)?;
        let divides = |field, by: f64, quotient: f64| {
            let holds = by > 0.0 && by.is_finite() && quotient <= f64::from(f32::MAX);
            check.that(
                holds,
                field,
                by,
                "value > 0, finite, and such that no learning rate exceeds 3.4e38",
            )
        };
        divides("div_factor", div_factor, initial_lr)?;
        divides("final_div_factor", final_div_factor, min_lr)?;

        let (up, last) = (pct_start * total_steps as f64, total_steps - 1);
        let peak = (up - 1.0, max_lr);
        let end = (last as f64, min_lr);
        let phases = match self.three_phase {
            true => vec![peak, (2.0 * up - 2.0, initial_lr), end],
            false => vec![peak, end],
        };
        let anneal = match self.anneal_strategy {
            AnnealStrategy::Cos => cosine,
            AnnealStrategy::Linear => between,
        };
        Ok(Schedule::of(&self, max_lr, move |step| {
            let step = step.min(last) as f64;
            let (mut start, mut start_lr) = (0.0, initial_lr);
            for &(end, end_lr) in &phases {
                if step <= end {
                    // A first phase of length 0 has already ended.
                    let progress = if end == 0.0 { 1.0 } else { (step - start) / (end - start) };
                    return anneal(start_lr, end_lr, progress);
                }
                (start, start_lr) = (end, end_lr);
            }
            min_lr
        }))
    }
}
