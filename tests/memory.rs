//! Memory is computed before it is allocated; problems that do not fit are streamed or refused with numbers; submissions
//! are short.

mod common;
#[path = "common/training.rs"]
mod training;

use training::gpu;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::reference::synthetic::{Options, Response};
use wgpu_optim::regression::train::{
    Batches, GpuData, GpuWorker, Memory, MemoryError, MemoryPlan, MemoryPlanner, Placement, Recipe,
    Shuffle, Submissions, Worker,
};
use wgpu_optim::regression::{Problem, ProblemError};
use wgpu_optim::{Adam, Batch, Error, Loss, Model, Rule, Sgd};

const EVERYTHING: Memory = Memory { device: None, host: u64::MAX, shared: true };

fn synthetic(rows: u64, features: u32, outputs: u32, loss: Loss) -> (Problem, Model) {
    let response = Response::from(&loss);
    let options = Options { features, outputs, response, seed: 3, ..Options::default() };
    let mut problem = Problem::synthetic(rows, &options).unwrap();
    let model = problem.model(loss, true).unwrap();
    (problem, model)
}

/// The same rows in memory.
fn table(rows: usize, features: usize) -> (Problem, Model) {
    let x = (0..rows * features).map(|i| (i % 17) as f64 / 17.0).collect();
    let mut problem = Problem::table("table", features, x, vec![1.0; rows]);
    let model = problem.model(Loss::Mse, true).unwrap();
    (problem, model)
}

fn batches(rows: u64, size: u64, shuffle: Option<Shuffle>) -> Batches {
    Batches::Epochs { rows, size, updates: 4, shuffle }
}

fn adam(model: Model) -> Recipe {
    Recipe { average: Some(0.9), ..Recipe::new(model, Adam { lr: 1e-3, ..Adam::default() }.into()) }
}

/// Bytes allocated on a device, by wgpu's report; `None` if the backend does not report them.
fn allocated(gpu: &Gpu) -> Option<u64> {
    // Staging memory is freed when the transfers are complete.
    for _ in 0..2 {
        block_on(gpu.submit(gpu.device.create_command_encoder(&Default::default()))).unwrap();
    }
    gpu.device.generate_allocator_report().map(|report| report.total_allocated_bytes)
}

#[test]
fn the_computed_memory_is_allocated() {
    if gpu().is_none() {
        return;
    }
    let streamed = Placement::Streamed { chunk: 1 << 20 };
    let shuffle = Some(Shuffle { seed: 1, window: 4096 });
    let rows = 40_000;
    let cases = [
        (synthetic(rows, 64, 1, Loss::Mse), Placement::Resident, 512, None),
        (synthetic(rows, 64, 1, Loss::Logistic), Placement::Virtual, 512, None),
        (synthetic(rows, 31, 1, Loss::Mse), streamed, 512, shuffle),
        (synthetic(rows, 20, 10, Loss::Softmax { classes: 10 }), Placement::Resident, rows, None),
        (synthetic(rows, 100, 64, Loss::SquaredError), Placement::Virtual, 1000, None),
        (synthetic(300, 300_000, 1, Loss::Mse), Placement::Virtual, 100, None),
        (table(rows as usize, 50), Placement::Resident, 64, shuffle),
        (table(rows as usize, 50), streamed, rows, None),
        (table(500, 7), Placement::Resident, 20, None),
    ];
    for ((problem, model), placement, size, shuffle) in &cases {
        let gpu = block_on(Gpu::open(None)).unwrap();
        let batches = batches(problem.rows, *size, *shuffle);
        let recipe = adam(*model);
        let planner = MemoryPlanner { problem, recipes: &[recipe], batches: &batches, split: false };
        let needs = planner.needs(&gpu.device.limits(), *placement).unwrap();
        let Some(before) = allocated(&gpu) else { return };
        let data = block_on(GpuData::new(&gpu, problem, model, &batches, *placement)).unwrap();
        let start = vec![0.0; model.params()];
        let worker = block_on(GpuWorker::new(&data, &recipe, &start, &batches)).unwrap();
        let taken = allocated(&gpu).unwrap() - before;
        drop(worker);
        // Drivers round each of about thirty buffers up, to at most 4 KiB.
        let (least, most) = (needs.device(), needs.device() + needs.device() / 100 + 30 * 4096);
        let what = format!("{} × {} by {size}, {placement:?}", problem.rows, problem.features);
        assert!((least..=most).contains(&taken), "{what}: {taken} bytes for {needs:?}: {least}");
    }
}

