//! The state of a run between two updates.

use super::stopping::EarlyStopState;
use crate::Error;
use crate::cpu::StepState;
use crate::regression::verification::Verification;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// Numbers of a worker, bit for bit.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// From a worker that computes in f32.
    Single(Vec<f32>),
    /// From a worker that computes in f64.
    Double(Vec<f64>),
}

impl Numbers {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Numbers::Single(values) => values.len(),
            Numbers::Double(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as f32, rounding f64.
    pub fn singles(&self) -> Cow<'_, [f32]> {
        match self {
            Numbers::Single(values) => values.into(),
            Numbers::Double(values) => values.iter().map(|&value| value as f32).collect(),
        }
    }

    /// The values as f64.
    pub fn doubles(&self) -> Cow<'_, [f64]> {
        match self {
            Numbers::Single(values) => values.iter().map(|&value| value.into()).collect(),
            Numbers::Double(values) => values.into(),
        }
    }

    /// Whether all values are finite.
    pub fn are_finite(&self) -> bool {
        // Without an early exit the loop is vectorized.
        match self {
            Numbers::Single(values) => values.iter().fold(true, |all, value| all & value.is_finite()),
            Numbers::Double(values) => values.iter().fold(true, |all, value| all & value.is_finite()),
        }
    }
}

/// Equality of bits.
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

/// Everything that a worker's next update depends on, besides its recipe and the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerState {
    /// The parameters, as [`Model::params`](crate::Model::params) counts them.
    pub params: Numbers,
    /// One vector for each of [`Rule::moments`](crate::Rule::moments), as long as the parameters.
    pub moments: Vec<Numbers>,
    /// The moving average of the parameters, if there is one.
    pub average: Option<Numbers>,
    /// The number of steps, and the powers that correct the moments' bias.
    pub step: StepState,
}

impl WorkerState {
    /// All of its vectors: parameters, moments, and the average if there is one.
    pub fn vectors(&self) -> impl Iterator<Item = &Numbers> {
        std::iter::once(&self.params).chain(&self.moments).chain(&self.average)
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.vectors().all(Numbers::are_finite)
    }

    /// Checks that the state belongs to a model with these numbers of parameters and moments, with or without an
    /// average.
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

/// Updates that were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonFiniteCount {
    /// Their number.
    pub total: u64,
    /// The number of consecutive ones, up to the last update.
    pub in_a_row: u32,
}

/// The lowest loss over all rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The update after which it was evaluated.
    pub update: u64,
    /// The loss.
    #[serde(with = "exactly")]
    pub loss: f64,
}

/// The state of a run between two updates: with its configuration and its data, everything that the rest of the run
/// depends on. The next rows, learning rate and random numbers follow from the number of the update.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// The state of the worker.
    pub worker: WorkerState,
    /// The state of the loop.
    pub progress: LoopState,
}

/// The state of the loop around a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopState {
    /// Updates made, or skipped.
    pub update: u64,
    /// The loss of the last update's batch, before that update.
    #[serde(with = "exactly")]
    pub batch_loss: f64,
    /// The loss over all rows before the first update.
    #[serde(with = "exactly")]
    pub initial_loss: f64,
    /// The lowest loss over all rows so far.
    pub best: Option<Best>,
    /// Skipped updates.
    pub skips: NonFiniteCount,
    /// The state of early stopping, if the run may stop early.
    pub watched: Option<EarlyStopState>,
    /// Whether the run stopped early.
    pub stopped_early: bool,
    /// The verification so far, if updates are verified.
    pub verification: Option<Verification>,
    /// Time spent training.
    pub training: Duration,
    /// Time spent on verification.
    pub verifying: Duration,
    /// Rows read in the time [`training`](Self::training).
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

/// An f64 as text: JSON has no infinity and no NaN.
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
