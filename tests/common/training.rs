//! Training on every kind of device.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use crate::common;
use std::sync::LazyLock;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::train::{
    Batches, CpuWorker, GpuData, GpuWorker, HostRows, Observer, Placement, Recipe, Report, RunState,
    TrainPlan, Trainer, VerifyEvery, Worker,
};
use wgpu_optim::schedule::CosineAnnealing;
use wgpu_optim::{Rule, Schedule};

/// The library's device, shared by all tests of a file; `None` if tests may run without one.
pub fn gpu() -> Option<&'static Gpu> {
    static GPU: LazyLock<Gpu> = LazyLock::new(|| block_on(Gpu::open(None)).unwrap());
    common::gpu::Gpu::get().map(|_| &*GPU)
}

/// A plan of a number of updates from batches of `size` rows, in order, at the rule's learning rate.
pub fn plan(problem: &Problem, recipe: Recipe, size: u64, updates: u64) -> TrainPlan {
    TrainPlan {
        recipe,
        learning_rate: Schedule::constant(recipe.rule.lr()).unwrap(),
        batches: Batches::Epochs { rows: problem.rows, size, updates, shuffle: None },
        rows: problem.rows,
        stopping: None,
        verify: VerifyEvery::Never,
        eval_every: 0,
        trace: false,
        max_skips: 0,
    }
}

/// A learning rate that falls from the rule's own to zero.
pub fn annealed(rule: &Rule, updates: u64) -> Schedule {
    CosineAnnealing { t_max: updates, eta_min: 0.0 }.schedule(rule.lr()).unwrap()
}

/// Every state of a run that was saved.
#[derive(Default)]
pub struct States(pub Vec<RunState>);

impl Observer for States {
    fn save(&mut self, state: &RunState) -> Result<(), String> {
        self.0.push(state.clone());
        Ok(())
    }
}

/// The report of a run from zero.
pub fn run(problem: &Problem, plan: &TrainPlan, worker: &mut dyn Worker) -> Report {
    Trainer::with_worker(problem, plan, worker).run().unwrap().report
}

/// Trains with the definition in f64.
pub fn in_f64(problem: &Problem, plan: &TrainPlan) -> Report {
    let (x, aux) = problem.materialize::<f64>().unwrap();
    let rows = HostRows::Resident { x: &x, aux: &aux };
    let start = vec![0.0; plan.recipe.model.params()];
    run(problem, plan, &mut CpuWorker::new(rows, &plan.recipe, &start).unwrap())
}

/// Trains on the processor's fast path.
pub fn in_f32(problem: &Problem, plan: &TrainPlan) -> Report {
    let (x, aux) = problem.materialize::<f32>().unwrap();
    let rows = HostRows::Resident { x: &x, aux: &aux };
    let start = vec![0.0; plan.recipe.model.params()];
    run(problem, plan, &mut CpuWorker::new(rows, &plan.recipe, &start).unwrap())
}

/// Trains on the device.
pub fn on_gpu(gpu: &Gpu, problem: &Problem, plan: &TrainPlan) -> Report {
    let (model, batches) = (&plan.recipe.model, &plan.batches);
    let data = block_on(GpuData::new(gpu, problem, model, batches, Placement::Resident)).unwrap();
    let start = vec![0.0; model.params()];
    run(problem, plan, &mut block_on(GpuWorker::descent(&data, &plan.recipe, &start, batches)).unwrap())
}

/// Trains on the device with many updates per dispatch, if the problem is small enough.
pub fn in_epochs(gpu: &Gpu, problem: &Problem, plan: &TrainPlan) -> Option<Report> {
    let (model, batches) = (&plan.recipe.model, &plan.batches);
    if !GpuWorker::is_small_batch(problem, &plan.recipe, batches) {
        return None;
    }
    let data = block_on(GpuData::new(gpu, problem, model, batches, Placement::Resident)).unwrap();
    let start = vec![0.0; model.params()];
    Some(run(
        problem,
        plan,
        &mut block_on(GpuWorker::small_batch(&data, &plan.recipe, &start, batches)).unwrap(),
    ))
}

/// Trains on every device, in every way.
pub fn everywhere(problem: &Problem, plan: &TrainPlan) -> Vec<(&'static str, Report)> {
    let mut reports = vec![("f64", in_f64(problem, plan)), ("f32", in_f32(problem, plan))];
    if let Some(gpu) = gpu() {
        reports.push(("gpu", on_gpu(gpu, problem, plan)));
        reports.extend(in_epochs(gpu, problem, plan).map(|report| ("gpu in epochs", report)));
    }
    reports
}
