//! A trainer over rows of the caller's, on every backend; and updates whose gradients are summed between processes.

use crate::training;

use std::sync::atomic::{AtomicBool, Ordering};
use training::{States, gpu, plan};
use wgpu_optim::cpu::{self, RuleConstants, StepState};
use wgpu_optim::regression::device::block_on;
use wgpu_optim::regression::kernels::GradientLayout;
use wgpu_optim::regression::reference::gradient::{Rows, gradient};
use wgpu_optim::regression::reference::synthetic::{Options, Response};
use wgpu_optim::regression::train::{
    Backend, Batches, CheckpointPolicy, CpuWorker, DataPlacement, EarlyStopping, GpuData, GpuWorker,
    GradientSums, HostRows, Location, MemoryRetry, Numbers, Observer, Placement, PlacementError,
    Progress, Recipe, Reduce, RunState, Shuffle, SplitUpdate, TrainError, TrainPlan, Trainer,
    TrainingData, VerifyEvery, Worker, WorkerState,
};
use wgpu_optim::regression::verification::{
    self, ObservedGradient, ObservedStep, Snapshot, Verification,
};
use wgpu_optim::regression::{Gpu, Problem, Table};
use wgpu_optim::{Adam, Batch, Error, Loss, Model, Penalty, RmsProp, Sgd};

fn backends() -> Vec<Backend> {
    let gpu = gpu().map(|gpu| Backend::Gpu(gpu.clone()));
    [Backend::Cpu, Backend::F64].into_iter().chain(gpu).collect()
}

fn synthetic(loss: Loss, rows: u64, features: u32) -> (Problem, Model) {
    let outputs = if matches!(loss, Loss::Softmax { .. }) { 3 } else { 1 };
    let options =
        Options { features, outputs, response: Response::from(&loss), seed: 5, ..Options::default() };
    let mut problem = Problem::synthetic(rows, &options).unwrap();
    let model = problem.model(loss, true).unwrap();
    (problem, model)
}

/// Everything that an update can have besides its rule.
fn recipe(model: Model) -> Recipe {
    let rule = Adam { lr: 0.05, ..Adam::default() }.into();
    Recipe {
        penalty: Penalty { alpha: 1e-3, l1_ratio: 0.5 },
        average: Some(0.9),
        ..Recipe::new(model, rule)
    }
}

#[test]
fn rows_of_the_caller_are_trained_on_by_every_backend() {
    let x: Vec<f32> = (0..200).map(|i| (i % 17) as f32 / 17.0).collect();
    let y: Vec<f32> = x.chunks(2).map(|x| 3.0 * x[0] - 2.0 * x[1] + 0.5).collect();
    // Rows of weight 0 are wrong.
    let weights: Vec<f32> = (0..100usize).map(|i| if i.is_multiple_of(5) { 0.0 } else { 2.0 }).collect();
    let wrong = |i: usize, y: &f32| if i.is_multiple_of(5) { 1000.0 } else { y - 0.25 };
    let y: Vec<f32> = y.iter().enumerate().map(|(i, y)| wrong(i, y)).collect();
    let table = Table::new(2, &x, &y).weights(&weights);
    let offsets = [-0.25f32; 100];
    let mut problem = Problem::from_table("caller", table.offsets(&offsets)).unwrap();
    let model = problem.model(Loss::Mse, true).unwrap();
    let recipe = Recipe::new(model, Adam { lr: 0.05, ..Adam::default() }.into());
    let plan = TrainPlan {
        batches: Batches::epochs(100, 100, 1500),
        learning_rate: training::annealed(&recipe.rule, 1500),
        ..TrainPlan::new(&problem, recipe).unwrap()
    };
    for backend in backends() {
        let name = format!("{backend:?}");
        let report = Trainer::new(&problem, &plan, backend).run().unwrap().report;
        for (param, expected) in report.params.iter().zip([3.0, -2.0, 0.5]) {
            assert!((param - expected).abs() < 1e-3, "{name}: {:?}", report.params);
        }
    }
}

