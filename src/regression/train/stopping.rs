//! Early stopping and adaptive learning rates, by scikit-learn's rules.

use super::state::exactly;
use crate::Evaluation;
use crate::Loss;
use crate::regression::TargetKind;
use serde::{Deserialize, Serialize};

/// Early stopping by the rules of scikit-learn's `SGDRegressor` and `SGDClassifier`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EarlyStopping {
    /// The least improvement of an epoch, ≥ 0. Default 1e-3.
    pub tol: f64,
    /// Consecutive epochs without improvement before training stops. Default 5.
    pub n_iter_no_change: u32,
    /// Held-out rows, after those to train on, whose score is watched; with 0 the training loss is watched.
    pub validation_rows: u64,
    /// scikit-learn's `learning_rate="adaptive"`: instead of stopping, divide the learning rate by 5, until it is below
    /// 1e-6.
    pub adaptive: bool,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        EarlyStopping { tol: 1e-3, n_iter_no_change: 5, validation_rows: 0, adaptive: false }
    }
}

/// scikit-learn's `score`: the accuracy of a classifier, D² of a Poisson regression, else R².
pub fn score(loss: &Loss, evaluation: &Evaluation, null_deviance: f64) -> f64 {
    match loss.target_kind() {
        TargetKind::Binary | TargetKind::Class => evaluation.accuracy(),
        TargetKind::Count => 1.0 - evaluation.mean_deviance() / null_deviance,
        TargetKind::Real => evaluation.r2(),
    }
}

/// The criterion of early stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The [`score`] of the held-out rows.
    Score,
    /// The mean loss of the held-out rows.
    HeldOutLoss,
    /// The mean loss of an epoch's batches.
    TrainingLoss,
}

/// Why the score is not the criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undefined {
    /// The held-out rows have no weight.
    NoWeight,
    /// A target is constant over the held-out rows: there is no variance, or deviance, to explain.
    ConstantTarget,
    /// The score was not finite after an epoch.
    NotFinite,
}

impl std::fmt::Display for Undefined {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Undefined::NoWeight => "the rows held out have no weight",
            Undefined::ConstantTarget => "the target is the same in all rows held out",
            Undefined::NotFinite => "it became infinite or NaN",
        })
    }
}

/// The criterion of a run, and why it is not the score although rows are held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The criterion.
    pub criterion: Criterion,
    /// Why it is not the score.
    pub undefined: Option<Undefined>,
}

impl Basis {
    /// The criterion from the held-out rows before the first epoch, if there are any.
    pub(super) fn new(loss: &Loss, held_out: Option<&Evaluation>) -> Self {
        let Some(held_out) = held_out else {
            return Basis { criterion: Criterion::TrainingLoss, undefined: None };
        };
        let constant = match loss.target_kind() {
            TargetKind::Binary | TargetKind::Class => false,
            TargetKind::Count => held_out.null_poisson_deviance().is_nan(),
            TargetKind::Real => held_out.has_constant_target(),
        };
        let (criterion, undefined) = match (held_out.weight > 0.0, constant) {
            (false, _) => (Criterion::TrainingLoss, Some(Undefined::NoWeight)),
            (true, true) => (Criterion::HeldOutLoss, Some(Undefined::ConstantTarget)),
            (true, false) => (Criterion::Score, None),
        };
        Basis { criterion, undefined }
    }

    /// The criterion after one whose value is not finite; `None` if there is no other.
    pub(super) fn next(self) -> Option<Self> {
        let criterion = match self.criterion {
            Criterion::Score => Criterion::HeldOutLoss,
            Criterion::HeldOutLoss => Criterion::TrainingLoss,
            Criterion::TrainingLoss => return None,
        };
        Some(Basis { criterion, undefined: self.undefined.or(Some(Undefined::NotFinite)) })
    }
}

/// The decision after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Continue,
    /// Continue with a fifth of the learning rate.
    Slower,
    Stop,
}

/// The state of early stopping after some epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopState {
    /// The lowest value of the criterion.
    #[serde(with = "exactly")]
    best: f64,
    /// Consecutive epochs without improvement.
    without_change: u32,
    /// The factor of the learning rate.
    #[serde(with = "exactly")]
    pub factor: f64,
    /// Σ rows · loss, and rows, of the current epoch.
    #[serde(with = "exactly")]
    pub loss: f64,
    pub rows: u64,
    /// The criterion; absent in states of earlier versions.
    #[serde(default)]
    pub basis: Option<Basis>,
}

