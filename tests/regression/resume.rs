//! An interrupted and resumed run has the bits of an uninterrupted one.

use crate::{common, memory_files, training};

use common::step::rules;
use memory_files::MemoryFiles;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::data::FileOptions;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::reference::synthetic::{Options, Response};
use wgpu_optim::regression::train::{
    Batches, CheckpointPolicy, Configuration, CpuWorker, EarlyStopping, GpuData, GpuWorker, HostRows,
    Observer, Placement, Progress, Provenance, Recipe, Report, RunState, Shuffle, TrainError, TrainPlan,
    Trainer, VerifyEvery, Worker,
};
use wgpu_optim::{Adam, Loss, Model, Penalty, Rule};

const UPDATES: u64 = 60;

/// The progress report of an update: its number, the loss of its batch, and the loss over all rows if it was evaluated.
type Told = (u64, u64, Option<u64>);

/// A run, or the rest of one.
struct Outcome {
    report: Report,
    told: Vec<Told>,
    /// The saved states, the final one last.
    states: Vec<RunState>,
}

fn follow(
    problem: &Problem,
    plan: &TrainPlan,
    worker: &mut dyn Worker,
    from: Option<RunState>,
    every: u64,
) -> Outcome {
    let mut events = Events::default();
    let trainer = Trainer::with_worker(problem, plan, worker).resume(from).observer(&mut events);
    let report = trainer.checkpoints(CheckpointPolicy::every(every)).run().unwrap().report;
    Outcome { report, told: events.told, states: events.states }
}

/// The events of a run.
#[derive(Default)]
struct Events {
    told: Vec<Told>,
    states: Vec<RunState>,
}

impl Observer for Events {
    fn progress(&mut self, progress: Progress) -> Result<(), String> {
        let Progress { update, batch_loss, loss, .. } = progress;
        self.told.push((update, batch_loss.to_bits(), loss.map(f64::to_bits)));
        Ok(())
    }

    fn save(&mut self, state: &RunState) -> Result<(), String> {
        self.states.push(state.clone());
        Ok(())
    }
}

/// The updates after which a run is interrupted.
#[derive(Clone, Copy)]
enum Cuts {
    Everywhere,
    /// At the first and last updates, and around a check, an evaluation and the end of an epoch.
    AtSeams,
}

impl Cuts {
    fn include(self, update: u64) -> bool {
        let seams = [1, 2, 5, 6, 7, 8, 9, 30, UPDATES - 1, UPDATES];
        matches!(self, Cuts::Everywhere) || seams.contains(&update)
    }
}

/// Saves a run after every update, and resumes it from the states of `cuts` through a file.
fn cut(what: &str, problem: &Problem, plan: &TrainPlan, cuts: Cuts, workers: [&mut dyn Worker; 2]) {
    let [first, second] = workers;
    let whole = follow(problem, plan, first, None, u64::MAX);
    let cut = follow(problem, plan, second, None, 1);
    assert_same(&format!("{what}, saved after every update"), &whole, &cut, 0);
    let configuration = Configuration::new(problem, plan).unwrap();
    for state in cut.states.iter().filter(|state| cuts.include(state.progress.update)) {
        let (files, path) = (MemoryFiles::default(), Path::new("/state"));
        state.write(&files, path, plan, &configuration, &Provenance::default()).unwrap();
        let (_, bytes) = &files.all()[0];
        let (read, _) = RunState::read(path, bytes, plan, &configuration).unwrap();
        let at = read.progress.update;
        // On a worker with another state.
        let rest = follow(problem, plan, second, Some(read), u64::MAX);
        assert_same(&format!("{what}, cut after update {at}"), &whole, &rest, at);
    }
}

#[track_caller]
fn assert_same(what: &str, whole: &Outcome, rest: &Outcome, at: u64) {
    let end = |outcome: &Outcome| outcome.states.last().map(|state| state.worker.clone());
    if at < whole.report.updates {
        assert_eq!(end(rest), end(whole), "{what}");
    }
    let bits = |report: &Report| {
        let params: Vec<_> = report.params.iter().map(|p| p.to_bits()).collect();
        let validation = report.validation.as_ref().map(|validation| validation.mean_loss().to_bits());
        (params, report.loss.to_bits(), report.initial_loss.to_bits(), validation, report.best)
    };
    assert_eq!(bits(&rest.report), bits(&whole.report), "{what}");
    assert_eq!(rest.report.updates, whole.report.updates, "{what}");
    assert_eq!(rest.report.stopped_early, whole.report.stopped_early, "{what}");
    // The last update is reported after the final state was saved.
    let at = at.min(whole.report.updates - 1);
    let told: Vec<_> = whole.told.iter().filter(|(update, ..)| *update > at).copied().collect();
    assert_eq!(rest.told, told, "{what}");
}