#[test]
fn a_trainer_has_the_bits_of_the_worker_that_it_chooses() {
    let (problem, model) = synthetic(Loss::Mse, 300, 5);
    let plan = TrainPlan { eval_every: 7, ..plan(&problem, recipe(model), 32, 40) };
    let of = |backend| Trainer::new(&problem, &plan, backend).run().unwrap().report;
    let params = |report: wgpu_optim::regression::train::Report| (report.params, report.loss);
    assert_eq!(params(of(Backend::Cpu)), params(training::in_f32(&problem, &plan)));
    assert_eq!(params(of(Backend::F64)), params(training::in_f64(&problem, &plan)));
    let Some(gpu) = gpu() else { return };
    let small = training::in_epochs(gpu, &problem, &plan).unwrap();
    assert_eq!(params(of(Backend::Gpu(gpu.clone()))), params(small));
    // More than 65,536 numbers.
    let (problem, model) = synthetic(Loss::Mse, 20_000, 5);
    let plan = training::plan(&problem, recipe(model), 500, 20);
    let large = Trainer::new(&problem, &plan, Backend::Gpu(gpu.clone())).run().unwrap().report;
    assert_eq!(params(large), params(training::on_gpu(gpu, &problem, &plan)));
}

/// With the feature `cpu` on all threads and with SIMD, without it on one.
#[test]
fn the_processor_has_the_bits_of_the_plain_functions() {
    // More numbers than one thread sums.
    let (problem, model) = synthetic(Loss::Mse, 40_000, 5);
    let recipe = Recipe { average: None, ..recipe(model) };
    let plan = plan(&problem, recipe, 40_000, 4);
    let report = Trainer::new(&problem, &plan, Backend::Cpu).run().unwrap().report;

    let (x, aux) = problem.materialize::<f32>().unwrap();
    let (mut params, mut grads) = (vec![0.0f32; model.params()], vec![0.0; model.params()]);
    let mut moments = vec![grads.clone(); recipe.rule.moments().len()];
    let mut state = StepState::default();
    for update in 0..4 {
        gradient(&model, Rows { x: &x, aux: &aux }, &params, &mut grads);
        let lr = plan.learning_rate.at(update) as f32;
        let step = state.advance(&RuleConstants::new(&recipe.rule), lr);
        let weights = model.weights();
        for (part, penalty) in
            [(0..weights, recipe.penalty), (weights..params.len(), Penalty::default())]
        {
            let mut moments: Vec<_> =
                moments.iter_mut().map(|moment| &mut moment[part.clone()]).collect();
            let (params, grads) = (&mut params[part.clone()], &grads[part]);
            cpu::update_penalized(&recipe.rule, &penalty, &step, params, grads, &mut moments);
        }
    }
    let expected: Vec<f64> = params.into_iter().map(f64::from).collect();
    assert_eq!(report.params, expected);
}

/// Every event of a run in words.
#[derive(Default)]
struct Words(Vec<String>);

impl Observer for Words {
    fn placed(&mut self, placement: &DataPlacement) {
        self.0.push(format!("placed {:?}", placement.location));
    }

    fn retrying(&mut self, retry: &MemoryRetry) {
        self.0.push(format!("retrying {}", retry.chunk));
    }

    fn started(&mut self, gpu: Option<&Gpu>) -> Result<(), String> {
        self.0.push(format!("started {}", gpu.is_some()));
        Ok(())
    }

    fn save(&mut self, state: &RunState) -> Result<(), String> {
        self.0.push(format!("saved {}", state.progress.update));
        Ok(())
    }
}

#[test]
fn plans_over_one_problem_share_its_rows() {
    let (problem, model) = synthetic(Loss::Mse, 300, 5);
    let rules = [Adam::default().into(), RmsProp::default().into(), Sgd::default().into()];
    let plans = rules.map(|rule| plan(&problem, Recipe::new(model, rule), 32, 20));
    for backend in backends() {
        let on_device = matches!(backend, Backend::Gpu(_));
        let mut data = TrainingData::new(&problem, &plans, backend.clone());
        let mut words = Words::default();
        for plan in &plans {
            let shared = data.trainer(plan).observer(&mut words).run().unwrap();
            let alone = Trainer::new(&problem, plan, backend.clone()).run().unwrap();
            assert_eq!(shared.report.params, alone.report.params);
            assert_eq!(shared.placement.unwrap().location, alone.placement.unwrap().location);
            assert_eq!(shared.submissions.is_some(), on_device);
        }
        let location = if on_device { Location::Device(Placement::Resident) } else { Location::Host };
        let started = format!("started {on_device}");
        let placed = format!("placed {location:?}");
        assert_eq!(words.0, [placed, started.clone(), started.clone(), started]);
    }
}

