//! Runs as futures: on an executor of the caller's, on a worker that is pending, and dropped half-way.

use crate::training::{self, States, gpu};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::device::block_on;
use wgpu_optim::regression::reference::synthetic::Options;
use wgpu_optim::regression::train::{
    Backend, Batches, CheckpointPolicy, CpuWorker, EarlyStopping, GpuData, GpuWorker, GradientSums,
    HostRows, Placement, Recipe, Reduce, Report, ResultFuture, RunState, Shuffle, SplitUpdate,
    TrainPlan, Trainer, VerifyEvery, Worker, WorkerState,
};
use wgpu_optim::regression::verification::ObservedStep;
use wgpu_optim::{Adam, Batch, Evaluation, Loss};

/// Whether the future asked to be polled again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls a future on this thread until it is ready, at most `most` times; returns its result and the number of polls.
fn drive<T>(future: impl Future<Output = T>, most: usize) -> (Option<T>, usize) {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    for polls in 1..=most {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (Some(result), polls);
        }
        assert!(woken.0.swap(false, Ordering::Relaxed), "a pending future wakes its executor");
    }
    (None, most)
}

/// Pending three times.
async fn delay() {
    let mut left = 3;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A worker whose operations are pending before they begin, and before they end.
struct Delayed<'a>(&'a mut dyn Worker);

async fn delayed<T>(operation: ResultFuture<'_, T>) -> Result<T, wgpu_optim::regression::ProblemError> {
    delay().await;
    let result = operation.await;
    delay().await;
    result
}

impl Worker for Delayed<'_> {
    fn run<'a>(
        &'a mut self,
        batches: &'a [Batch],
        learning_rates: &'a [f64],
        trace: Option<&'a mut Vec<Vec<f64>>>,
    ) -> ResultFuture<'a, Vec<f64>> {
        Box::pin(delayed(self.0.run(batches, learning_rates, trace)))
    }

    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> ResultFuture<'_, ObservedStep> {
        Box::pin(delayed(self.0.run_observed(batch, lr, sample)))
    }

    fn params(&mut self) -> ResultFuture<'_, Vec<f64>> {
        Box::pin(delayed(self.0.params()))
    }

    fn moments(&mut self) -> ResultFuture<'_, Vec<Vec<f64>>> {
        Box::pin(delayed(self.0.moments()))
    }

    fn take_average(&mut self) -> ResultFuture<'_, ()> {
        Box::pin(delayed(self.0.take_average()))
    }

    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> ResultFuture<'_, Evaluation> {
        Box::pin(delayed(self.0.evaluate(first, rows, shift)))
    }

    fn max_updates(&self) -> usize {
        // So that a run has many submissions, however fast they are.
        self.0.max_updates().min(3)
    }

    fn save(&mut self) -> ResultFuture<'_, WorkerState> {
        Box::pin(delayed(self.0.save()))
    }

    fn restore<'a>(&'a mut self, state: &'a WorkerState) -> ResultFuture<'a, ()> {
        Box::pin(delayed(self.0.restore(state)))
    }

    fn split(&mut self) -> Option<&mut dyn SplitUpdate> {
        self.0.split().is_some().then_some(self)
    }
}

impl SplitUpdate for Delayed<'_> {
    fn unit_rows(&self) -> u64 {
        unreachable!("the loop does not ask for it")
    }

    fn gradient(&mut self, batch: Batch) -> ResultFuture<'_, GradientSums> {
        Box::pin(delayed(self.0.split().expect("it is split").gradient(batch)))
    }

    fn apply<'a>(&'a mut self, gradient: &'a GradientSums, lr: f64) -> ResultFuture<'a, f64> {
        Box::pin(delayed(self.0.split().expect("it is split").apply(gradient, lr)))
    }
}

/// A problem of this many rows.
fn problem(rows: u64) -> Problem {
    let options = Options { features: 5, noise: 0.5, seed: 9, ..Options::default() };
    Problem::synthetic(rows, &options).unwrap()
}

/// A plan with everything that the loop can wait for: checks, evaluations, epochs with held-out rows, an average,
/// traces, and states that updates may have to return to.
fn plan(problem: &mut Problem) -> TrainPlan {
    let model = problem.model(Loss::Mse, true).unwrap();
    let rule = Adam { lr: 0.05, ..Adam::default() }.into();
    let recipe = Recipe { average: Some(0.9), ..Recipe::new(model, rule) };
    let rows = problem.rows - 30;
    let (size, updates) = (rows / 6 - 1, 50);
    TrainPlan {
        learning_rate: training::annealed(&rule, updates),
        batches: Batches::Epochs { rows, size, updates, shuffle: Some(Shuffle { seed: 3, window: 64 }) },
        rows,
        stopping: Some(EarlyStopping { validation_rows: 30, ..EarlyStopping::default() }),
        verify: VerifyEvery::Updates(7),
        eval_every: 5,
        trace: true,
        max_skips: 2,
        ..training::plan(problem, recipe, size, updates)
    }
}

/// The bits of a result.
fn bits(report: &Report) -> (Vec<u64>, u64, u64, u64) {
    let params = report.params.iter().map(|p| p.to_bits()).collect();
    (params, report.loss.to_bits(), report.initial_loss.to_bits(), report.updates)
}