fn synthetic(loss: Loss) -> Problem {
    let outputs = if matches!(loss, Loss::Softmax { .. }) { 3 } else { 1 };
    let response = Response::from(&loss);
    let noise = if response == Response::Linear { 0.5 } else { 0.0 };
    Problem::synthetic(
        150,
        &Options { features: 5, outputs, response, noise, seed: 9, ..Options::default() },
    )
    .unwrap()
}

/// Rows of a file in memory, or streamed in every epoch.
fn file(folder: &Path, memory: u64) -> Problem {
    let (x, y) = synthetic(Loss::Mse).materialize::<f64>().unwrap();
    let mut text = String::from("a,b,c,d,e,y\n");
    for (x, y) in x.chunks(5).zip(&y) {
        let cells: Vec<_> = x.iter().chain([y]).map(|x| format!("{x:?}")).collect();
        text += &(cells.join(",") + "\n");
    }
    let path = folder.join("rows.csv");
    std::fs::write(&path, text).unwrap();
    let mut problem = Problem::file(&path, &FileOptions { memory, ..FileOptions::default() }).unwrap();
    problem.standardize();
    problem
}

/// Shuffled batches that do not divide the rows, a decaying learning rate, a penalty and an average; every seventh update
/// is checked, and every fifth evaluated.
fn plan(problem: &mut Problem, loss: Loss, rule: Rule) -> TrainPlan {
    let model = problem.model(loss, true).unwrap();
    let average = Some(0.9);
    let recipe = Recipe { penalty: Penalty::l2(1e-3), average, ..Recipe::new(model, rule) };
    let shuffle = Some(Shuffle { seed: 3, window: 64 });
    TrainPlan {
        learning_rate: training::annealed(&rule, UPDATES),
        batches: Batches::Epochs { rows: problem.rows, size: 20, updates: UPDATES, shuffle },
        verify: VerifyEvery::Updates(7),
        eval_every: 5,
        ..training::plan(problem, recipe, 20, UPDATES)
    }
}

/// Rules that minimize.
fn descending() -> impl Iterator<Item = Rule> {
    rules().into_iter().filter(|rule| !rule.common_terms().maximize)
}

/// On the processor: in f32 with generated rows, and in f64 with rows in memory.
fn on_processor(what: &str, problem: &Problem, plan: &TrainPlan) {
    let start = vec![0.0; plan.recipe.model.params()];
    let (x, aux) = problem.materialize::<f64>().unwrap();
    let single = || CpuWorker::<f32>::new(HostRows::OnDemand(problem), &plan.recipe, &start).unwrap();
    let rows = || HostRows::Resident { x: &x, aux: &aux };
    let double = || CpuWorker::<f64>::new(rows(), &plan.recipe, &start).unwrap();
    let cuts = Cuts::Everywhere;
    cut(&format!("{what}, f32"), problem, plan, cuts, [&mut single(), &mut single()]);
    cut(&format!("{what}, f64"), problem, plan, cuts, [&mut double(), &mut double()]);
}

/// On the device, with a placement of the rows.
fn on_device(
    what: &str,
    gpu: &Gpu,
    problem: &Problem,
    plan: &TrainPlan,
    (placement, cuts): (Placement, Cuts),
) {
    let TrainPlan { recipe, batches, .. } = plan;
    let start = vec![0.0; recipe.model.params()];
    let data = block_on(GpuData::new(gpu, problem, &recipe.model, batches, placement)).unwrap();
    let worker = || block_on(GpuWorker::descent(&data, recipe, &start, batches)).unwrap();
    let what = &format!("{what}, {placement:?}");
    cut(what, problem, plan, cuts, [&mut worker(), &mut worker()]);
}

/// On the device, with many updates in a dispatch.
fn in_epochs(what: &str, gpu: &Gpu, problem: &Problem, plan: &TrainPlan, cuts: Cuts) {
    let TrainPlan { recipe, batches, .. } = plan;
    let start = vec![0.0; recipe.model.params()];
    let data =
        block_on(GpuData::new(gpu, problem, &recipe.model, batches, Placement::Resident)).unwrap();
    let worker = || block_on(GpuWorker::small_batch(&data, recipe, &start, batches)).unwrap();
    cut(&format!("{what}, in epochs"), problem, plan, cuts, [&mut worker(), &mut worker()]);
}

/// Chunks of some batches.
const STREAMED: Placement = Placement::Streamed { chunk: 2048 };