impl Default for EarlyStopState {
    fn default() -> Self {
        EarlyStopState {
            best: f64::INFINITY,
            without_change: 0,
            factor: 1.0,
            loss: 0.0,
            rows: 0,
            basis: None,
        }
    }
}

impl EarlyStopState {
    /// Consecutive epochs without improvement.
    pub fn without_change(&self) -> u32 {
        self.without_change
    }

    /// Changes the criterion; the best value of another criterion does not count.
    pub(super) fn go_by(&mut self, basis: Basis) {
        (self.basis, self.best, self.without_change) = (Some(basis), f64::INFINITY, 0);
    }

    /// Decides after an epoch from its loss, or its negative score; `lr` is the scheduled learning rate.
    pub fn epoch(&mut self, options: &EarlyStopping, loss: f64, lr: f64) -> Verdict {
        // An epoch whose updates were all skipped has no loss, and no improvement.
        let no_better = !loss.is_finite() || loss > self.best - options.tol;
        self.without_change = if no_better { self.without_change + 1 } else { 0 };
        self.best = self.best.min(loss);
        if self.without_change < options.n_iter_no_change {
            return Verdict::Continue;
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
        let mut watched = EarlyStopState::default();
        losses.iter().map(|&loss| watched.epoch(&options, loss, 0.1)).collect()
    }

    #[test]
    fn it_stops_after_so_many_epochs_that_are_no_better_than_the_best() {
        let options = EarlyStopping { tol: 0.1, n_iter_no_change: 2, ..EarlyStopping::default() };
        use Verdict::{Continue, Stop};
        assert_eq!(
            verdicts(options, &[3.0, 2.0, 1.95, 1.0, 0.95, 1.0]),
            [Continue, Continue, Continue, Continue, Continue, Stop]
        );
    }

    #[test]
    fn it_goes_by_what_exists() {
        use Criterion::{HeldOutLoss, Score, TrainingLoss};
        let held_out = |weight: f64, sum: f64, squares: f64| Evaluation {
            weight,
            outputs: vec![[0.0, 0.0, sum, squares]],
            ..Evaluation::default()
        };
        let of = |loss: Loss, held_out: &Evaluation| {
            let Basis { criterion, undefined } = Basis::new(&loss, Some(held_out));
            (criterion, undefined)
        };
        let (varied, constant, nothing) =
            (held_out(3.0, 0.0, 2.0), held_out(2.0, 2.0, 2.0), held_out(0.0, 0.0, 0.0));
        for loss in [Loss::Mse, Loss::Poisson, Loss::Quantile { quantile: 0.5 }] {
            assert_eq!(of(loss, &constant), (HeldOutLoss, Some(Undefined::ConstantTarget)));
            assert_eq!(of(loss, &nothing), (TrainingLoss, Some(Undefined::NoWeight)));
        }
        assert_eq!(of(Loss::Mse, &varied), (Score, None));
        // Of one class alone there is an accuracy.
        assert_eq!(of(Loss::Logistic, &constant), (Score, None));
        assert_eq!(of(Loss::Logistic, &nothing), (TrainingLoss, Some(Undefined::NoWeight)));
        assert_eq!(Basis::new(&Loss::Mse, None), Basis { criterion: TrainingLoss, undefined: None });
        let first = Basis::new(&Loss::Mse, Some(&varied));
        let second = first.next().unwrap();
        assert_eq!(second, Basis { criterion: HeldOutLoss, undefined: Some(Undefined::NotFinite) });
        assert_eq!(second.next().unwrap().criterion, TrainingLoss);
        assert_eq!(second.next().unwrap().next(), None);
    }

    #[test]
    fn what_was_best_by_another_measure_is_forgotten() {
        let options = EarlyStopping { n_iter_no_change: 1, ..EarlyStopping::default() };
        let mut watched = EarlyStopState::default();
        assert_eq!(watched.epoch(&options, -1.0, 0.1), Verdict::Continue);
        watched.go_by(Basis { criterion: Criterion::HeldOutLoss, undefined: None });
        assert_eq!(watched.epoch(&options, 5.0, 0.1), Verdict::Continue);
        assert_eq!(watched.epoch(&options, 5.0, 0.1), Verdict::Stop);
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