fn cpu_worker<'a>(
    plan: &TrainPlan,
    rows: &'a (Vec<f32>, Vec<f32>),
    start: &[f64],
) -> CpuWorker<'a, f32> {
    let rows = HostRows::Resident { x: &rows.0, aux: &rows.1 };
    CpuWorker::new(rows, &plan.recipe, start).unwrap()
}

#[test]
fn a_run_that_is_polled_has_the_bits_of_one_that_blocks() {
    let backends = [Backend::Cpu, Backend::F64].into_iter();
    // Many updates in one dispatch, and each by itself.
    for rows in [180, 20_000] {
        let mut problem = problem(rows);
        let plan = plan(&mut problem);
        for backend in backends.clone().chain(gpu().map(|gpu| Backend::Gpu(gpu.clone()))) {
            let trainer = || Trainer::new(&problem, &plan, backend.clone());
            let (polled, polls) = drive(trainer().train(), usize::MAX);
            assert_eq!(bits(&polled.unwrap().unwrap().report), bits(&trainer().run().unwrap().report));
            assert_eq!(polls, 1, "natively a device is waited for by blocking");
        }
    }
}

#[test]
fn a_worker_that_is_pending_comes_to_the_same_result() {
    let mut problem = problem(180);
    let plan = plan(&mut problem);
    let start = vec![0.0; plan.recipe.model.params()];
    let rows = problem.materialize::<f32>().unwrap();
    let expected = bits(&training::run(&problem, &plan, &mut cpu_worker(&plan, &rows, &start)));
    let mut worker = cpu_worker(&plan, &rows, &start);
    let mut worker = Delayed(&mut worker);
    let (polled, polls) = drive(Trainer::with_worker(&problem, &plan, &mut worker).train(), usize::MAX);
    assert_eq!(bits(&polled.unwrap().unwrap().report), expected);
    assert!(polls > 6 * 50, "{polls}");
    let mut worker = cpu_worker(&plan, &rows, &start);
    let blocked = training::run(&problem, &plan, &mut Delayed(&mut worker));
    assert_eq!(bits(&blocked), expected);
}

/// One process.
struct Alone;

impl Reduce for Alone {
    fn reduce(&mut self, _: &mut GradientSums) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn a_worker_that_is_pending_between_the_halves_of_an_update_comes_to_the_same_result() {
    let mut problem = problem(180);
    let plan = TrainPlan { verify: VerifyEvery::Never, ..plan(&mut problem) };
    let start = vec![0.0; plan.recipe.model.params()];
    let rows = problem.materialize::<f32>().unwrap();
    let whole = training::run(&problem, &plan, &mut cpu_worker(&plan, &rows, &start));
    let mut worker = cpu_worker(&plan, &rows, &start);
    let (mut worker, mut alone) = (Delayed(&mut worker), Alone);
    let trainer = Trainer::with_worker(&problem, &plan, &mut worker).reduce(&mut alone);
    let (split, _) = drive(trainer.train(), usize::MAX);
    assert_eq!(bits(&split.unwrap().unwrap().report), bits(&whole));
}

/// Drops a run after ever more polls, and resumes it from its latest state on a fresh worker.
fn drop_and_resume<'a, W: Worker + 'a>(problem: &Problem, plan: &TrainPlan, fresh: impl Fn() -> W) {
    let whole = bits(&training::run(problem, plan, &mut fresh()));
    let (mut most, mut resumed_from) = (1, Vec::new());
    loop {
        let mut states = States::default();
        let mut worker = fresh();
        let mut delayed = Delayed(&mut worker);
        let trainer = Trainer::with_worker(problem, plan, &mut delayed)
            .observer(&mut states)
            .checkpoints(CheckpointPolicy::every(4));
        let (ended, _) = drive(trainer.train(), most);
        if let Some(outcome) = ended {
            assert_eq!(bits(&outcome.unwrap().report), whole);
            break;
        }
        let latest: Option<RunState> = states.0.pop();
        resumed_from.push(latest.as_ref().map_or(0, |state| state.progress.update));
        let mut worker = fresh();
        let rest = Trainer::with_worker(problem, plan, &mut worker).resume(latest).run().unwrap();
        assert_eq!(bits(&rest.report), whole, "dropped after {most} polls");
        most += 37;
    }
    assert!(resumed_from.len() > 10 && resumed_from.last() > Some(&20), "{resumed_from:?}");
}

#[test]
fn a_run_that_is_dropped_resumes_with_the_same_bits() {
    let mut small = problem(180);
    let small_plan = plan(&mut small);
    let start = vec![0.0; small_plan.recipe.model.params()];
    let rows = small.materialize::<f32>().unwrap();
    drop_and_resume(&small, &small_plan, || cpu_worker(&small_plan, &rows, &start));

    let Some(gpu) = gpu() else { return };
    let TrainPlan { recipe, batches, .. } = &small_plan;
    let data = GpuData::new(gpu, &small, &recipe.model, batches, Placement::Resident);
    let data = block_on(data).unwrap();
    drop_and_resume(&small, &small_plan, || {
        block_on(GpuWorker::small_batch(&data, recipe, &start, batches)).unwrap()
    });
    // Chunks of few rows, so that the rows on the device differ between where a run is dropped and resumes.
    let data = GpuData::new(gpu, &small, &recipe.model, batches, Placement::Streamed { chunk: 1024 });
    let data = block_on(data).unwrap();
    drop_and_resume(&small, &small_plan, || {
        block_on(GpuWorker::descent(&data, recipe, &start, batches)).unwrap()
    });
}
