//! Training on a GPU.

use super::gpu_data::GpuData;
use super::gpu_descent::{self, DescentUpdates};
use super::gpu_evaluation::DeviceEvaluator;
use super::gpu_small_batch::{self, SmallBatchUpdates};
use super::gpu_state::{GpuState, start};
use super::{Batches, GradientSums, Recipe, ResultFuture, SplitUpdate, Worker, WorkerState};
use crate::cpu::StepState;
use crate::gpu::Span;
use crate::regression::kernels::{DescentOptions, GradientLayout, SmallBatchKernel};
use crate::regression::verification::ObservedStep;
use crate::regression::{Batch, Problem};
use crate::{Error, Evaluation};

/// The updates of a worker: all of them are recorded ahead, none waits for the host.
pub trait Updates: std::fmt::Debug {
    /// See [`Worker::run`].
    fn run<'a>(
        &'a mut self,
        state: &'a mut GpuState,
        batches: &'a [Batch],
        learning_rates: &'a [f32],
        trace: Option<&'a mut Vec<Vec<f64>>>,
    ) -> ResultFuture<'a, Vec<f64>>;

    /// See [`Worker::run_observed`].
    fn run_observed<'a>(
        &'a mut self,
        state: &'a mut GpuState,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> ResultFuture<'a, ObservedStep>;

    /// The moments, and then the average if there is one.
    fn state(&self) -> Vec<Span>;

    /// The updates that can be made in two halves.
    fn split(&mut self) -> Option<&mut DescentUpdates> {
        None
    }

    fn step_state(&self) -> StepState;

    fn set_step_state(&mut self, step: StepState);
}

/// Training on a device.
#[derive(Debug)]
pub struct GpuWorker<'a> {
    state: GpuState<'a>,
    updates: Box<dyn Updates>,
    evaluator: DeviceEvaluator,
    max_updates: u64,
}

impl<'a> GpuWorker<'a> {
    /// Whether [`new`](Self::new) makes many updates in one dispatch. The answer depends on the problem alone, not on
    /// the device or the placement, because the sums of the two ways differ in their order.
    pub fn is_small_batch(problem: &Problem, recipe: &Recipe, batches: &Batches) -> bool {
        problem.is_small() && SmallBatchKernel::fits(&recipe.model, batches.max_rows())
    }

    /// A model that starts at `params`, in the order of [`Model::params`](crate::Model::params):
    /// [`small_batch`](Self::small_batch) if the problem [is small](Self::is_small_batch),
    /// [`descent`](Self::descent) if not.
    ///
    /// # Errors
    /// Those of [`descent`](Self::descent) and of [`small_batch`](Self::small_batch).
    pub async fn new(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
    ) -> Result<Self, Error> {
        match Self::is_small_batch(&data.problem, recipe, batches) {
            true => Self::small_batch(data, recipe, params, batches).await,
            false => Self::descent(data, recipe, params, batches).await,
        }
    }

    /// A worker that makes each update by itself, with a [`Descent`](crate::regression::kernels::Descent).
    ///
    /// # Errors
    /// [`Error`] if the recipe is not valid or the device's limits are too low.
    pub async fn descent(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
    ) -> Result<Self, Error> {
        Self::with_rule_file(data, recipe, params, batches, None).await
    }

    /// [`descent`](Self::descent) with another shader file instead of the rule's, which defines the same functions.
    ///
    /// # Errors
    /// Those of [`descent`](Self::descent).
    pub async fn with_rule_file(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
        rule_file: Option<&'static str>,
    ) -> Result<Self, Error> {
        Self::with_descent(data, recipe, params, batches, (rule_file, false)).await
    }

    /// [`descent`](Self::descent) whose updates can be [split](Worker::split): it allocates the sums of a batch.
    ///
    /// # Errors
    /// Those of [`descent`](Self::descent).
    pub async fn split_descent(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
    ) -> Result<Self, Error> {
        Self::with_descent(data, recipe, params, batches, (None, true)).await
    }

