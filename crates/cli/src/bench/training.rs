//! Benchmarks of training: epochs, and the time to a given loss.

use super::device::{Copy, Device};
use super::processor::{Processor, read};
use super::sampling::{Interleaved, Samples, Timed};
use super::{BenchError, validation};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::device::block_on;
use wgpu_optim::regression::train::{
    Batches, CpuWorker, GpuData, GpuWorker, HostRows, Placement, Progress, Recipe, TrainError,
    TrainPlan, Trainer, VerifyEvery, Worker,
};
use wgpu_optim::regression::verification::{self, Verification};
use wgpu_optim::{Adam, Loss, Model, Rule, Schedule};

/// Rows and features of the epoch benchmark, which is also run in other programs.
pub const EPOCH: (u64, u32) = (200_000, 100);
/// Batch sizes of the epoch benchmark.
pub const EPOCH_BATCHES: [u64; 2] = [4096, 256];
/// Rows and features of the fit benchmark.
pub const FIT: (u64, u32) = (1 << 17, 64);
/// Target loss of a fit; the noise alone has a loss of 0.01.
pub const TARGET: f64 = 0.012;
/// Maximum number of epochs; a fit that needs more has missed the loss.
pub const MAX_EPOCHS: u64 = 20;
/// Updates per epoch of a fit, and updates between evaluations over all rows.
const UPDATES: u64 = 64;
const EVERY: u64 = 16;
/// Number of copies of X before a fit, and after it.
const COPIES: u32 = 3;

/// The learning rate of a rule in fits: one that reaches the loss, not the best one.
pub fn learning_rate(rule: &Rule) -> f64 {
    match rule {
        Rule::Sgd(sgd) if sgd.momentum != 0.0 => 0.02,
        Rule::Sgd(_) => 0.1,
        Rule::Adamax(_) => 0.04,
        Rule::Adagrad(_) => 0.2,
        Rule::RmsProp(_) | Rule::Lion(_) => 0.01,
        _ => 0.02,
    }
}

fn recipe(problem: &Problem, rule: Rule) -> Recipe {
    Recipe::new(Model::new(problem.features, Loss::Mse), rule)
}

fn start(problem: &Problem) -> Vec<f64> {
    vec![0.0; Model::new(problem.features, Loss::Mse).params()]
}

/// The batch size of a fit.
pub fn fit_batch(rows: u64) -> u64 {
    (rows / UPDATES).max(1)
}

fn batches(rows: u64, size: u64, epochs: u64) -> Batches {
    let size = size.min(rows);
    Batches::Epochs { rows, size, updates: epochs * rows.div_ceil(size), shuffle: None }
}

/// Verifies one update of a worker against its definition.
fn check(
    problem: &Problem,
    recipe: &Recipe,
    batches: &Batches,
    worker: &mut dyn Worker,
) -> Result<Verification, BenchError> {
    let batch = batches.get(0);
    let sample = verification::sample(batch, problem.features, 1);
    let step = block_on(worker.run_observed(batch, recipe.rule.lr(), sample))?;
    let mut report = Verification::new();
    verification::check(&mut report, recipe, problem, &step)?;
    Ok(report)
}

/// An epoch of Adam in batches.
struct Epoch {
    batches: Vec<wgpu_optim::Batch>,
    rates: Vec<f64>,
    bytes: u64,
}

impl Epoch {
    fn new(problem: &Problem, batches: &Batches) -> Self {
        let updates = batches.epoch();
        Epoch {
            batches: (0..updates).map(|i| batches.get(i)).collect(),
            rates: vec![Adam::default().lr; updates as usize],
            bytes: 4 * problem.rows * problem.features as u64,
        }
    }

    fn run(&self, worker: &mut dyn Worker) -> Result<(), BenchError> {
        let most = worker.max_updates();
        for (batches, rates) in self.batches.chunks(most).zip(self.rates.chunks(most)) {
            block_on(worker.run(batches, rates, None))?;
        }
        Ok(())
    }
}