#[test]
fn rows_that_exceed_the_memory_are_streamed_or_refused() {
    let Some(gpu) = gpu() else { return };
    let (problem, model) = synthetic(Loss::Mse, 20_000, 5);
    let plan = training::plan(&problem, recipe(model), 500, 20);
    let backend = Backend::Gpu(gpu.clone());
    let resident = Trainer::new(&problem, &plan, backend.clone()).run().unwrap();
    let needed = resident.placement.unwrap().needs.device();
    let limited = |bytes| TrainingData::new(&problem, [&plan], backend.clone()).device_memory(bytes);
    let mut words = Words::default();
    let streamed = limited(needed - 1).trainer(&plan).observer(&mut words).run().unwrap();
    assert!(words.0[0].starts_with("placed Device(Streamed"), "{:?}", words.0);
    assert_eq!(streamed.report.params, resident.report.params);
    assert!(streamed.streaming.unwrap().bytes > 0 && resident.streaming.is_none());

    let error = limited(1000).trainer(&plan).run().unwrap_err();
    assert!(matches!(error, TrainError::Placement(PlacementError::Memory(_))), "{error}");
    assert!(error.to_string().contains("1000 bytes are available"), "{error}");
}

#[test]
fn plans_that_do_not_belong_to_the_rows_are_refused() {
    let (problem, model) = synthetic(Loss::Mse, 100, 5);
    let good = plan(&problem, recipe(model), 32, 20);
    let refused = |plan: &TrainPlan| {
        let mut data = TrainingData::new(&problem, [&good], Backend::Cpu);
        data.trainer(plan).run().map(drop).unwrap_err().to_string()
    };
    let other = TrainPlan { recipe: recipe(Model { intercept: false, ..model }), ..good.clone() };
    assert!(refused(&other).contains("model and batches"));
    let other = TrainPlan { batches: Batches::epochs(100, 50, 1), ..good.clone() };
    assert!(refused(&other).contains("model and batches"));
    let alone = |plan: &TrainPlan| {
        let error = Trainer::new(&problem, plan, Backend::Cpu).run().map(drop).unwrap_err();
        assert!(matches!(error, TrainError::Device(_)), "{error}");
        error.to_string()
    };
    let wide = TrainPlan { recipe: recipe(Model { features: 6, ..model }), ..good.clone() };
    assert!(alone(&wide).contains("features of the model"));
    let weighted = TrainPlan { recipe: recipe(Model { weighted: true, ..model }), ..good.clone() };
    assert!(alone(&weighted).contains("auxiliary columns"));
    let outside = TrainPlan { batches: Batches::Given(vec![Batch::new(99, 2)]), ..good.clone() };
    assert!(alone(&outside).contains("rows of a batch"));
    let empty = TrainPlan { batches: Batches::Given(vec![Batch::new(0, 0)]), ..good.clone() };
    assert!(alone(&empty).contains("rows of a batch"));
    let size = TrainPlan { batches: Batches::epochs(100, 0, 1), ..good.clone() };
    assert!(alone(&size).contains("rows of a batch"));
    let held = EarlyStopping { validation_rows: 1, ..EarlyStopping::default() };
    let held = TrainPlan { stopping: Some(held), ..good };
    assert!(alone(&held).contains("rows to train on"));
}

#[test]
fn a_run_is_stopped_saved_and_resumed() {
    let (problem, model) = synthetic(Loss::Mse, 300, 5);
    let plan = plan(&problem, recipe(model), 32, 60);
    for backend in backends() {
        let whole = Trainer::new(&problem, &plan, backend.clone()).run().unwrap().report;
        let (stop, mut states) = (AtomicBool::new(false), States::default());
        let mut stopper = |_: Progress| {
            stop.store(true, Ordering::Relaxed);
            Ok(())
        };
        let stopped = Trainer::new(&problem, &plan, backend.clone()).stop(&stop).observer(&mut stopper);
        assert!(matches!(stopped.run().unwrap_err(), TrainError::Interrupted { .. }));
        let trainer = Trainer::new(&problem, &plan, backend.clone()).observer(&mut states);
        trainer.checkpoints(CheckpointPolicy::every(25)).run().unwrap();
        let updates: Vec<u64> = states.0.iter().map(|state| state.progress.update).collect();
        assert_eq!(updates, [25, 50, 60]);
        let rest = Trainer::new(&problem, &plan, backend).resume(states.0.swap_remove(0));
        assert_eq!(rest.run().unwrap().report.params, whole.params);
    }
}

