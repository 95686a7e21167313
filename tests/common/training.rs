//! Training on every kind of device.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use crate::common;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::device::Gpu;
use wgpu_optim::regression::train::{
    Batches, CpuWorker, GpuData, GpuWorker, HostRows, Placement, Plan, Recipe, Report, SmallBatchWorker,
    VerifyEvery, Worker, train,
};
use wgpu_optim::schedule::CosineAnnealing;
use wgpu_optim::{Rule, Schedule};

/// The library's device, shared by all tests of a file; `None` if tests may run without one.
pub fn gpu() -> Option<&'static Gpu> {
    static GPU: LazyLock<Gpu> = LazyLock::new(|| Gpu::open(None).unwrap());
    common::gpu::Gpu::get().map(|_| &*GPU)
}

/// A plan of a number of updates from batches of `size` rows, in order, at the rule's learning rate.
pub fn plan(problem: &Problem, recipe: Recipe, size: u64, updates: u64) -> Plan {
    Plan {
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

/// Trains from zero, and returns the report.
pub fn run(problem: &Problem, plan: &Plan, worker: &mut dyn Worker) -> Report {
    train(problem, plan, worker, &AtomicBool::new(false), &mut |_| Ok(())).unwrap()
}

/// Trains with the definition in f64.
pub fn in_f64(problem: &Problem, plan: &Plan) -> Report {
    let (x, sides) = problem.materialize::<f64>().unwrap();
    let rows = HostRows::Resident { x: &x, sides: &sides };
    let start = vec![0.0; plan.recipe.model.params()];
    run(problem, plan, &mut CpuWorker::new(rows, &plan.recipe, &start).unwrap())
}

/// Trains on the processor's fast path.
pub fn in_f32(problem: &Problem, plan: &Plan) -> Report {
    let (x, sides) = problem.materialize::<f32>().unwrap();
    let rows = HostRows::Resident { x: &x, sides: &sides };
    let start = vec![0.0; plan.recipe.model.params()];
    run(problem, plan, &mut CpuWorker::new(rows, &plan.recipe, &start).unwrap())
}

/// Trains on the device.
pub fn on_gpu(gpu: &Gpu, problem: &Problem, plan: &Plan) -> Report {
    let (model, batches) = (&plan.recipe.model, &plan.batches);
    let data = GpuData::new(gpu, problem, model, batches, Placement::Resident).unwrap();
    let start = vec![0.0; model.params()];
    run(problem, plan, &mut GpuWorker::new(&data, &plan.recipe, &start, batches).unwrap())
}

/// Trains on the device with many updates per dispatch, if the problem is small enough.
pub fn in_epochs(gpu: &Gpu, problem: &Problem, plan: &Plan) -> Option<Report> {
    let (model, batches) = (&plan.recipe.model, &plan.batches);
    if !SmallBatchWorker::fits(problem, &plan.recipe, batches) {
        return None;
    }
    let data = GpuData::new(gpu, problem, model, batches, Placement::Resident).unwrap();
    let start = vec![0.0; model.params()];
    Some(run(problem, plan, &mut SmallBatchWorker::new(&data, &plan.recipe, &start, batches).unwrap()))
}

/// Trains on every device, in every way.
pub fn everywhere(problem: &Problem, plan: &Plan) -> Vec<(&'static str, Report)> {
    let mut reports = vec![("f64", in_f64(problem, plan)), ("f32", in_f32(problem, plan))];
    if let Some(gpu) = gpu() {
        reports.push(("gpu", on_gpu(gpu, problem, plan)));
        reports.extend(in_epochs(gpu, problem, plan).map(|report| ("gpu in epochs", report)));
    }
    reports
}
