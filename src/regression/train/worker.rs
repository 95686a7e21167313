//! The interface between the loop and a backend, and between the processes that share a run.

use super::{Numbers, WorkerState};
use crate::regression::verification::ObservedStep;
use crate::regression::{Batch, ProblemError};
use crate::{Error, Evaluation};
use std::pin::Pin;

/// The future of an operation that may wait for a device. Workers on the processor are ready at once, and so are those
/// on a device natively, which block when they are polled. It need not be [`Send`].
pub type ResultFuture<'a, T, E = ProblemError> = Pin<Box<dyn Future<Output = Result<T, E>> + 'a>>;

/// One recipe and one data set on one device.
///
/// An operation begins when its future is polled, and ends when that is ready. A worker whose future was dropped in
/// between is of no further use; the rows that it reads are.
pub trait Worker {
    /// Makes an update for each batch, at most [`max_updates`](Self::max_updates) of them, with its learning
    /// rate, and returns each batch's loss before its update. The parameters after each update are added to
    /// `trace`, if there is one.
    ///
    /// # Errors
    /// [`ProblemError`] if the device fails or rows cannot be read.
    fn run<'a>(
        &'a mut self,
        batches: &'a [Batch],
        learning_rates: &'a [f64],
        trace: Option<&'a mut Vec<Vec<f64>>>,
    ) -> ResultFuture<'a, Vec<f64>>;

    /// Makes one update and returns its inputs and outputs, in f32: a worker that computes in f64 has nothing to
    /// verify. With a `sample` of the batch also its gradient, from the same parameters.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> ResultFuture<'_, ObservedStep>;

    /// The parameters, as [`Model::params`](crate::Model::params) counts them.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn params(&mut self) -> ResultFuture<'_, Vec<f64>>;

    /// The moments, one vector for each of [`Rule::moments`](crate::Rule::moments).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn moments(&mut self) -> ResultFuture<'_, Vec<Vec<f64>>>;

    /// Replaces the parameters by their average, if there is one.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn take_average(&mut self) -> ResultFuture<'_, ()>;

    /// Evaluates the model on `rows` rows from `first` on; `shift` is an f32 near the mean of the targets.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> ResultFuture<'_, Evaluation>;

    /// The most updates that one [`run`](Self::run) makes.
    fn max_updates(&self) -> usize;

    /// A snapshot of everything that the next update depends on.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    fn save(&mut self) -> ResultFuture<'_, WorkerState>;

    /// Restores a [snapshot](Self::save) of this worker, or of another one with this recipe.
    ///
    /// # Errors
    /// [`Error::Length`] for a snapshot of another recipe; those of [`run`](Self::run).
    fn restore<'a>(&'a mut self, state: &'a WorkerState) -> ResultFuture<'a, ()>;

    /// The update in two halves, if this worker can make it so.
    fn split(&mut self) -> Option<&mut dyn SplitUpdate> {
        None
    }
}

/// The halves of an update, so that gradients of several processes can be summed between them. Without other
/// processes, the halves give the same bits as [`Worker::run`].
pub trait SplitUpdate {
    /// Rows of a unit of the [tree](crate::regression::nodes) over a batch. The sums over a node of the tree are the
    /// [`gradient`](Self::gradient) of its [rows](crate::regression::nodes::Node::rows).
    fn unit_rows(&self) -> u64;

    /// The sums behind the gradient of a batch, which may be the share of one process and have no rows.
    ///
    /// # Errors
    /// Those of [`Worker::run`].
    fn gradient(&mut self, batch: Batch) -> ResultFuture<'_, GradientSums>;

    /// Makes the update of a batch from the sums over all of its rows, and returns its loss.
    ///
    /// # Errors
    /// [`Error::Length`] for sums of another model; those of [`Worker::run`].
    fn apply<'a>(&'a mut self, gradient: &'a GradientSums, lr: f64) -> ResultFuture<'a, f64>;
}

/// The sums behind the gradient of a batch, or of a share of its rows: not yet divided by rows or weight.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientSums {
    /// Rows in the sums.
    pub rows: u64,
    /// A derivative for every parameter, then the loss and the weight of the rows.
    pub sums: Numbers,
}

impl GradientSums {
    /// Adds the sums over other rows of the same batch.
    ///
    /// # Errors
    /// [`Error::Length`] if their number or their type differs.
    pub fn add(&mut self, other: &GradientSums) -> Result<(), Error> {
        let (actual, expected) = (other.sums.len() as u64, self.sums.len() as u64);
        let unlike = || Error::Length { what: "sums of the gradient".into(), actual, expected };
        if actual != expected {
            return Err(unlike());
        }
        match (self.rows, other.rows) {
            (_, 0) => {}
            // Sums are not added to zeros, which would change a −0.
            (0, _) => self.sums = other.sums.clone(),
            _ => match (&mut self.sums, &other.sums) {
                (Numbers::Single(sums), Numbers::Single(others)) => {
                    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
                }
                (Numbers::Double(sums), Numbers::Double(others)) => {
                    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
                }
                _ => return Err(unlike()),
            },
        }
        self.rows += other.rows;
        Ok(())
    }

    /// Checks the number of sums for a number of parameters.
    pub(super) fn check(&self, params: usize) -> Result<(), Error> {
        let expected = params as u64 + 2;
        match self.sums.len() as u64 {
            actual if actual == expected => Ok(()),
            actual => Err(Error::Length { what: "sums of the gradient".into(), actual, expected }),
        }
    }
}

/// Sums gradients over the processes that share a run: every process holds all parameters and makes every update.
///
/// Whatever leads to a call must be the same on all of them: the plan, and the flag that
/// [stops](super::Trainer::stop) a run. Losses over all rows are evaluated by every process for itself.
pub trait Reduce {
    /// The rows of a batch that this process sums; none if it has no rows.
    fn share(&self, batch: Batch) -> Batch {
        batch
    }

    /// Replaces the sums over the share of this process by those over the batch.
    ///
    /// # Errors
    /// Ends the run with [`TrainError::Reduce`](super::TrainError::Reduce).
    fn reduce(&mut self, gradient: &mut GradientSums) -> Result<(), String>;
}