/// One process that shares a run with no other.
struct Alone;

impl Reduce for Alone {
    fn reduce(&mut self, _: &mut GradientSums) -> Result<(), String> {
        Ok(())
    }
}

/// Batches in order and shuffled, in losses with several outputs and without intercept.
fn split_cases() -> Vec<(Problem, TrainPlan)> {
    let losses = [Loss::Mse, Loss::Logistic, Loss::Poisson, Loss::Softmax { classes: 3 }];
    let cases =
        losses.iter().flat_map(|&loss| [(loss, None), (loss, Some(Shuffle { seed: 3, window: 200 }))]);
    let of = |(loss, shuffle): (Loss, Option<Shuffle>)| {
        let (problem, model) = synthetic(loss, 10_000, 7);
        let model = Model { intercept: shuffle.is_none(), ..model };
        let plan = plan(&problem, recipe(model), 64, 40);
        let batches = Batches::Epochs { rows: 10_000, size: 64, updates: 40, shuffle };
        (problem, TrainPlan { batches, eval_every: 9, ..plan })
    };
    cases.map(of).collect()
}

#[test]
fn halves_of_updates_have_the_bits_of_whole_ones_on_a_device() {
    let Some(gpu) = gpu() else { return };
    for (problem, plan) in split_cases() {
        for placement in [Placement::Resident, Placement::Virtual, Placement::Streamed { chunk: 1 }] {
            let whole = training::on_gpu(gpu, &problem, &plan);
            let backend = Backend::Gpu(gpu.clone());
            let mut data = TrainingData::new(&problem, [&plan], backend).placement(placement);
            let mut alone = Alone;
            let split = data.trainer(&plan).reduce(&mut alone).run().unwrap().report;
            assert_eq!(split.params, whole.params, "{placement:?}");
            // Chunks of one batch are too small for the sums of an evaluation.
            if !matches!(placement, Placement::Streamed { .. }) {
                assert_eq!((split.loss, split.best), (whole.loss, whole.best), "{placement:?}");
            }
        }
    }
}

/// A batch of several segments, and rows with weights.
#[test]
fn halves_of_large_and_weighted_updates_have_the_bits_of_whole_ones_on_a_device() {
    let Some(gpu) = gpu() else { return };
    let (wide, model) = synthetic(Loss::Mse, 5000, 4093);
    let wide_plan = plan(&wide, recipe(model), 5000, 2);
    let x: Vec<f32> = (0..3000).map(|i| (i % 17) as f32 / 17.0).collect();
    let y: Vec<f32> = (0..1000).map(|i| (i % 5) as f32).collect();
    let weights: Vec<f32> = (0..1000).map(|i| (i % 3) as f32).collect();
    let table = Table::new(3, &x, &y).weights(&weights);
    let mut weighted = Problem::from_table("weighted", table).unwrap();
    let model = weighted.model(Loss::Mse, true).unwrap();
    let weighted_plan = plan(&weighted, recipe(model), 64, 40);
    for (problem, plan) in [(wide, wide_plan), (weighted, weighted_plan)] {
        let whole = training::on_gpu(gpu, &problem, &plan);
        let mut alone = Alone;
        let backend = Backend::Gpu(gpu.clone());
        let split = Trainer::new(&problem, &plan, backend).reduce(&mut alone).run().unwrap().report;
        assert_eq!((split.params, split.loss), (whole.params, whole.loss), "{}", problem.name);
    }
}

