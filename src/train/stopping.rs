//! When to stop before the last epoch, and when to learn more slowly: scikit-learn's rules.

use super::state::exactly;
use crate::Evaluation;
use crate::Loss;
use serde::{Deserialize, Serialize};

/// Stops when nothing gets better any more, by the rules of scikit-learn's `SGDRegressor` and
/// `SGDClassifier`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EarlyStopping {
    /// How much better an epoch must be to count, ≥ 0. Default 1e-3.
    pub tol: f64,
    /// How many epochs in a row may be no better. Default 5.
    pub n_iter_no_change: u32,
    /// The rows behind those that are trained on whose score is watched; 0 watches the training loss.
    pub validation_rows: u64,
    /// scikit-learn's `learning_rate="adaptive"`: in the place of stopping the learning rate is divided by 5,
    /// until it is below 1e-6.
    pub adaptive: bool,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        EarlyStopping { tol: 1e-3, n_iter_no_change: 5, validation_rows: 0, adaptive: false }
    }
}

/// What scikit-learn's `score` is: the accuracy of a classifier, D² of a Poisson regression, else R².
pub fn score(loss: &Loss, evaluation: &Evaluation, null_deviance: f64) -> f64 {
    match loss {
        Loss::Logistic | Loss::Softmax { .. } => evaluation.accuracy(),
        Loss::Poisson => 1.0 - evaluation.mean_deviance() / null_deviance,
        _ => evaluation.r2(),
    }
}

/// What an epoch means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoOn,
    /// With a fifth of the learning rate.
    Slower,
    Stop,
}

/// What is remembered of the epochs that went by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The least that was watched.
    #[serde(with = "exactly")]
    best: f64,
    /// Epochs in a row that were no better.
    without_change: u32,
    /// What the learning rate has been multiplied by.
    #[serde(with = "exactly")]
    pub factor: f64,
    /// Of the epoch that has begun: Σ rows · loss, and rows.
    #[serde(with = "exactly")]
    pub loss: f64,
    pub rows: u64,
}

impl Default for Watched {
    fn default() -> Self {
        Watched { best: f64::INFINITY, without_change: 0, factor: 1.0, loss: 0.0, rows: 0 }
    }
}

impl Watched {
    /// Epochs in a row that were no better.
    pub fn without_change(&self) -> u32 {
        self.without_change
    }

    /// Looks at an epoch's loss, or at its negative score; `lr` is the learning rate as scheduled.
    pub fn epoch(&mut self, options: &EarlyStopping, loss: f64, lr: f64) -> Verdict {
        // What is no number is no better.
        let no_better = !loss.is_finite() || loss > self.best - options.tol;
        self.without_change = if no_better { self.without_change + 1 } else { 0 };
        self.best = self.best.min(loss);
        if self.without_change < options.n_iter_no_change {
            return Verdict::GoOn;
        }
        if options.adaptive && lr * self.factor > 1e-6 {
            self.factor /= 5.0;
            self.without_change = 0;
            return Verdict::Slower;
        }
        Verdict::Stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(options: EarlyStopping, losses: &[f64]) -> Vec<Verdict> {
        let mut watched = Watched::default();
        losses.iter().map(|&loss| watched.epoch(&options, loss, 0.1)).collect()
    }

    #[test]
    fn it_stops_after_so_many_epochs_that_are_no_better_than_the_best() {
        let options = EarlyStopping { tol: 0.1, n_iter_no_change: 2, ..EarlyStopping::default() };
        use Verdict::{GoOn, Stop};
        assert_eq!(
            verdicts(options, &[3.0, 2.0, 1.95, 1.0, 0.95, 1.0]),
            [GoOn, GoOn, GoOn, GoOn, GoOn, Stop]
        );
    }

    #[test]
    fn adaptive_rates_fall_by_five_and_stop_below_a_millionth() {
        let options = EarlyStopping { n_iter_no_change: 1, adaptive: true, ..Default::default() };
        let verdicts = verdicts(options, &[1.0; 12]);
        let slower = verdicts.iter().filter(|v| **v == Verdict::Slower).count();
        // 0.1 · 5⁻⁷ is above 10⁻⁶, 0.1 · 5⁻⁸ is not.
        assert_eq!((slower, verdicts[8], verdicts[9]), (8, Verdict::Slower, Verdict::Stop));
    }
}