struct EpochOnDevice<'a> {
    device: &'a Device<'a>,
    worker: GpuWorker<'a>,
    epoch: Epoch,
    copy: Copy,
}

impl Interleaved for EpochOnDevice<'_> {
    fn work(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        let started = Instant::now();
        for _ in 0..repeats {
            self.epoch.run(&mut self.worker)?;
        }
        Ok(Timed { wall: started.elapsed().as_secs_f64() / f64::from(repeats), device: None })
    }

    fn copy(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        self.device.time(repeats, |pass| self.copy.record(pass))
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.device.flush()
    }
}

struct EpochOnProcessor<'a> {
    processor: &'a Processor<'a>,
    x: &'a [f32],
    worker: CpuWorker<'a, f32>,
    epoch: Epoch,
}

impl Interleaved for EpochOnProcessor<'_> {
    fn work(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        let EpochOnProcessor { processor, worker, epoch, .. } = self;
        let mut outcome = Ok(());
        let timed = processor.time(repeats, || {
            let run = epoch.run(worker);
            if outcome.is_ok() {
                outcome = run;
            }
        });
        outcome.map(|()| timed)
    }

    fn copy(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        Ok(self.processor.copy(self.epoch.bytes, repeats))
    }

    fn limit(&mut self, repeats: u32) -> Result<Option<Timed>, BenchError> {
        Ok(Some(self.processor.time(repeats, || read(self.x))))
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.processor.memory.flush();
        Ok(())
    }
}

/// A function that takes the samples of a verified benchmark.
pub type Take<'a> = &'a mut dyn FnMut(&mut dyn Interleaved) -> Result<Samples, BenchError>;

/// Measures epochs of Adam on an adapter, in batches of `size`.
pub fn epoch_on_device(
    device: &Device,
    problem: &Problem,
    size: u64,
    take: Take,
) -> Result<(Samples, Verification), BenchError> {
    let (recipe, batches) = (recipe(problem, Adam::default().into()), batches(problem.rows, size, 1));
    let data =
        block_on(GpuData::new(device.gpu, problem, &recipe.model, &batches, Placement::Resident))?;
    let epoch = Epoch::new(problem, &batches);
    let mut worker = block_on(GpuWorker::new(&data, &recipe, &start(problem), &batches))?;
    let report = check(problem, &recipe, &batches, &mut worker)?;
    let report = validation::passed("an epoch", report)?;
    let copy = device.copy_of(epoch.bytes);
    let samples = take(&mut EpochOnDevice { device, worker, epoch, copy })?;
    Ok((samples, report))
}

/// Measures epochs of Adam on the processor, with rows in memory.
pub fn epoch_on_processor(
    processor: &Processor,
    problem: &Problem,
    (x, aux): (&[f32], &[f32]),
    size: u64,
    take: Take,
) -> Result<(Samples, Verification), BenchError> {
    let (recipe, batches) = (recipe(problem, Adam::default().into()), batches(problem.rows, size, 1));
    let epoch = Epoch::new(problem, &batches);
    let rows = HostRows::Resident { x, aux };
    let mut worker = CpuWorker::new(rows, &recipe, &start(problem))?;
    let report = processor.run(|| check(problem, &recipe, &batches, &mut worker))?;
    let report = validation::passed("an epoch", report)?;
    let samples = take(&mut EpochOnProcessor { processor, x, worker, epoch })?;
    Ok((samples, report))
}

/// Result of a fit.
#[derive(Clone, Copy, Debug)]
pub struct Fitted {
    /// Time in seconds, infinite if the loss was not reached.
    pub seconds: f64,
    /// Number of updates until the loss was reached, or of all updates.
    pub updates: u64,
    /// Time of a copy of X in seconds, before and after the fit.
    pub copy: f64,
}