#[test]
fn every_rule_resumes_with_the_same_bits_on_the_processor() {
    let folder = tempfile::TempDir::new().unwrap();
    for rule in descending() {
        for (kind, mut problem) in [
            ("synthetic", synthetic(Loss::Mse)),
            ("held file", file(folder.path(), 1 << 20)),
            ("streamed file", file(folder.path(), 0)),
        ] {
            let plan = plan(&mut problem, Loss::Mse, rule);
            on_processor(&format!("{}, {kind}", rule.name()), &problem, &plan);
        }
    }
}

/// A device is slow: one rule with bias correction is interrupted everywhere, the others at boundaries.
fn on_device_cuts(rule: &Rule) -> Cuts {
    if rule.name() == "amsgrad" { Cuts::Everywhere } else { Cuts::AtSeams }
}

#[test]
fn every_rule_resumes_with_the_same_bits_on_a_device() {
    let Some(gpu) = training::gpu() else { return };
    for rule in descending() {
        let mut problem = synthetic(Loss::Mse);
        let plan = plan(&mut problem, Loss::Mse, rule);
        let cuts = on_device_cuts(&rule);
        on_device(rule.name(), gpu, &problem, &plan, (Placement::Resident, cuts));
        on_device(rule.name(), gpu, &problem, &plan, (Placement::Virtual, cuts));
    }
}

#[test]
fn every_rule_resumes_with_the_same_bits_from_a_file_on_a_device() {
    let Some(gpu) = training::gpu() else { return };
    let folder = tempfile::TempDir::new().unwrap();
    for rule in descending() {
        let mut problem = file(folder.path(), 0);
        let plan = plan(&mut problem, Loss::Mse, rule);
        let cuts = on_device_cuts(&rule);
        on_device(rule.name(), gpu, &problem, &plan, (STREAMED, cuts));
        in_epochs(rule.name(), gpu, &problem, &plan, cuts);
    }
}

#[test]
fn every_loss_resumes_with_the_same_bits() {
    let rule: Rule = Adam { lr: 0.05, ..Adam::default() }.into();
    for loss in Loss::ALL {
        let mut problem = synthetic(loss);
        let plan = plan(&mut problem, loss, rule);
        on_processor(loss.name(), &problem, &plan);
        if let Some(gpu) = training::gpu() {
            on_device(loss.name(), gpu, &problem, &plan, (Placement::Virtual, Cuts::AtSeams));
            if GpuWorker::is_small_batch(&problem, &plan.recipe, &plan.batches) {
                in_epochs(loss.name(), gpu, &problem, &plan, Cuts::AtSeams);
            }
        }
    }
}

#[test]
fn early_stopping_stops_at_the_same_update() {
    let rule: Rule = Adam { lr: 0.05, ..Adam::default() }.into();
    for (loss, held_out, adaptive) in [
        (Loss::Mse, 0, true),
        (Loss::Mse, 0, false),
        (Loss::Poisson, 30, false),
        (Loss::Logistic, 30, true),
    ] {
        let mut problem = synthetic(loss);
        let mut plan = plan(&mut problem, loss, rule);
        plan.rows = problem.rows - held_out;
        let shuffle = Some(Shuffle { seed: 3, window: 64 });
        plan.batches = Batches::Epochs { rows: plan.rows, size: 20, updates: UPDATES, shuffle };
        let options = EarlyStopping { tol: 0.02, n_iter_no_change: 2, ..EarlyStopping::default() };
        plan.stopping = Some(EarlyStopping { validation_rows: held_out, adaptive, ..options });
        on_processor(&format!("{} {adaptive}", loss.name()), &problem, &plan);
        if let Some(gpu) = training::gpu() {
            on_device(loss.name(), gpu, &problem, &plan, (Placement::Resident, Cuts::Everywhere));
        }
    }
}

/// Stops a run at an update, and has the state that is saved.
struct Interruption<'a> {
    at: u64,
    stop: &'a AtomicBool,
    saved: Option<RunState>,
}

impl Observer for Interruption<'_> {
    fn progress(&mut self, progress: Progress) -> Result<(), String> {
        self.stop.fetch_or(progress.update == self.at, Ordering::Relaxed);
        Ok(())
    }

    fn save(&mut self, state: &RunState) -> Result<(), String> {
        self.saved = Some(state.clone());
        Ok(())
    }
}