    async fn with_descent(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
        (rule_file, split): (Option<&'static str>, bool),
    ) -> Result<Self, Error> {
        let len = GradientLayout::new(&recipe.model)?.padded_len();
        let max_updates = gpu_descent::max_updates(len, data.rows.most_segments(batches.max_rows()));
        let what = "the model and its gradient";
        Self::with(data, recipe, params, batches, (max_updates, what), |params, options| {
            Ok(Box::new(DescentUpdates::new(data, params, options, rule_file, split)?))
        })
        .await
    }

    /// A worker that makes many updates in one dispatch, with a [`SmallBatchKernel`], on resident rows.
    ///
    /// # Errors
    /// [`Error`] if the recipe is not valid, the rows are not resident, or the device's limits are too low.
    pub async fn small_batch(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
    ) -> Result<Self, Error> {
        let max_updates = gpu_small_batch::max_updates(GradientLayout::new(&recipe.model)?.padded_len());
        let what = "the model and its updates";
        Self::with(data, recipe, params, batches, (max_updates, what), |params, options| {
            Ok(Box::new(SmallBatchUpdates::new(data, params, options)?))
        })
        .await
    }

    /// A worker with the updates that `make` allocates, up to `max_updates` in one submission; an error calls them
    /// `what`.
    async fn with(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
        (max_updates, what): (u64, &'static str),
        make: impl FnOnce(&Span, DescentOptions) -> Result<Box<dyn Updates>, Error>,
    ) -> Result<Self, Error> {
        recipe.validate()?;
        let Recipe { model, rule, penalty, average } = *recipe;
        let shape = GradientLayout::new(&model)?;
        let (max_batch, shuffled) = (batches.max_rows(), batches.shuffled());
        let max_batches = max_updates as u32;
        let options = DescentOptions { model, rule, penalty, average, max_batch, max_batches, shuffled };
        data.gpu
            .allocate(what, || {
                let params = start(data, &shape, params)?;
                let updates = make(&params, options)?;
                let evaluator = DeviceEvaluator::new(data, &model, &params, batches)?;
                let planes = (updates.state(), rule.moments().len());
                let state = GpuState::new(data, shape, params, planes, max_updates)?;
                Ok(GpuWorker { state, updates, evaluator, max_updates })
            })
            .await
    }
}

impl Worker for GpuWorker<'_> {
    fn run<'a>(
        &'a mut self,
        batches: &'a [Batch],
        learning_rates: &'a [f64],
        trace: Option<&'a mut Vec<Vec<f64>>>,
    ) -> ResultFuture<'a, Vec<f64>> {
        Box::pin(async move {
            let rates: Vec<f32> = learning_rates.iter().map(|&lr| lr as f32).collect();
            self.updates.run(&mut self.state, batches, &rates, trace).await
        })
    }

    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> ResultFuture<'_, ObservedStep> {
        self.updates.run_observed(&mut self.state, batch, lr, sample)
    }

    fn params(&mut self) -> ResultFuture<'_, Vec<f64>> {
        Box::pin(async { Ok(self.state.all().await?.swap_remove(0)) })
    }

    fn moments(&mut self) -> ResultFuture<'_, Vec<Vec<f64>>> {
        Box::pin(async { Ok(self.state.all().await?.split_off(1)) })
    }

    fn take_average(&mut self) -> ResultFuture<'_, ()> {
        Box::pin(async { Ok(self.state.take_average().await?) })
    }

    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> ResultFuture<'_, Evaluation> {
        Box::pin(self.evaluator.evaluate(self.state.data, first, rows, shift))
    }

    fn max_updates(&self) -> usize {
        self.max_updates as usize
    }

    fn save(&mut self) -> ResultFuture<'_, WorkerState> {
        Box::pin(async { Ok(self.state.save(self.updates.step_state()).await?) })
    }

    fn restore<'a>(&'a mut self, state: &'a WorkerState) -> ResultFuture<'a, ()> {
        Box::pin(async {
            self.state.restore(state).await?;
            self.updates.set_step_state(state.step);
            Ok(())
        })
    }

    fn split(&mut self) -> Option<&mut dyn SplitUpdate> {
        match self.updates.split() {
            Some(_) => Some(self),
            None => None,
        }
    }
}

/// An error of a worker that was not made to be [split](GpuWorker::split_descent).
const WHOLE: Error =
    Error::Option { rule: "worker", field: "updates", value: "whole", range: "in two halves" };

impl SplitUpdate for GpuWorker<'_> {
    fn unit_rows(&self) -> u64 {
        self.state.shape.segment_rows()
    }

    fn gradient(&mut self, share: Batch) -> ResultFuture<'_, GradientSums> {
        Box::pin(
            async move { self.updates.split().ok_or(WHOLE)?.gradient(&mut self.state, share).await },
        )
    }

    fn apply<'a>(&'a mut self, gradient: &'a GradientSums, lr: f64) -> ResultFuture<'a, f64> {
        Box::pin(async move {
            gradient.check(self.state.shape.params())?;
            self.updates.split().ok_or(WHOLE)?.apply(&mut self.state, gradient, lr as f32).await
        })
    }
}