/// The sums of an update in two halves are in memory between them, also of a small batch.
#[test]
fn the_computed_memory_of_a_split_run_is_allocated() {
    if gpu().is_none() {
        return;
    }
    let cases = [
        (synthetic(300, 300_000, 1, Loss::Mse), Placement::Virtual, 50),
        (synthetic(300, 300_000, 1, Loss::Mse), Placement::Virtual, 300),
        // One dispatch would make many updates of it.
        (table(500, 7), Placement::Resident, 20),
    ];
    for ((problem, model), placement, size) in &cases {
        let gpu = block_on(Gpu::open(None)).unwrap();
        let (batches, recipe) = (batches(problem.rows, *size, None), adam(*model));
        let planner = MemoryPlanner { problem, recipes: &[recipe], batches: &batches, split: true };
        let needs = planner.needs(&gpu.device.limits(), *placement).unwrap();
        let Some(before) = allocated(&gpu) else { return };
        let data = block_on(GpuData::new(&gpu, problem, model, &batches, *placement)).unwrap();
        let start = vec![0.0; model.params()];
        let worker = block_on(GpuWorker::split_descent(&data, &recipe, &start, &batches)).unwrap();
        let taken = allocated(&gpu).unwrap() - before;
        drop(worker);
        let (least, most) = (needs.device(), needs.device() + needs.device() / 100 + 30 * 4096);
        let what = format!("{} × {} by {size}", problem.rows, problem.features);
        assert!((least..=most).contains(&taken), "{what}: {taken} bytes for {needs:?}: {least}");
    }
}

#[test]
fn rows_are_where_they_fit() {
    let (problem, model) = table(100_000, 50);
    let (recipes, batches) = ([adam(model)], batches(100_000, 1000, None));
    let planner =
        MemoryPlanner { problem: &problem, recipes: &recipes, batches: &batches, split: false };
    let limits = wgpu::Limits::default();
    let all = planner.plan(&limits, &EVERYTHING, None).unwrap();
    assert_eq!(all.placement, Placement::Resident);
    assert!(all.needs.rows >= 20_000_000);

    let just = Memory { device: Some(all.needs.device()), ..EVERYTHING };
    assert_eq!(planner.plan(&limits, &just, None).unwrap(), all);
    let less = Memory { device: Some(all.needs.device() - 1), ..EVERYTHING };
    let MemoryPlan { placement, needs } = planner.plan(&limits, &less, None).unwrap();
    assert!(matches!(placement, Placement::Streamed { .. }), "{placement:?}");
    assert!(needs.device() < all.needs.device());

    let none = Memory { device: Some(10_000), ..EVERYTHING };
    let error = planner.plan(&limits, &none, None).unwrap_err();
    let MemoryError::TooLittle { needed, available, .. } = &error else { panic!("{error}") };
    assert_eq!(*available, 10_000);
    let enough = Memory { device: Some(*needed), ..EVERYTHING };
    planner.plan(&limits, &enough, None).unwrap();
    let short = Memory { device: Some(*needed - 1), ..EVERYTHING };
    planner.plan(&limits, &short, None).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("100000 rows × 50 features need") && text.contains("10000 bytes"), "{text}");
}

#[test]
fn a_software_adapters_memory_is_the_hosts() {
    let (problem, model) = table(100_000, 50);
    let (recipes, batches) = ([adam(model)], batches(100_000, 1000, None));
    let planner =
        MemoryPlanner { problem: &problem, recipes: &recipes, batches: &batches, split: false };
    let limits = wgpu::Limits::default();
    let needs = planner.needs(&limits, Placement::Resident).unwrap();
    let of = |host, shared| planner.plan(&limits, &Memory { device: None, host, shared }, None);
    assert_eq!(of(needs.total(), true).unwrap().placement, Placement::Resident);
    assert_ne!(of(needs.total() - 1, true).unwrap().placement, Placement::Resident);
    assert_eq!(of(needs.host, false).unwrap().placement, Placement::Resident);
    assert!(matches!(of(1000, false), Err(MemoryError::TooLittle { available: 1000, .. })));
}

