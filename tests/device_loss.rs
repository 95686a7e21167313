//! Device loss: an error instead of a panic, and a run that continues with the same bits on another device.

mod common;
#[path = "common/training.rs"]
mod training;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wgpu_optim::gpu::ReadBack;
use wgpu_optim::regression::device::Gpu;
use wgpu_optim::regression::reference::synthetic::Options;
use wgpu_optim::regression::train::{
    GpuData, GpuWorker, Keep, Placement, Plan, Progress, Recipe, RunState, SmallBatchWorker, TrainError,
    VerifyEvery, WorkerState, train_keeping,
};
use wgpu_optim::regression::{Problem, ProblemError};
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{Adam, Error, Loss, Model, Span};

const UPDATES: u64 = 300;

fn small() -> (Problem, Plan) {
    let options = Options { features: 6, noise: 0.5, seed: 4, ..Options::default() };
    let problem = Problem::synthetic(500, &options).unwrap();
    let rule = Adam { lr: 0.01, ..Adam::default() }.into();
    let recipe = Recipe { average: Some(0.9), ..Recipe::new(Model::new(6, Loss::Mse), rule) };
    let plan = Plan {
        learning_rate: training::annealed(&rule, UPDATES),
        verify: VerifyEvery::Updates(9),
        eval_every: 50,
        ..training::plan(&problem, recipe, 32, UPDATES)
    };
    (problem, plan)
}

/// Trains on a sequence of devices until one is not lost; `watch` is called with every update and the device, and may
/// destroy it. Returns the final state, and the number of devices.
fn run(
    problem: &Problem,
    plan: &Plan,
    (placement, epochs): (Placement, bool),
    watch: &mut dyn FnMut(&Gpu, u64),
) -> (WorkerState, u32) {
    let mut end = None;
    let mut save = |state: &RunState| {
        end = Some(state.worker.clone());
        Ok(())
    };
    let mut keep = Keep::new(&mut save);
    (keep.copies, keep.every) = (true, Some(7));
    let start = vec![0.0; plan.recipe.model.params()];
    for devices in 1.. {
        let gpu = Gpu::open(None).unwrap();
        let mut once = || {
            let Plan { recipe, batches, .. } = plan;
            let data = GpuData::new(&gpu, problem, &recipe.model, batches, placement)?;
            let stop = AtomicBool::new(false);
            let mut observe = |progress: Progress| {
                watch(&gpu, progress.update);
                Ok(())
            };
            if epochs {
                let mut worker = SmallBatchWorker::new(&data, recipe, &start, batches)?;
                return train_keeping(problem, plan, &mut worker, &stop, &mut observe, &mut keep);
            }
            let mut worker = GpuWorker::new(&data, recipe, &start, batches)?;
            train_keeping(problem, plan, &mut worker, &stop, &mut observe, &mut keep)
        };
        match once() {
            Ok(_) => return (end.unwrap(), devices),
            Err(error) => {
                assert!(gpu.lost().is_some(), "{error}");
                let lost = |error: &Error| matches!(error, Error::DeviceLost(_) | Error::ReadBack(_));
                match &error {
                    TrainError::Device(error) => assert!(lost(error), "{error}"),
                    TrainError::Problem(ProblemError::Library(error)) => assert!(lost(error), "{error}"),
                    other => panic!("{other}"),
                }
            }
        }
    }
    unreachable!("some device lasts")
}

const WAYS: [(Placement, bool); 4] = [
    (Placement::Resident, false),
    (Placement::Resident, true),
    (Placement::Virtual, false),
    (Placement::Streamed { chunk: 4096 }, false),
];

#[test]
fn a_run_whose_device_is_lost_between_updates_has_the_same_bits() {
    if training::gpu().is_none() {
        return;
    }
    let (problem, plan) = small();
    for way in WAYS {
        let (whole, devices) = run(&problem, &plan, way, &mut |_, _| {});
        assert_eq!(devices, 1);
        for at in [1, 20, 150, 299] {
            let mut lost = false;
            let (end, devices) = run(&problem, &plan, way, &mut |gpu, update| {
                if update == at && !std::mem::replace(&mut lost, true) {
                    gpu.device.destroy();
                }
            });
            assert_eq!((devices, end), (2, whole.clone()), "{way:?}, lost after update {at}");
        }
    }
}

#[test]
fn a_run_whose_device_is_lost_at_any_time_has_the_same_bits() {
    if training::gpu().is_none() {
        return;
    }
    let (problem, plan) = small();
    let mut random = common::Random(11);
    for way in WAYS {
        let (whole, _) = run(&problem, &plan, way, &mut |_, _| {});
        for _ in 0..8 {
            let (after, turns) = (1 + random.bits() % (UPDATES - 2), random.bits() % (1 << 14));
            let seen = Arc::new(AtomicU64::new(0));
            let (mut thread, mut begun) = (None, false);
            let (end, devices) = run(&problem, &plan, way, &mut |gpu, update| {
                seen.store(update, Ordering::Relaxed);
                // During a submission, a poll or a mapping.
                if !std::mem::replace(&mut begun, true) {
                    let (device, seen) = (gpu.device.clone(), seen.clone());
                    thread = Some(std::thread::spawn(move || {
                        while seen.load(Ordering::Relaxed) < after {
                            std::thread::yield_now();
                        }
                        (0..turns).for_each(|_| std::hint::spin_loop());
                        device.destroy();
                    }));
                }
                // After the last update the loss would not be noticed.
                if update == UPDATES - 1
                    && let Some(thread) = thread.take()
                {
                    thread.join().unwrap();
                }
            });
            assert_eq!((devices, end), (2, whole.clone()), "{way:?}, lost after update {after}");
        }
    }
}

#[test]
fn reading_back_from_a_lost_device_is_an_error() {
    if training::gpu().is_none() {
        return;
    }
    // Before the submission, between the submission and the mapping, and before the next copy.
    for lost_at in 0..3 {
        let gpu = Gpu::open(None).unwrap();
        let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 64,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let mut read_back = ReadBack::new(&gpu.device, 64).unwrap();
        let mut once = |lose: [bool; 2]| {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            read_back.copy(&mut encoder, &Span::whole(&buffer))?;
            if lose[0] {
                gpu.device.destroy();
            }
            gpu.queue.submit([encoder.finish()]);
            if lose[1] {
                gpu.device.destroy();
            }
            gpu.wait(read_back.read::<f32>())
        };
        let first = once([lost_at == 0, lost_at == 1]);
        let second = once([lost_at == 2, false]);
        assert_eq!(first.is_ok(), lost_at == 2, "{first:?}");
        let error = second.unwrap_err();
        assert!(matches!(error, Error::DeviceLost(_) | Error::ReadBack(_)), "{error}");
    }
}
