//! Long runs of every optimizer: sampled updates, each from the device's own bits, compared with the definition; and
//! the whole run, compared with the same run in f64.
//!
//! A long run in f32 has no derived bound: where a rule divides by the size of gradients, errors do not decay. These
//! are allowances, which show only that the runs agree. Parameters of the first hundred updates: 1e-5 · (1 + |w|);
//! 6e-7 was observed on noisy data. The loss over all rows after that: 1e-3 of itself. Lion's step is a sign, which
//! may flip where the averaged gradient is nearly zero and then changes the rest of the run: only single updates of
//! Lion are compared.

use super::variants::plain;
use super::{Check, Compared, Group, Rig, SuiteError};
use crate::cpu::Bounded;
use crate::regression::Problem;
use crate::regression::kernels::GradientLayout;
use crate::regression::reference::synthetic::{Options, Response};
use crate::regression::train::{
    Batches, CpuWorker, GpuData, GpuWorker, HostRows, Placement, Progress, Recipe, Report, Shuffle,
    TrainError, TrainPlan, Trainer, VerifyEvery, Worker,
};
use crate::{Loss, Model, Rule, Schedule};

pub const GROUP: Group = Group { name: "trajectories", run: |rig, checks| Box::pin(run(rig, checks)) };

const FEATURES: u32 = 20;
const ROWS: u64 = 1000;
const BATCH: u64 = 64;
/// The interval of the updates that are compared with the definition.
const EVERY: u64 = 25;
/// The number of updates whose parameters are compared.
const COMPARED: u64 = 100;
/// The allowed relative and absolute error of a loss.
const LOSS: f64 = 1e-3;
const FLOOR: f64 = 1e-6;
/// The allowed error of a parameter, absolute and relative.
const PARAMETER: f64 = 1e-5;

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    let all = if rig.full() { Rule::variants() } else { plain() };
    // Ascent does not converge.
    let all: Vec<(&str, Rule)> =
        rig.of_rules(all).into_iter().map(|(name, rule)| (name, rule.minimizing())).collect();
    let of_losses = [
        ("momentum", Loss::Logistic),
        ("adam", Loss::Poisson),
        ("rmsprop", Loss::Softmax { classes: 4 }),
    ];
    for (name, rule) in &all {
        let others = of_losses.iter().filter(|(of, _)| rig.full() && of == name).map(|(_, loss)| *loss);
        for loss in std::iter::once(Loss::Mse).chain(others) {
            if let Err(error) = of_rule(rig, name, rule, loss, checks).await {
                checks.push(Check::failed("training", &format!("{name}, {}", loss.name()), error));
            }
        }
    }
    Ok(())
}

/// The report of a run, with parameters and losses of its updates.
struct Run {
    report: Report,
    params: Vec<Vec<f64>>,
    losses: Vec<f64>,
}