#[test]
fn chunks_are_halved_down_to_one_batch_or_window() {
    let (problem, model) = table(100_000, 50);
    let recipes = [adam(model)];
    let shuffle = Some(Shuffle { seed: 1, window: 3000 });
    for (batches, least) in
        [(batches(100_000, 1000, None), 1000), (batches(100_000, 1000, shuffle), 3000)]
    {
        let planner =
            MemoryPlanner { problem: &problem, recipes: &recipes, batches: &batches, split: false };
        let limits = wgpu::Limits::default();
        let mut plan = planner.plan(&limits, &EVERYTHING, None).unwrap();
        let mut chunks = Vec::new();
        while let Some(smaller) = planner.smaller(&limits, &plan).unwrap() {
            assert!(smaller.needs.rows <= plan.needs.rows, "{smaller:?} after {plan:?}");
            let Placement::Streamed { chunk } = smaller.placement else { panic!("{smaller:?}") };
            chunks.push(chunk);
            plan = smaller;
        }
        // Rows of 50 numbers take 52 on the device.
        assert_eq!(chunks.last(), Some(&(least * 52 * 4)), "{chunks:?}");
        assert!(chunks.len() > 3 && chunks[0] <= 100_000 * 53, "{chunks:?}");
    }
}

/// The same adapter with lower limits.
fn limited(limits: wgpu::Limits) -> Gpu {
    let common::gpu::Gpu { device, queue, .. } = common::gpu::Gpu::with_limits(limits).unwrap();
    Gpu::new(device, queue, gpu().unwrap().info.clone())
}

/// Trains briefly with the planned placement. The plan and every later step may return errors, but must not panic.
fn fit(
    gpu: &Gpu,
    problem: &Problem,
    recipe: Recipe,
    batches: &Batches,
) -> Result<Placement, ProblemError> {
    let planner = MemoryPlanner { problem, recipes: &[recipe], batches, split: false };
    let plan = match planner.plan(&gpu.device.limits(), &EVERYTHING, None) {
        Ok(plan) => plan,
        Err(MemoryError::Library(error)) => return Err(error.into()),
        Err(error) => panic!("{error}"),
    };
    let data = block_on(GpuData::new(gpu, problem, &recipe.model, batches, plan.placement))?;
    let start = vec![0.0; recipe.model.params()];
    let mut worker = block_on(GpuWorker::descent(&data, &recipe, &start, batches))?;
    let first = batches.get(0);
    block_on(worker.run(&[first], &[1e-3], None))?;
    block_on(worker.evaluate(0, problem.rows, 0.0))?;
    assert!(block_on(worker.params())?.iter().all(|p| p.is_finite()));
    Ok(plan.placement)
}

