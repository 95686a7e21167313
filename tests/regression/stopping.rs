//! Early stopping, the adaptive learning rate, and averaging: scikit-learn's rules, computed by hand.

use crate::{common, training};

use common::{Random, assert_within};
use training::{gpu, plan};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::TargetKind;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::reference;
use wgpu_optim::regression::reference::gradient::Rows;
use wgpu_optim::regression::train::{
    Batches, CpuWorker, EarlyStopping, GpuData, GpuWorker, HostRows, Placement, Progress, Recipe,
    Report, TrainPlan, Trainer, Worker,
};
use wgpu_optim::{Adam, Batch, Loss, Model, Sgd};

const ROWS: u64 = 120;

/// Noisy targets, or classes of them.
fn problem(loss: Loss) -> (Problem, Model) {
    let mut random = Random(3);
    let x: Vec<f64> = random.units(3 * ROWS as usize).iter().map(|&x| x.into()).collect();
    let mut y = |row: &[f64]| row[0] - 2.0 * row[1] + 0.5 + f64::from(random.unit());
    let y: Vec<f64> = x.chunks(3).map(&mut y).collect();
    let y = match loss.target_kind() {
        TargetKind::Binary => y.iter().map(|&y| f64::from(y > 0.5)).collect(),
        TargetKind::Count => y.iter().map(|&y| y.abs().round()).collect(),
        _ => y,
    };
    let mut problem = Problem::table("noisy", 3, x, y);
    let model = problem.model(loss, true).unwrap();
    (problem, model)
}