async fn of_rule(
    rig: &Rig<'_>,
    name: &str,
    rule: &Rule,
    loss: Loss,
    checks: &mut Vec<Check>,
) -> Result<(), SuiteError> {
    let updates = if rig.full() { 10_000 } else { 1000 };
    let response = Response::from(&loss);
    let outputs = Model::new(1, loss).outputs as u32;
    let noise = if response == Response::Linear { 0.1 } else { 0.0 };
    let options =
        Options { features: FEATURES, outputs, response, noise, seed: rig.seed, ..Options::default() };
    let mut problem = Problem::synthetic(ROWS, &options)?;
    let model = problem.model(loss, true)?;
    // As on the device.
    let lr = f64::from(rule.lr() as f32);
    let recipe = Recipe::new(model, *rule);
    let shuffle = Some(Shuffle { seed: rig.seed, window: GradientLayout::new(&model)?.segment_rows() });
    let plan = TrainPlan {
        recipe,
        learning_rate: Schedule::constant(lr)?,
        batches: Batches::Epochs { rows: ROWS, size: BATCH, updates, shuffle },
        rows: ROWS,
        stopping: None,
        verify: VerifyEvery::Updates(EVERY),
        eval_every: updates / 10,
        trace: true,
        max_skips: 0,
    };
    let start = vec![0.0; model.params()];
    let (x, aux) = problem.materialize::<f64>()?;
    let rows = HostRows::Resident { x: &x, aux: &aux };
    let exact_plan = TrainPlan { verify: VerifyEvery::Never, ..plan.clone() };
    let exact =
        follow(&problem, &exact_plan, &mut CpuWorker::<f64>::new(rows, &recipe, &start)?).await?;

    let data = GpuData::new(rig.gpu, &problem, &model, &plan.batches, Placement::Resident).await?;
    let case = format!("{updates} updates of {name}, {}", loss.name());
    let mut worker = GpuWorker::descent(&data, &recipe, &start, &plan.batches).await?;
    compare("training", &case, follow(&problem, &plan, &mut worker).await, &exact, rule, checks);
    if GpuWorker::is_small_batch(&problem, &recipe, &plan.batches) {
        let mut worker = GpuWorker::small_batch(&data, &recipe, &start, &plan.batches).await?;
        compare(
            "training in epochs",
            &case,
            follow(&problem, &plan, &mut worker).await,
            &exact,
            rule,
            checks,
        );
    }
    Ok(())
}

/// Runs a plan.
async fn follow(
    problem: &Problem,
    plan: &TrainPlan,
    worker: &mut dyn Worker,
) -> Result<Run, TrainError> {
    let (mut params, mut losses) = (Vec::new(), Vec::new());
    let mut observe = |progress: Progress| {
        if progress.update <= COMPARED {
            params.extend(progress.params.map(<[f64]>::to_vec));
        }
        losses.extend(progress.loss);
        Ok(())
    };
    let outcome = Trainer::with_worker(problem, plan, worker).observer(&mut observe).train().await?;
    Ok(Run { report: outcome.report, params, losses })
}

fn compare(
    kernel: &str,
    case: &str,
    run: Result<Run, TrainError>,
    exact: &Run,
    rule: &Rule,
    checks: &mut Vec<Check>,
) {
    let run = match run {
        Ok(run) => run,
        Err(error) => return checks.push(Check::failed(kernel, case, error)),
    };
    if let Some(report) = &run.report.verification {
        let case = format!("{case}, every {EVERY}th from the device's bits");
        let expected = run.report.updates.div_ceil(EVERY);
        checks.push(match report.checks == expected {
            true => Check::verified(kernel, &case, report),
            false => {
                let why = format!("{} updates were compared, and not {expected}", report.checks);
                Check::failed(kernel, &case, why)
            }
        });
    }
    if matches!(rule, Rule::Lion(_)) {
        return;
    }
    if run.params.len() as u64 != COMPARED || run.losses.len() != exact.losses.len() {
        let why = format!("observed {} updates and {} losses", run.params.len(), run.losses.len());
        return checks.push(Check::failed(kernel, case, why));
    }
    let within = |what: String, actual: &[f64], expected: &[f64], allowed: fn(f64) -> f64| {
        let bounded = |&value: &f64| Bounded { value, error: allowed(value) };
        let actual = actual.iter().map(|&x| x as f32).collect();
        Compared { what, actual, expected: expected.iter().map(bounded).collect() }
    };
    let pairs = (1..).zip(run.params.iter().zip(&exact.params));
    let params = pairs.map(|(update, (actual, expected))| {
        let what = format!("params of update {update}");
        within(what, actual, expected, |w| PARAMETER * (1.0 + w.abs()))
    });
    let losses = within("losses".into(), &run.losses, &exact.losses, |loss| LOSS * loss.abs() + FLOOR);
    let all: Vec<_> = params.chain([losses]).collect();
    checks.push(Check::derived(kernel, &format!("{case}, the whole run as in f64 by allowance"), &all));
}
