//! Where a run stands between two updates.

use super::stopping::EarlyStopState;
use crate::Error;
use crate::cpu::StepState;
use crate::regression::verification::Verification;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// Numbers as a worker has them, to the bit.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// Of one that computes in f32.
    Single(Vec<f32>),
    /// Of one that computes in f64.
    Double(Vec<f64>),
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Numbers::Single(values) => values.len(),
            Numbers::Double(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// They as f32, rounded where they are wider.
    pub fn singles(&self) -> Cow<'_, [f32]> {
        match self {
            Numbers::Single(values) => values.into(),
            Numbers::Double(values) => values.iter().map(|&value| value as f32).collect(),
        }
    }

    /// They as f64.
    pub fn doubles(&self) -> Cow<'_, [f64]> {
        match self {
            Numbers::Single(values) => values.iter().map(|&value| value.into()).collect(),
            Numbers::Double(values) => values.into(),
        }
    }

    /// Whether all of them are finite.
    pub fn are_finite(&self) -> bool {
        // Without an early end, so that it is as fast as reading them.
        match self {
            Numbers::Single(values) => values.iter().fold(true, |all, value| all & value.is_finite()),
            Numbers::Double(values) => values.iter().fold(true, |all, value| all & value.is_finite()),
        }
    }
}

/// Equal to the bit.
impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Numbers::Single(a), Numbers::Single(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            (Numbers::Double(a), Numbers::Double(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            _ => false,
        }
    }
}

/// All that a worker's next update depends on, besides its recipe and the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerState {
    /// The parameters, as [`Model::params`](crate::Model::params) counts them.
    pub params: Numbers,
    /// One vector for each of [`Rule::moments`](crate::Rule::moments), as long as the parameters.
    pub moments: Vec<Numbers>,
    /// The parameters' moving average, where one is kept.
    pub average: Option<Numbers>,
    /// Steps taken, and the powers that correct the moments' bias.
    pub step: StepState,
}

impl WorkerState {
    /// All of its vectors: parameters, moments, and the average if there is one.
    pub fn vectors(&self) -> impl Iterator<Item = &Numbers> {
        std::iter::once(&self.params).chain(&self.moments).chain(&self.average)
    }

    /// Whether every number of it is finite.
    pub fn is_finite(&self) -> bool {
        self.vectors().all(Numbers::are_finite)
    }

    /// Checks that it is of a model with so many parameters and moments, and of an average where there is one.
    pub(super) fn check(&self, params: usize, moments: usize, average: bool) -> Result<(), Error> {
        let length = |what: &str, actual: usize, expected: usize| match actual == expected {
            true => Ok(()),
            false => Err(Error::Length {
                what: what.into(),
                actual: actual as u64,
                expected: expected as u64,
            }),
        };
        length("moments of the state", self.moments.len(), moments)?;
        length("averages of the state", self.average.is_some().into(), average.into())?;
        self.vectors().try_for_each(|vector| length("a vector of the state", vector.len(), params))
    }
}

/// Updates that were not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonFiniteCount {
    /// How many.
    pub total: u64,
    /// How many of them one after the other, up to the last update.
    pub in_a_row: u32,
}

/// The least of the losses over all rows that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The update after which it was.
    pub update: u64,
    /// What it was.
    #[serde(with = "exactly")]
    pub loss: f64,
}

/// Where a run stands between two updates: with its configuration and its data all that the rest of it depends
/// on. Which rows come next and at which learning rate follows from the number of the update, as does what is
/// random in it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// What the worker has.
    pub worker: WorkerState,
    /// The rest.
    pub progress: LoopState,
}

/// What the loop around a worker has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopState {
    /// Updates made, or skipped.
    pub update: u64,
    /// The loss of the last one's batch ahead of it.
    #[serde(with = "exactly")]
    pub batch_loss: f64,
    /// The loss over all rows before the first one.
    #[serde(with = "exactly")]
    pub initial_loss: f64,
    /// The least loss over all rows on the way.
    pub best: Option<Best>,
    /// What was skipped.
    pub skips: NonFiniteCount,
    /// What is known of the epochs, where the run may stop early.
    pub watched: Option<EarlyStopState>,
    /// Whether it did.
    pub stopped_early: bool,
    /// What the checks came to, where there were any.
    pub verification: Option<Verification>,
    /// Time spent training.
    pub training: Duration,
    /// Time spent on verification.
    pub verifying: Duration,
    /// Rows that [`training`](Self::training) is the time of.
    pub timed_rows: u64,
}

impl LoopState {
    /// Before the first update.
    pub(super) fn at_start(initial_loss: f64) -> Self {
        LoopState {
            update: 0,
            batch_loss: f64::NAN,
            initial_loss,
            best: None,
            skips: NonFiniteCount::default(),
            watched: None,
            stopped_early: false,
            verification: None,
            training: Duration::ZERO,
            verifying: Duration::ZERO,
            timed_rows: 0,
        }
    }
}

impl RunState {
    /// Checks that its counts are such as a run comes to, whoever wrote them.
    ///
    /// # Errors
    /// Which is not, and why.
    pub(super) fn check(&self) -> Result<(), String> {
        /// No run gets as far.
        const FAR: u64 = 1 << 62;
        let LoopState { update, skips, .. } = self.progress;
        let LoopState { best, watched, verification, .. } = &self.progress;
        let LoopState { training, verifying, timed_rows, .. } = self.progress;
        let (rows, without_change) =
            watched.as_ref().map_or((0, 0), |watched| (watched.rows, watched.without_change()));
        let (checks, values) =
            verification.as_ref().map_or((0, 0), |checked| (checked.checks, checked.values));
        for (name, value, most) in [
            ("skips", skips.total, update),
            ("skips in a row", skips.in_a_row.into(), skips.total),
            ("updates up to the best loss", best.map_or(0, |best| best.update), update),
            ("epochs without change", without_change.into(), update),
            ("checks", checks, update),
            ("values that were checked", values, FAR),
            ("rows of the epoch", rows, FAR),
            ("rows that were timed", timed_rows, FAR),
            ("seconds of training", training.as_secs(), FAR),
            ("seconds of verification", verifying.as_secs(), FAR),
            ("steps", self.worker.step.t, FAR),
        ] {
            if value > most {
                return Err(format!("{name} are {value}, and can be at most {most}"));
            }
        }
        Ok(())
    }
}

/// An f64 that comes back as it was, where JSON by itself knows no infinity.
pub(super) mod exactly {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{value:?}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    }
}