#[test]
fn an_interrupted_run_is_saved_where_it_stands() {
    let mut problem = synthetic(Loss::Mse);
    let plan = plan(&mut problem, Loss::Mse, Adam { lr: 0.05, ..Adam::default() }.into());
    let start = vec![0.0; plan.recipe.model.params()];
    let worker = || CpuWorker::<f32>::new(HostRows::OnDemand(&problem), &plan.recipe, &start).unwrap();
    let whole = follow(&problem, &plan, &mut worker(), None, u64::MAX);
    for at in [1, 2, 7, 31, 59] {
        let stop = AtomicBool::new(false);
        let mut interruption = Interruption { at, stop: &stop, saved: None };
        let mut worker_of_it = worker();
        let trainer = Trainer::with_worker(&problem, &plan, &mut worker_of_it);
        let policy = CheckpointPolicy::after(Duration::from_secs(3600));
        let error = trainer.checkpoints(policy).stop(&stop).observer(&mut interruption).run();
        let Err(TrainError::Interrupted { update }) = error else { panic!("not interrupted") };
        let saved = interruption.saved.unwrap();
        assert_eq!(saved.progress.update, update);
        assert!((at..=at + 7).contains(&update), "asked at {at}, stopped after {update}");
        let rest = follow(&problem, &plan, &mut worker(), Some(saved), u64::MAX);
        assert_same(&format!("interrupted after {update}"), &whole, &rest, update);
    }
}

#[test]
fn a_run_may_be_made_longer() {
    let mut problem = synthetic(Loss::Mse);
    let rule: Rule = Adam { lr: 0.05, ..Adam::default() }.into();
    let longer = TrainPlan {
        learning_rate: wgpu_optim::Schedule::constant(0.05).unwrap(),
        ..plan(&mut problem, Loss::Mse, rule)
    };
    let batches = |updates| Batches::Epochs { rows: problem.rows, size: 20, updates, shuffle: None };
    let (shorter, longer) = (
        TrainPlan { batches: batches(17), ..longer.clone() },
        TrainPlan { batches: batches(UPDATES), ..longer },
    );
    let start = vec![0.0; longer.recipe.model.params()];
    let worker = || CpuWorker::<f32>::new(HostRows::OnDemand(&problem), &longer.recipe, &start).unwrap();
    let whole = follow(&problem, &longer, &mut worker(), None, u64::MAX);
    let mut first = follow(&problem, &shorter, &mut worker(), None, u64::MAX);
    let rest = follow(&problem, &longer, &mut worker(), first.states.pop(), u64::MAX);
    assert_eq!(rest.states.last().unwrap().worker, whole.states.last().unwrap().worker);
}

#[test]
fn a_run_that_would_have_stopped_early_is_not_made_longer() {
    let mut problem = synthetic(Loss::Mse);
    let rule: Rule = Adam { lr: 0.05, ..Adam::default() }.into();
    let mut longer = plan(&mut problem, Loss::Mse, rule);
    longer.learning_rate = wgpu_optim::Schedule::constant(0.05).unwrap();
    // No epoch improves by this much: it stops after the third.
    let never = EarlyStopping { tol: 1e9, n_iter_no_change: 2, ..EarlyStopping::default() };
    longer.stopping = Some(never);
    let batches = |updates| Batches::Epochs { rows: problem.rows, size: 20, updates, shuffle: None };
    let start = vec![0.0; longer.recipe.model.params()];
    let worker = || CpuWorker::<f32>::new(HostRows::OnDemand(&problem), &longer.recipe, &start).unwrap();
    longer.batches = batches(UPDATES);
    let whole = follow(&problem, &longer, &mut worker(), None, u64::MAX);
    let stopped = whole.report.updates;
    assert!(whole.report.stopped_early && stopped < UPDATES);
    let shorter = TrainPlan { batches: batches(stopped), ..longer.clone() };
    let mut first = follow(&problem, &shorter, &mut worker(), None, u64::MAX);
    assert!(!first.report.stopped_early);
    let rest = follow(&problem, &longer, &mut worker(), first.states.pop(), u64::MAX);
    assert_eq!((rest.report.updates, rest.report.stopped_early), (stopped, true));
    assert_eq!(rest.report.params, whole.report.params);
}

#[test]
fn a_state_of_another_recipe_is_refused() {
    let mut problem = synthetic(Loss::Mse);
    let plan = plan(&mut problem, Loss::Mse, Adam::default().into());
    let start = vec![0.0; plan.recipe.model.params()];
    let worker =
        |recipe: &Recipe| CpuWorker::<f32>::new(HostRows::OnDemand(&problem), recipe, &start).unwrap();
    let state = block_on(worker(&plan.recipe).save()).unwrap();
    for recipe in [
        Recipe { average: None, ..plan.recipe },
        Recipe { rule: wgpu_optim::Sgd::default().into(), ..plan.recipe },
        Recipe { model: Model { intercept: false, ..plan.recipe.model }, ..plan.recipe },
    ] {
        let mut other = CpuWorker::<f32>::new(
            HostRows::OnDemand(&problem),
            &recipe,
            &start[..recipe.model.params()],
        )
        .unwrap();
        let error = block_on(other.restore(&state)).unwrap_err().to_string();
        assert!(error.contains("of the state"), "{error}");
    }
}
