//! Tests of the checks of a run: a kernel whose fault does not show in the first update, from zeros, is found.

use super::{
    Batches, EarlyStopping, GpuData, GpuWorker, Placement, Recipe, Report, TrainPlan, Trainer,
    VerifyEvery,
};
use crate::gpu::seeded;
use crate::regression::Problem;
use crate::regression::device::{Gpu, block_on};
use crate::regression::reference::synthetic::Options;
use crate::schedule::Schedule;
use crate::{Adam, Loss, Model};

/// Decoupled weight decay of the wrong sign when maximizing.
const WRONG_DECAY: &[seeded::Edit] =
    &[("scale(step.decay, param)", "scale(select(1.0, -1.0, MAXIMIZE) * step.decay, param)")];

fn gpu() -> Option<Gpu> {
    let skip = std::env::var("WGPU_OPTIM_SKIP_GPU_TESTS").is_ok_and(|value| value == "1");
    match block_on(Gpu::open(None)) {
        Err(error) if !skip => panic!("{error}"),
        gpu => gpu.ok(),
    }
}

fn problem() -> Problem {
    Problem::synthetic(500, &Options { features: 6, noise: 0.1, seed: 3, ..Options::default() }).unwrap()
}

fn plan(verify: VerifyEvery) -> TrainPlan {
    let adam = Adam { weight_decay: 0.5, maximize: true, ..Adam::adamw() };
    TrainPlan {
        recipe: Recipe { average: Some(0.9), ..Recipe::new(Model::new(6, Loss::Mse), adam.into()) },
        learning_rate: Schedule::constant(1e-3).unwrap(),
        batches: Batches::Epochs { rows: 500, size: 32, updates: 40, shuffle: None },
        rows: 500,
        stopping: None,
        verify,
        eval_every: 0,
        trace: false,
        max_skips: 0,
    }
}

/// Trains by one kernel or the other, whose sources have the edits.
fn trained(gpu: &Gpu, plan: &TrainPlan, small: bool, edits: &'static [seeded::Edit]) -> Report {
    let (problem, start) = (problem(), vec![0.0; plan.recipe.model.params()]);
    let data =
        block_on(GpuData::new(gpu, &problem, &plan.recipe.model, &plan.batches, Placement::Resident))
            .unwrap();
    let make = || {
        let (recipe, batches) = (&plan.recipe, &plan.batches);
        let worker = match small {
            true => block_on(GpuWorker::small_batch(&data, recipe, &start, batches)),
            false => block_on(GpuWorker::descent(&data, recipe, &start, batches)),
        };
        worker.unwrap()
    };
    let (mut worker, found) = seeded::with(edits, make);
    assert!(found, "there is nothing to edit");
    Trainer::with_worker(&problem, plan, &mut worker).run().unwrap().report
}

#[test]
fn a_term_that_is_wrong_behind_the_first_update_is_found_without_being_asked_for() {
    let Some(gpu) = gpu() else { return };
    for small in [true, false] {
        let plan = plan(VerifyEvery::Budget);
        let right = trained(&gpu, &plan, small, &[]).verification.unwrap();
        assert!(right.pass, "{right:?}");
        assert_eq!((right.updates.first(), right.last_update()), (Some(&1), 40));
        assert!(right.terms_not_seen.is_empty(), "{right:?}");
        let wrong = trained(&gpu, &plan, small, WRONG_DECAY).verification.unwrap();
        assert!(!wrong.pass, "{wrong:?}");
    }
}

#[test]
fn the_end_of_a_run_that_stops_early_is_checked_and_stays_as_it_is() {
    let Some(gpu) = gpu() else { return };
    for small in [true, false] {
        let stopping = EarlyStopping { tol: 1e9, n_iter_no_change: 1, ..EarlyStopping::default() };
        let plan = |verify| TrainPlan { stopping: Some(stopping), ..plan(verify) };
        let plain = trained(&gpu, &plan(VerifyEvery::Never), small, &[]);
        let checked = trained(&gpu, &plan(VerifyEvery::Budget), small, &[]);
        assert!(plain.stopped_early && checked.updates < 40);
        assert_eq!((&plain.params, plain.loss), (&checked.params, checked.loss));
        let report = checked.verification.unwrap();
        // One update after the last one was made and undone.
        assert_eq!((report.last_update(), report.pass), (checked.updates + 1, true));
        assert!(report.terms_not_seen.is_empty(), "{report:?}");
        let wrong = trained(&gpu, &plan(VerifyEvery::Budget), small, WRONG_DECAY).verification.unwrap();
        assert!(!wrong.pass, "{wrong:?}");
    }
}