#[test]
fn shares_of_a_batch_on_two_workers_make_the_update_of_one() {
    let Some(gpu) = gpu() else { return };
    for (problem, plan) in split_cases() {
        let TrainPlan { recipe, batches, .. } = &plan;
        let data =
            block_on(GpuData::new(gpu, &problem, &recipe.model, batches, Placement::Resident)).unwrap();
        let start: Vec<f64> = (0..recipe.model.params()).map(|i| f64::from(0.01 * i as f32)).collect();
        let worker = || block_on(GpuWorker::split_descent(&data, recipe, &start, batches)).unwrap();
        let (mut first, mut second) = (worker(), worker());
        for update in 0..batches.updates() {
            let (batch, lr) = (batches.get(update), plan.learning_rate.at(update));
            let before = block_on(first.save()).unwrap();
            let mut sums = block_on(first.gradient(share(batch, 0, 2))).unwrap();
            let other = block_on(second.gradient(share(batch, 1, 2))).unwrap();
            assert_eq!(block_on(second.gradient(share(batch, 0, batch.rows + 1))).unwrap().rows, 0);
            sums.add(&other).unwrap();
            // As one worker would be observed to make it, whose bounds hold for any order of the same additions.
            let loss = block_on(first.apply(&sums, lr)).unwrap();
            assert_eq!(block_on(second.apply(&sums, lr)).unwrap().to_bits(), loss.to_bits());
            let step = observed(
                &problem,
                recipe,
                batch,
                lr,
                (&sums, loss),
                [&before, &block_on(first.save()).unwrap()],
            );
            let mut report = Verification::new();
            verification::check(&mut report, recipe, &problem, &step).unwrap();
            assert!(report.pass, "update {update}: {report:?}");
        }
        assert_eq!(block_on(first.save()).unwrap(), block_on(second.save()).unwrap());
    }
}

/// An update from summed gradients, as a check reads it.
fn observed(
    problem: &Problem,
    recipe: &Recipe,
    batch: Batch,
    lr: f64,
    (sums, loss): (&GradientSums, f64),
    [before, after]: [&WorkerState; 2],
) -> ObservedStep {
    let model = &recipe.model;
    let singles = |numbers: &Numbers| numbers.singles().into_owned();
    let snapshot = |state: &WorkerState| Snapshot {
        params: singles(&state.params),
        moments: state.moments.iter().map(singles).collect(),
    };
    // The device scales the sums by one factor in f32.
    let of_gradient = if model.loss == Loss::Mse { 2.0 } else { 1.0 };
    let scale = (of_gradient / batch.rows as f64) as f32;
    let grads = singles(&sums.sums)[..model.params()].iter().map(|sum| scale * sum).collect();
    let layout = GradientLayout::new(model).unwrap();
    // Two shares are added in one more addition than the longest of a whole batch.
    let depths = (layout.depth(&[batch.rows as u32]) + 1, layout.dot_depth());
    assert!(!problem.weighted);
    ObservedStep {
        t: after.step.t,
        lr,
        before: snapshot(before),
        gradient: ObservedGradient { batch, depths, grads, loss: loss as f32 },
        sample: None,
        after: snapshot(after),
    }
}

#[test]
fn a_worker_that_is_not_split_says_so() {
    let Some(gpu) = gpu() else { return };
    let (problem, model) = synthetic(Loss::Mse, 100, 5);
    let plan = plan(&problem, recipe(model), 32, 20);
    let data =
        block_on(GpuData::new(gpu, &problem, &model, &plan.batches, Placement::Resident)).unwrap();
    let start = vec![0.0; model.params()];
    let (recipe, batches) = (&plan.recipe, &plan.batches);
    let descent = block_on(GpuWorker::descent(&data, recipe, &start, batches));
    let small_batch = block_on(GpuWorker::small_batch(&data, recipe, &start, batches));
    for worker in [descent, small_batch] {
        let mut worker = worker.unwrap();
        assert!(worker.split().is_none());
        block_on(worker.gradient(plan.batches.get(0))).unwrap_err();
        let mut alone = Alone;
        let trainer = Trainer::with_worker(&problem, &plan, &mut worker).reduce(&mut alone);
        assert!(matches!(trainer.run().unwrap_err(), TrainError::NoSplit));
    }
}

#[test]
fn halves_of_updates_have_the_bits_of_whole_ones_on_the_processor() {
    for (problem, plan) in split_cases() {
        for backend in [Backend::Cpu, Backend::F64] {
            let whole = Trainer::new(&problem, &plan, backend.clone()).run().unwrap().report;
            let mut alone = Alone;
            let split = Trainer::new(&problem, &plan, backend).reduce(&mut alone).run().unwrap().report;
            assert_eq!((split.params, split.loss, split.best), (whole.params, whole.loss, whole.best));
        }
    }
}