/// Device to train on.
#[derive(Clone, Copy, Debug)]
enum On {
    F64,
    F32,
    Device(&'static Gpu),
    /// The device, with many updates per dispatch.
    SmallBatchKernel(&'static Gpu),
}

fn everywhere() -> Vec<On> {
    let device = gpu().into_iter().flat_map(|gpu| [On::Device(gpu), On::SmallBatchKernel(gpu)]);
    [On::F64, On::F32].into_iter().chain(device).collect()
}

/// Calls `then` with a new worker.
fn with<T>(on: On, problem: &Problem, plan: &TrainPlan, then: impl FnOnce(&mut dyn Worker) -> T) -> T {
    let (recipe, rows) = (&plan.recipe, HostRows::<f64>::OnDemand(problem));
    let start = vec![0.0; recipe.model.params()];
    match on {
        On::F64 => then(&mut CpuWorker::new(rows, recipe, &start).unwrap()),
        On::F32 => {
            let rows = HostRows::<f32>::OnDemand(problem);
            then(&mut CpuWorker::new(rows, recipe, &start).unwrap())
        }
        On::Device(gpu) | On::SmallBatchKernel(gpu) => {
            let (model, batches) = (&recipe.model, &plan.batches);
            let data =
                block_on(GpuData::new(gpu, problem, model, batches, Placement::Resident)).unwrap();
            match on {
                On::SmallBatchKernel(_) => {
                    then(&mut block_on(GpuWorker::small_batch(&data, recipe, &start, batches)).unwrap())
                }
                _ => then(&mut block_on(GpuWorker::descent(&data, recipe, &start, batches)).unwrap()),
            }
        }
    }
}

/// The parameters after every update, too.
fn run(on: On, problem: &Problem, plan: &TrainPlan) -> (Report, Vec<Vec<f64>>) {
    let mut trace = Vec::new();
    let report = with(on, problem, plan, |worker| {
        let mut observe = |progress: Progress| {
            trace.extend(progress.params.map(<[f64]>::to_vec));
            Ok(())
        };
        Trainer::with_worker(problem, plan, worker).observer(&mut observe).run().unwrap().report
    });
    (report, trace)
}

/// scikit-learn's `score` of the held-out rows.
fn score(problem: &Problem, plan: &TrainPlan, params: &[f64], held_out: u64) -> f64 {
    let model = &plan.recipe.model;
    let (x, aux) = problem.rows_of::<f64>(&Batch::new(plan.rows, held_out)).unwrap();
    let evaluation = reference::evaluate(model, Rows { x: &x, aux: &aux }, params, 0.0);
    match model.loss.target_kind() {
        TargetKind::Binary => evaluation.accuracy(),
        TargetKind::Count => 1.0 - evaluation.mean_deviance() / evaluation.null_poisson_deviance(),
        _ => evaluation.r2(),
    }
}

/// The logic of `_plain_sgd`: the number of updates, the parameters, and how often the learning rate was divided by 5.
fn by_hand(worker: &mut dyn Worker, problem: &Problem, plan: &TrainPlan) -> (u64, Vec<f64>, u32) {
    let stopping = plan.stopping.unwrap();
    let (epoch, updates) = (plan.batches.epoch(), plan.batches.updates());
    let (mut best, mut no_improvement, mut divided, mut done) = (f64::INFINITY, 0, 0, 0);
    while done < updates {
        let batches: Vec<Batch> = (done..done + epoch).map(|i| plan.batches.get(i)).collect();
        let eta = plan.learning_rate.at(done) / 5f64.powi(divided as i32);
        let losses = block_on(worker.run(&batches, &vec![eta; batches.len()], None)).unwrap();
        done += epoch;
        let sum: f64 = losses.iter().zip(&batches).map(|(loss, batch)| loss * batch.rows as f64).sum();
        let loss = match stopping.validation_rows {
            0 => sum / plan.rows as f64,
            rows => -score(problem, plan, &block_on(worker.params()).unwrap(), rows),
        };
        no_improvement = if loss > best - stopping.tol { no_improvement + 1 } else { 0 };
        best = best.min(loss);
        if no_improvement < stopping.n_iter_no_change {
            continue;
        }
        if !stopping.adaptive || eta <= 1e-6 {
            break;
        }
        divided += 1;
        no_improvement = 0;
    }
    (done, block_on(worker.params()).unwrap(), divided)
}

/// Stochastic gradient descent in batches that do not divide the rows.
fn descending(problem: &Problem, model: Model, stopping: EarlyStopping) -> TrainPlan {
    let recipe = Recipe::new(model, Sgd { lr: 0.1, ..Sgd::default() }.into());
    let rows = problem.rows - stopping.validation_rows;
    let epochs = 200 * rows.div_ceil(25);
    let batches = Batches::Epochs { rows, size: 25, updates: epochs, shuffle: None };
    let stopping = Some(stopping);
    TrainPlan { batches, rows, stopping, ..plan(problem, recipe, 25, epochs) }
}

/// Asserts that training ends as computed by hand; returns its epochs, and the number of learning-rate reductions.
#[track_caller]
fn assert_by_hand(on: On, problem: &Problem, plan: &TrainPlan) -> (u64, u32) {
    let (report, _) = run(on, problem, plan);
    let (updates, params, divided) = with(on, problem, plan, |worker| by_hand(worker, problem, plan));
    assert_eq!((report.updates, &report.params), (updates, &params), "{on:?}");
    assert_eq!(report.stopped_early, updates < plan.batches.updates(), "{on:?}");
    (updates / plan.batches.epoch(), divided)
}

#[test]
fn training_stops_where_its_loss_gets_no_better() {
    let (problem, model) = problem(Loss::SquaredError);
    for on in everywhere() {
        let epochs = [(1e-2, 1), (1e-3, 5), (1e-4, 2)].map(|(tol, n_iter_no_change)| {
            let stopping = EarlyStopping { tol, n_iter_no_change, ..EarlyStopping::default() };
            assert_by_hand(on, &problem, &descending(&problem, model, stopping)).0
        });
        assert!(epochs.iter().all(|epochs| (3..200).contains(epochs)), "{on:?}: {epochs:?}");
        assert!(epochs[0] < epochs[1] && epochs[0] < epochs[2], "{on:?}: {epochs:?}");
    }
}

#[test]
fn training_stops_where_the_score_of_other_rows_gets_no_better() {
    for loss in [Loss::Mse, Loss::Logistic, Loss::SquaredHinge, Loss::Poisson] {
        let (problem, model) = problem(loss);
        for on in everywhere() {
            let stopping = EarlyStopping { validation_rows: 30, ..EarlyStopping::default() };
            let plan = descending(&problem, model, stopping);
            let (epochs, _) = assert_by_hand(on, &problem, &plan);
            assert!((6..200).contains(&epochs), "{loss:?} on {on:?}: {epochs}");
            let (report, _) = run(on, &problem, &plan);
            let validation = report.validation.unwrap();
            assert_eq!(validation.weight, 30.0);
            assert_eq!(report.evaluation.weight, 90.0);
        }
    }
}

#[test]
fn rows_that_are_held_out_are_not_learned_from() {
    let (problem, model) = problem(Loss::Mse);
    let (x, mut y) = problem.materialize::<f64>().unwrap();
    y[90..].fill(1e6);
    let spoiled = Problem::table("spoiled", 3, x.clone(), y.clone());
    let rest = Problem::table("rest", 3, x[..90 * 3].to_vec(), y[..90].to_vec());
    let never = EarlyStopping { n_iter_no_change: u32::MAX, ..EarlyStopping::default() };
    for on in everywhere() {
        let held_out = EarlyStopping { validation_rows: 30, ..never };
        let (with_them, _) = run(on, &spoiled, &descending(&spoiled, model, held_out));
        let (without, _) = run(on, &rest, &descending(&rest, model, never));
        assert_eq!(with_them.params, without.params, "{on:?}");
        assert_eq!(with_them.loss, without.loss, "{on:?}");
        assert!(with_them.validation.unwrap().mean_loss() > 1e11, "{on:?}");
    }
}

#[test]
fn an_adaptive_learning_rate_is_divided_by_five_until_a_millionth() {
    let (problem, model) = problem(Loss::SquaredError);
    for on in everywhere() {
        let stopping =
            EarlyStopping { tol: 1e-3, n_iter_no_change: 2, adaptive: true, ..EarlyStopping::default() };
        let (epochs, divided) = assert_by_hand(on, &problem, &descending(&problem, model, stopping));
        // 0.1 · 5⁻⁷ is above 10⁻⁶, 0.1 · 5⁻⁸ is not.
        assert_eq!(divided, 8, "{on:?}: {epochs} epochs");
        assert!(epochs < 100, "{on:?}: {epochs} epochs");
    }
}

#[test]
fn an_average_is_the_moving_one_of_the_parameters() {
    let (problem, model) = problem(Loss::SquaredError);
    let decay = 0.9;
    let rule = Adam { lr: 0.05, ..Adam::default() }.into();
    let recipe = Recipe { average: Some(decay), ..Recipe::new(model, rule) };
    let updates = 37;
    let averaged = TrainPlan { trace: true, ..plan(&problem, recipe, 50, updates) };
    let plain = TrainPlan { recipe: Recipe::new(model, rule), ..averaged.clone() };
    for on in everywhere() {
        let (report, trace) = run(on, &problem, &averaged);
        assert_eq!(trace.len() as u64, updates, "{on:?}");
        let mut average = trace[0].clone();
        for params in &trace[1..] {
            for (average, param) in average.iter_mut().zip(params) {
                *average = decay * *average + (1.0 - decay) * param;
            }
        }
        let error = if matches!(on, On::F64) { 1e-14 } else { 1e-6 };
        assert_within(&format!("{on:?}"), &report.params, &average, &[error; 4]);
        let (x, aux) = problem.materialize::<f64>().unwrap();
        let loss = reference::evaluate(&model, Rows { x: &x, aux: &aux }, &average, 0.0).mean_loss();
        assert!((report.loss / loss - 1.0).abs() < 1e-5, "{on:?}: {} for {loss}", report.loss);
        // The average is separate from the trained parameters.
        let (last, alone) = run(on, &problem, &plain);
        assert_eq!(trace, alone, "{on:?}");
        assert_eq!(&last.params, alone.last().unwrap(), "{on:?}");
        assert_ne!(last.params, report.params, "{on:?}");
    }
}