#[test]
fn data_larger_than_a_binding_are_split_or_refused() {
    let Some(gpu) = gpu() else { return };
    let rule: Rule = Sgd { lr: 1e-3, ..Sgd::default() }.into();
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 1 << 16,
        max_buffer_size: 1 << 20,
        ..gpu.device.limits()
    };
    let small = limited(limits);
    let limit = |outcome: Result<Placement, ProblemError>, what: &str| match outcome {
        Err(ProblemError::Library(Error::Limit { available, needed, .. })) => {
            assert!(needed > available, "{what}: {needed} of {available}");
        }
        other => panic!("{what}: {other:?}"),
    };
    // X is split.
    let (problem, model) = synthetic(5000, 40, 1, Loss::Mse);
    let recipe = Recipe::new(model, rule);
    assert_eq!(fit(&small, &problem, recipe, &batches(5000, 100, None)).unwrap(), Placement::Resident);
    // A batch is split too, if the sums of its parts fit a binding.
    assert_eq!(fit(&small, &problem, recipe, &batches(5000, 700, None)).unwrap(), Placement::Resident);
    // Parameters, and moments, which are several times as long.
    let (problem, model) = synthetic(10, 17_000, 1, Loss::Mse);
    limit(fit(&small, &problem, Recipe::new(model, rule), &batches(10, 5, None)), "a row of X");
    let (problem, model) = synthetic(10, 3000, 6, Loss::SquaredError);
    limit(fit(&small, &problem, Recipe::new(model, rule), &batches(10, 5, None)), "parameters");
    let (problem, model) = synthetic(10, 6000, 1, Loss::Mse);
    limit(fit(&small, &problem, adam(model), &batches(10, 5, None)), "moments");
    // Targets of one row.
    let tiny = limited(wgpu::Limits { max_storage_buffer_binding_size: 12_288, ..gpu.device.limits() });
    let (problem, model) = synthetic(10, 1, 4096, Loss::SquaredError);
    limit(fit(&tiny, &problem, Recipe::new(model, rule), &batches(10, 5, None)), "targets");
    // Descriptions of batches.
    let few = limited(wgpu::Limits { max_buffer_size: 1 << 22, ..gpu.device.limits() });
    let (problem, model) = synthetic(1 << 36, 64, 1, Loss::Mse);
    let recipe = Recipe::new(model, rule);
    let all = batches(1 << 36, 1 << 36, None);
    let data = block_on(GpuData::new(&few, &problem, &model, &all, Placement::Virtual)).unwrap();
    let made = block_on(GpuWorker::descent(&data, &recipe, &[0.0; 65], &all)).map(drop);
    limit(made.map(|()| Placement::Virtual).map_err(Into::into), "batches");
    // The device still works.
    let (problem, model) = synthetic(5000, 40, 1, Loss::Mse);
    fit(&small, &problem, Recipe::new(model, rule), &batches(5000, 100, None)).unwrap();
}

/// A device refuses allocations that no machine can serve: later allocations return errors with numbers, and smaller ones
/// succeed.
#[test]
fn a_device_without_memory_refuses_and_still_works() {
    let Some(gpu) = gpu() else { return };
    // 64 TB in buffers that each are within the limits.
    let (problem, model) = synthetic(1 << 38, 64, 1, Loss::Mse);
    let all = batches(1 << 38, 1024, None);
    let error = block_on(GpuData::new(gpu, &problem, &model, &all, Placement::Resident)).unwrap_err();
    assert!(matches!(error, ProblemError::Library(Error::OutOfMemory { .. })), "{error}");
    let (problem, model) = synthetic(5000, 40, 1, Loss::Mse);
    fit(gpu, &problem, adam(model), &batches(5000, 100, None)).unwrap();
}

#[test]
fn no_submission_of_a_large_batch_is_long() {
    let Some(gpu) = gpu() else { return };
    let rows = 1 << 20;
    let (problem, model) = synthetic(rows, 64, 1, Loss::Mse);
    let all = batches(rows, rows, None);
    let data = block_on(GpuData::new(gpu, &problem, &model, &all, Placement::Virtual)).unwrap();
    let mut worker = block_on(GpuWorker::descent(&data, &adam(model), &vec![0.0; 65], &all)).unwrap();
    // Drivers compile kernels when they first run.
    block_on(worker.run(&[Batch::new(0, 1)], &[1e-3], None)).unwrap();
    block_on(worker.evaluate(0, 1, 0.0)).unwrap();
    data.take_submissions();
    // Other load on the machine makes submissions longer, but not all of them.
    let mut seen = Vec::new();
    let short = (0..10).any(|_| {
        block_on(worker.run(&[Batch::new(0, rows)], &[1e-3], None)).unwrap();
        block_on(worker.evaluate(0, rows, 0.0)).unwrap();
        let submissions = data.take_submissions();
        seen.push(submissions);
        assert!(submissions.count > 2, "{} submissions", submissions.count);
        submissions.longest < Submissions::BUDGET
    });
    assert!(short, "{seen:?}");
    assert_eq!(data.take_submissions(), Submissions::default());
}
