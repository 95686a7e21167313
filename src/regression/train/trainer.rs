//! A run from start to end: placement, worker, loop, and a new start after a lost device.

use super::observer::Observer;
use super::run::{RunContext, train};
use super::snapshots::{CheckpointPolicy, Snapshots};
use super::{
    Backend, DataPlacement, Reduce, Report, RunState, StreamTimes, Submissions, TrainError, TrainPlan,
    TrainingData, VerifyEvery, Worker,
};
use crate::Error;
use crate::regression::Problem;
#[cfg(not(target_arch = "wasm32"))]
use crate::regression::device::block_on;
use std::sync::atomic::AtomicBool;

/// Attempts with a device that is lost again and again without an update in between.
const ATTEMPTS: u32 = 3;

/// Trains by one plan.
///
/// ```
/// use wgpu_optim::regression::train::{Backend, Batches, Recipe, TrainPlan, Trainer};
/// use wgpu_optim::regression::{Problem, Table};
/// use wgpu_optim::{Adam, Loss};
///
/// let (x, y) = ([0.0f32, 1.0, 2.0, 3.0], [1.0f32, 3.0, 5.0, 7.0]);
/// let mut problem = Problem::from_table("line", Table::new(1, &x, &y))?;
/// let model = problem.model(Loss::Mse, true)?;
/// let recipe = Recipe::new(model, Adam { lr: 0.1, ..Adam::default() }.into());
/// let plan =
///     TrainPlan { batches: Batches::epochs(4, 4, 500), ..TrainPlan::new(&problem, recipe)? };
/// let outcome = Trainer::new(&problem, &plan, Backend::Cpu).run()?;
/// let [slope, intercept] = outcome.report.params[..] else { unreachable!("a line") };
/// assert!((slope - 2.0).abs() < 0.01 && (intercept - 1.0).abs() < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// On a device, and with several plans over the same rows, which are uploaded once:
///
/// ```no_run
/// # use wgpu_optim::regression::train::{Backend, Recipe, TrainPlan, TrainingData};
/// # use wgpu_optim::regression::device::block_on;
/// # use wgpu_optim::regression::{Gpu, Problem};
/// # use wgpu_optim::{Adam, Loss, RmsProp};
/// # fn rows() -> Problem { Problem::blog() }
/// let mut problem = rows();
/// problem.standardize();
/// let model = problem.model(Loss::Mse, true)?;
/// let plans = [Adam::default().into(), RmsProp::default().into()]
///     .map(|rule| TrainPlan::new(&problem, Recipe::new(model, rule)));
/// let plans = plans.into_iter().collect::<Result<Vec<_>, _>>()?;
/// let mut data = TrainingData::new(&problem, &plans, Backend::Gpu(block_on(Gpu::open(None))?));
/// for plan in &plans {
///     println!("{}: {}", plan.recipe.rule.name(), data.trainer(plan).run()?.report.loss);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Trainer<'a> {
    source: Source<'a>,
    plan: &'a TrainPlan,
    start: Option<&'a [f64]>,
    resumed: Option<RunState>,
    checkpoints: Option<CheckpointPolicy>,
    stop: Option<&'a AtomicBool>,
    observer: Option<&'a mut dyn Observer>,
    reduce: Option<&'a mut dyn Reduce>,
}

/// Where the worker of a run comes from.
enum Source<'a> {
    Own(Box<TrainingData>),
    Shared(&'a mut TrainingData),
    Worker(&'a Problem, &'a mut dyn Worker),
}

/// Results of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Losses, parameters and checks.
    pub report: Report,
    /// Where the rows were; `None` on a worker of the caller's.
    pub placement: Option<DataPlacement>,
    /// Times of streaming, if rows were streamed to a device.
    pub streaming: Option<StreamTimes>,
    /// Submissions to a device since the previous run on the same rows.
    pub submissions: Option<Submissions>,
}

impl<'a> Trainer<'a> {
    /// Trains on rows that are placed for this run alone.
    pub fn new(problem: &Problem, plan: &'a TrainPlan, backend: Backend) -> Self {
        Self::of(Source::Own(Box::new(TrainingData::new(problem, [plan], backend))), plan)
    }

    /// Trains on rows that several runs share.
    pub(super) fn on(data: &'a mut TrainingData, plan: &'a TrainPlan) -> Self {
        Self::of(Source::Shared(data), plan)
    }

    /// Trains on a worker of the caller's, which must be fresh. It is neither chosen nor replaced: there is no retry
    /// after a lost device.
    pub fn with_worker(problem: &'a Problem, plan: &'a TrainPlan, worker: &'a mut dyn Worker) -> Self {
        Self::of(Source::Worker(problem, worker), plan)
    }

    fn of(source: Source<'a>, plan: &'a TrainPlan) -> Self {
        Trainer {
            source,
            plan,
            start: None,
            resumed: None,
            checkpoints: None,
            stop: None,
            observer: None,
            reduce: None,
        }
    }

    /// Starts at these parameters, as [`Model::params`](crate::Model::params) counts them; default: zeros.
    pub fn start(self, params: &'a [f64]) -> Self {
        Trainer { start: Some(params), ..self }
    }

    /// Resumes from a state, if there is one. The run ends with the same bits as one that never stopped.
    pub fn resume(self, state: impl Into<Option<RunState>>) -> Self {
        Trainer { resumed: state.into(), ..self }
    }

    /// Passes the state of the run to [`Observer::save`].
    pub fn checkpoints(self, policy: impl Into<Option<CheckpointPolicy>>) -> Self {
        Trainer { checkpoints: policy.into(), ..self }
    }