/// Trains until the loss over all rows is at most `target`. The time includes the evaluations every few updates.
fn time_to_loss(
    problem: &Problem,
    recipe: &Recipe,
    batches: &Batches,
    target: f64,
    worker: &mut dyn Worker,
) -> Result<(f64, u64), BenchError> {
    let plan = TrainPlan {
        recipe: *recipe,
        learning_rate: Schedule::constant(recipe.rule.lr())?,
        batches: batches.clone(),
        rows: problem.rows,
        stopping: None,
        verify: VerifyEvery::Never,
        eval_every: EVERY,
        trace: false,
        max_skips: 0,
    };
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let mut reached = None;
    let mut observe = |progress: Progress| {
        if reached.is_none() && progress.loss.is_some_and(|loss| loss <= target) {
            reached = Some((started.elapsed().as_secs_f64(), progress.update));
            stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    };
    let trainer = Trainer::with_worker(problem, &plan, worker);
    let outcome = trainer.stop(&stop).observer(&mut observe).run();
    match (outcome, reached) {
        (Ok(_) | Err(TrainError::Interrupted { .. }), Some(reached)) => Ok(reached),
        // A run that diverges has missed the loss.
        (Ok(_) | Err(TrainError::Diverged { .. } | TrainError::Overflow { .. }), None) => {
            Ok((f64::INFINITY, batches.updates()))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Measures the time to the loss on an adapter, with the data on the device.
pub fn fit_on_device(
    device: &Device,
    problem: &Problem,
    rule: &Rule,
    target: f64,
) -> Result<(Fitted, Verification), BenchError> {
    let recipe = recipe(problem, rule.with_lr(learning_rate(rule)));
    let batches = batches(problem.rows, fit_batch(problem.rows), MAX_EPOCHS);
    let data =
        block_on(GpuData::new(device.gpu, problem, &recipe.model, &batches, Placement::Resident))?;
    let fresh = || block_on(GpuWorker::new(&data, &recipe, &start(problem), &batches));
    let report = validation::passed("a fit", check(problem, &recipe, &batches, &mut fresh()?)?)?;
    // Once for what only the first submissions cost.
    let epoch: Vec<_> = (0..EVERY.min(batches.updates())).map(|i| batches.get(i)).collect();
    let mut warm = fresh()?;
    for batches in epoch.chunks(warm.max_updates()) {
        block_on(warm.run(batches, &vec![recipe.rule.lr(); batches.len()], None))?;
    }
    let mut worker = fresh()?;
    let x = device.copy_of(4 * problem.rows * problem.features as u64);
    let copy = || Ok::<_, BenchError>(device.time(COPIES, |pass| x.record(pass))?.wall);
    let before = copy()?;
    let (seconds, updates) = time_to_loss(problem, &recipe, &batches, target, &mut worker)?;
    let copy = (before + copy()?) / 2.0;
    Ok((Fitted { seconds, updates, copy }, report))
}

/// Measures the time to the loss on the processor, with rows in memory.
pub fn fit_on_processor(
    processor: &Processor,
    problem: &Problem,
    (x, aux): (&[f32], &[f32]),
    rule: &Rule,
    target: f64,
) -> Result<(Fitted, Verification), BenchError> {
    let recipe = recipe(problem, rule.with_lr(learning_rate(rule)));
    let batches = batches(problem.rows, fit_batch(problem.rows), MAX_EPOCHS);
    let fresh = || CpuWorker::new(HostRows::Resident { x, aux }, &recipe, &start(problem));
    let report = processor.run(|| check(problem, &recipe, &batches, &mut fresh()?))?;
    let report = validation::passed("a fit", report)?;
    let copy = || processor.copy(4 * x.len() as u64, COPIES).wall;
    let before = copy();
    let (seconds, updates) =
        processor.run(|| time_to_loss(problem, &recipe, &batches, target, &mut fresh()?))?;
    let copy = (before + copy()) / 2.0;
    Ok((Fitted { seconds, updates, copy }, report))
}
