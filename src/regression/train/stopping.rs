//! When to stop before the last epoch, and when to learn more slowly: scikit-learn's rules.

use super::state::exactly;
use crate::Evaluation;
use crate::Loss;
use crate::regression::TargetKind;
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
    match loss.target_kind() {
        TargetKind::Binary | TargetKind::Class => evaluation.accuracy(),
        TargetKind::Count => 1.0 - evaluation.mean_deviance() / null_deviance,
        TargetKind::Real => evaluation.r2(),
    }
}

/// What early stopping goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The [`score`] of the rows held out.
    Score,
    /// The mean loss of the rows held out.
    HeldOutLoss,
    /// The mean loss of an epoch's batches.
    TrainingLoss,
}

/// Why it does not go by the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undefined {
    /// The rows held out weigh nothing.
    NoWeight,
    /// A target of the rows held out is the same in all of them: there is no variance, or no deviance, to explain.
    ConstantTarget,
    /// After an epoch it was not finite.
    NotFinite,
}

impl std::fmt::Display for Undefined {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Undefined::NoWeight => "the rows held out have no weight",
            Undefined::ConstantTarget => "the target is the same in all rows held out",
            Undefined::NotFinite => "it came to a value that is not finite",
        })
    }
}

/// What a run goes by, and why that is not the score where rows are held out for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// What it goes by.
    pub criterion: Criterion,
    /// Why not by the score.
    pub undefined: Option<Undefined>,
}

impl Basis {
    /// Of what is known of the rows held out before the first epoch; `None` if there are none.
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

    /// What to go by where the criterion came to a value that is not finite; `None` if there is nothing else.
    pub(super) fn next(self) -> Option<Self> {
        let criterion = match self.criterion {
            Criterion::Score => Criterion::HeldOutLoss,
            Criterion::HeldOutLoss => Criterion::TrainingLoss,
            Criterion::TrainingLoss => return None,
        };
        Some(Basis { criterion, undefined: self.undefined.or(Some(Undefined::NotFinite)) })
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
pub struct EarlyStopState {
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
    /// What it goes by; not there in states of earlier versions.
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
    /// Epochs in a row that were no better.
    pub fn without_change(&self) -> u32 {
        self.without_change
    }

    /// Goes by something else from now on: what was best by another measure is no measure.
    pub(super) fn go_by(&mut self, basis: Basis) {
        (self.basis, self.best, self.without_change) = (Some(basis), f64::INFINITY, 0);
    }

    /// Looks at an epoch's loss, or at its negative score; `lr` is the learning rate as scheduled.
    pub fn epoch(&mut self, options: &EarlyStopping, loss: f64, lr: f64) -> Verdict {
        // An epoch whose updates were all skipped has no loss, and made nothing better.
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
        let mut watched = EarlyStopState::default();
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
        assert_eq!(watched.epoch(&options, -1.0, 0.1), Verdict::GoOn);
        watched.go_by(Basis { criterion: Criterion::HeldOutLoss, undefined: None });
        assert_eq!(watched.epoch(&options, 5.0, 0.1), Verdict::GoOn);
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