/// The part of a batch that one of several processes sums.
fn share(batch: Batch, which: u64, of: u64) -> Batch {
    let (first, end) = (batch.rows * which / of, batch.rows * (which + 1) / of);
    Batch { first: batch.first + first, rows: end - first, ..batch }
}

#[test]
fn shares_of_a_batch_add_up_to_its_gradient() {
    for (problem, plan) in split_cases() {
        let start: Vec<f64> = (0..plan.recipe.model.params()).map(|i| 0.01 * i as f64).collect();
        let worker =
            || CpuWorker::<f64>::new(HostRows::OnDemand(&problem), &plan.recipe, &start).unwrap();
        let (mut whole, mut processes) = (worker(), [worker(), worker(), worker()]);
        for update in 0..plan.batches.updates() {
            let batch = plan.batches.get(update);
            let expected = block_on(whole.gradient(batch)).unwrap();
            let mut sums: Option<GradientSums> = None;
            for (which, process) in (0..).zip(&mut processes) {
                // One of them has no rows.
                let (which, of) = if which == 2 { (0, batch.rows + 1) } else { (which, 2) };
                let part = block_on(process.gradient(share(batch, which, of))).unwrap();
                match &mut sums {
                    Some(sums) => sums.add(&part).unwrap(),
                    none => *none = Some(part),
                }
            }
            let sums = sums.unwrap();
            assert_eq!(sums.rows, batch.rows);
            let (Numbers::Double(actual), Numbers::Double(expected)) = (&sums.sums, &expected.sums)
            else {
                panic!("f64")
            };
            // Of at most 64 terms each, whose magnitudes no bound of this is below.
            let scale = expected.iter().fold(1.0f64, |largest, sum| largest.max(sum.abs()));
            for (actual, expected) in actual.iter().zip(expected) {
                assert!((actual - expected).abs() <= 64.0 * 64.0 * f64::EPSILON * scale);
            }
            let lr = plan.learning_rate.at(update);
            let losses: Vec<f64> = processes
                .iter_mut()
                .map(|process| block_on(process.apply(&sums, lr)).unwrap())
                .collect();
            assert!(losses.iter().all(|loss| loss.to_bits() == losses[0].to_bits()));
            block_on(whole.run(&[batch], &[lr], None)).unwrap();
        }
        let params = processes.map(|mut process| block_on(process.params()).unwrap());
        assert!(params.iter().all(|other| *other == params[0]));
        for (actual, expected) in params[0].iter().zip(block_on(whole.params()).unwrap()) {
            assert!((actual - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{actual} {expected}");
        }
    }
}

#[test]
fn sums_of_another_model_are_refused_and_reductions_may_fail() {
    let (problem, model) = synthetic(Loss::Mse, 100, 5);
    let plan = plan(&problem, recipe(model), 32, 20);
    let rows = HostRows::<f32>::OnDemand(&problem);
    let mut worker = CpuWorker::new(rows, &plan.recipe, &[0.0; 6]).unwrap();
    let mut sums = block_on(worker.gradient(plan.batches.get(0))).unwrap();
    let narrow = GradientSums { rows: 1, sums: Numbers::Single(vec![0.0; 7]) };
    assert!(matches!(sums.add(&narrow), Err(Error::Length { actual: 7, expected: 8, .. })));
    let wide = GradientSums { rows: 1, sums: Numbers::Double(vec![0.0; 8]) };
    sums.add(&wide).unwrap_err();
    block_on(worker.apply(&narrow, 0.1)).unwrap_err();

    struct Broken;
    impl Reduce for Broken {
        fn reduce(&mut self, _: &mut GradientSums) -> Result<(), String> {
            Err("a peer is gone".into())
        }
    }
    let error = Trainer::new(&problem, &plan, Backend::Cpu).reduce(&mut Broken).run().unwrap_err();
    assert_eq!(error.to_string(), "gradients of several processes: a peer is gone");
    let verified = TrainPlan { verify: VerifyEvery::Budget, ..plan };
    let error = Trainer::new(&problem, &verified, Backend::Cpu).reduce(&mut Alone).run().unwrap_err();
    assert!(error.to_string().contains("verify"), "{error}");
}