    /// Ends the run with [`TrainError::Interrupted`] between two updates once the flag is set.
    pub fn stop(self, stop: &'a AtomicBool) -> Self {
        Trainer { stop: Some(stop), ..self }
    }

    /// Passes the events of the run to an observer.
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Trainer { observer: Some(observer), ..self }
    }

    /// Sums the gradient of every update over several processes. Updates are not verified then: the plan's
    /// [`verify`](TrainPlan::verify) must be [`VerifyEvery::Never`].
    pub fn reduce(self, reduce: &'a mut dyn Reduce) -> Self {
        Trainer { reduce: Some(reduce), ..self }
    }

    /// [Trains](Self::train), and blocks the thread until the run ends.
    ///
    /// # Errors
    /// Those of [`train`](Self::train).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(self) -> Result<Outcome, TrainError> {
        block_on(self.train())
    }

    /// Trains.
    ///
    /// Natively the future is ready when it is polled for the first time, unless a worker of the caller's is pending.
    /// In the browser it waits for the device without blocking, and lets the page draw meanwhile. It is not [`Send`]:
    /// workers, observers and the rows of a device stay on their thread.
    ///
    /// The future may be dropped whenever it is pending: objects of the device are dropped with it. The states that were
    /// saved remain, and a run that resumes from the latest one ends with the same bits. Further runs may use the rows in
    /// [`TrainingData`], but not the [worker](Self::with_worker) of a run that was dropped.
    ///
    /// # Errors
    /// [`TrainError`]: divergence with its update, an interruption, rows or a model that cannot be placed, or a
    /// device that fails.
    pub async fn train(self) -> Result<Outcome, TrainError> {
        if self.reduce.is_some() && self.plan.verify != VerifyEvery::Never {
            let (rule, field) = ("a run of several processes", "verify");
            let error = Error::Option { rule, field, value: "on", range: "never" };
            return Err(error.into());
        }
        let (never, mut nobody) = (AtomicBool::new(false), ());
        let snapshots = Snapshots::new(self.checkpoints, self.resumed);
        let last_reported = snapshots.update();
        let mut context = RunContext {
            plan: self.plan,
            stop: self.stop.unwrap_or(&never),
            observer: self.observer.unwrap_or(&mut nobody),
            reduce: self.reduce.map(|reduce| reduce as &mut dyn Reduce),
            snapshots,
            last_reported,
        };
        let zeros = vec![0.0; self.plan.recipe.model.params()];
        let start = self.start.unwrap_or(&zeros);
        match self.source {
            Source::Own(mut data) => data.run(start, &mut context).await,
            Source::Shared(data) => data.run(start, &mut context).await,
            Source::Worker(problem, worker) => {
                self.plan.validate(problem)?;
                let report = train(problem, worker, &mut context).await?;
                Ok(Outcome { report, placement: None, streaming: None, submissions: None })
            }
        }
    }
}

impl TrainingData {
    /// Trains; a device that is lost is opened again, and the run resumes from its latest snapshot.
    async fn run(&mut self, start: &[f64], context: &mut RunContext<'_>) -> Result<Outcome, TrainError> {
        self.check(context.plan)?;
        self.split |= context.reduce.is_some();
        let progress = |context: &RunContext| (context.last_reported, context.snapshots.update());
        let (mut previous, mut attempts) = (progress(context), 0);
        loop {
            let error = match self.attempt(start, context).await {
                Err(TrainError::Interrupted { update }) => {
                    return Err(TrainError::Interrupted { update });
                }
                Err(error) => error,
                outcome => return outcome,
            };
            let Backend::Gpu(gpu) = self.backend.clone() else { return Err(error) };
            if gpu.lost().is_none() {
                return Err(error);
            }
            let now = progress(context);
            attempts = if now > previous { 1 } else { attempts + 1 };
            previous = now;
            context.observer.device_lost(&gpu, &error);
            // The snapshot may be newer than the latest checkpoint.
            context.save()?;
            if attempts == ATTEMPTS {
                return Err(TrainError::Lost(Box::new(error)));
            }
            let gpu = self.reopen(&gpu).await.map_err(TrainError::Reopen)?;
            context.observer.device_reopened(&gpu, context.snapshots.update());
        }
    }

    /// Places the rows, makes a worker, and trains on it.
    async fn attempt(
        &mut self,
        start: &[f64],
        context: &mut RunContext<'_>,
    ) -> Result<Outcome, TrainError> {
        loop {
            self.place(context.observer).await?;
            let TrainingData { problem, placement, .. } = &*self;
            let Some(rows) = &self.rows else { continue };
            let of = (context.plan, context.reduce.is_some());
            let error = match rows.worker(problem, of, start).await {
                Ok(mut worker) => {
                    let gpu = match &self.backend {
                        Backend::Gpu(gpu) => Some(gpu),
                        Backend::Cpu | Backend::F64 => None,
                    };
                    context.snapshots.on_device = gpu.is_some();
                    context.observer.started(gpu).map_err(TrainError::Observer)?;
                    let before = rows.stream_times();
                    let report = train(problem, &mut *worker, context).await?;
                    let streaming = rows.stream_times().zip(before);
                    return Ok(Outcome {
                        report,
                        placement: *placement,
                        streaming: streaming.map(|(after, before)| after.since(&before)),
                        submissions: rows.take_submissions(),
                    });
                }
                Err(error) => error,
            };
            self.smaller(error, context.observer)?;
        }
    }
}
