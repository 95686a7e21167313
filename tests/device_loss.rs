//! Device loss: an error instead of a panic, and a run that continues with the same bits on another device.

mod common;
#[path = "common/training.rs"]
mod training;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wgpu_optim::gpu::ReadBack;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::reference::synthetic::Options;
use wgpu_optim::regression::train::{
    Backend, CheckpointPolicy, Observer, Placement, PlacementError, Progress, Recipe, RunState,
    TrainError, TrainPlan, TrainingData, VerifyEvery, WorkerState,
};
use wgpu_optim::regression::{Problem, ProblemError};
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{Adam, Error, Loss, Model, Span};

const UPDATES: u64 = 300;

/// A problem, in batches of 32.
fn regression(rows: u64) -> (Problem, TrainPlan) {
    let options = Options { features: 6, noise: 0.5, seed: 4, ..Options::default() };
    let problem = Problem::synthetic(rows, &options).unwrap();
    let rule = Adam { lr: 0.01, ..Adam::default() }.into();
    let recipe = Recipe { average: Some(0.9), ..Recipe::new(Model::new(6, Loss::Mse), rule) };
    let plan = TrainPlan {
        learning_rate: training::annealed(&rule, UPDATES),
        verify: VerifyEvery::Updates(9),
        eval_every: 50,
        ..training::plan(&problem, recipe, 32, UPDATES)
    };
    (problem, plan)
}

/// Trains on a sequence of devices until one is not lost; `watch` is called with every update and the device, and may
/// destroy it. Returns the final state, and the number of devices.
struct Watch<'a> {
    gpu: Option<Gpu>,
    devices: u32,
    end: Option<WorkerState>,
    watch: &'a mut dyn FnMut(&Gpu, u64),
}

impl Observer for Watch<'_> {
    fn started(&mut self, gpu: Option<&Gpu>) -> Result<(), String> {
        self.gpu = gpu.cloned();
        Ok(())
    }

    fn progress(&mut self, progress: Progress) -> Result<(), String> {
        (self.watch)(self.gpu.as_ref().unwrap(), progress.update);
        Ok(())
    }

    fn save(&mut self, state: &RunState) -> Result<(), String> {
        self.end = Some(state.worker.clone());
        Ok(())
    }

    fn device_lost(&mut self, gpu: &Gpu, error: &TrainError) {
        assert!(gpu.lost().is_some(), "{error}");
        let lost = |error: &Error| matches!(error, Error::DeviceLost(_) | Error::ReadBack(_));
        match error {
            TrainError::Device(error) => assert!(lost(error), "{error}"),
            TrainError::Problem(ProblemError::Library(error)) => assert!(lost(error), "{error}"),
            TrainError::Placement(PlacementError::Problem(ProblemError::Library(error))) => {
                assert!(lost(error), "{error}");
            }
            other => panic!("{other}"),
        }
    }

    fn device_reopened(&mut self, _: &Gpu, _: u64) {
        self.devices += 1;
    }
}

/// Runs on one device after the other, until one of them lasts; returns the state at the end, and how many devices
/// there were.
fn run(
    problem: &Problem,
    plan: &TrainPlan,
    placement: Placement,
    watch: &mut dyn FnMut(&Gpu, u64),
) -> (WorkerState, u32) {
    let backend = Backend::Gpu(block_on(Gpu::open(None)).unwrap());
    let mut data = TrainingData::new(problem, [plan], backend).placement(placement);
    let mut watch = Watch { gpu: None, devices: 1, end: None, watch };
    let trainer = data.trainer(plan).checkpoints(CheckpointPolicy::every(7)).observer(&mut watch);
    trainer.run().unwrap();
    (watch.end.unwrap(), watch.devices)
}

/// Rows, and where they are: few rows are trained on by one kernel, more by another.
const WAYS: [(u64, Placement); 4] = [
    (500, Placement::Resident),
    (12_000, Placement::Resident),
    (12_000, Placement::Virtual),
    (12_000, Placement::Streamed { chunk: 4096 }),
];

#[test]
fn a_run_whose_device_is_lost_between_updates_has_the_same_bits() {
    if training::gpu().is_none() {
        return;
    }
    for (rows, way) in WAYS {
        let (problem, plan) = regression(rows);
        let (whole, devices) = run(&problem, &plan, way, &mut |_, _| {});
        assert_eq!(devices, 1);
        for at in [1, 20, 150, 299] {
            let mut lost = false;
            let (end, devices) = run(&problem, &plan, way, &mut |gpu, update| {
                if update == at && !std::mem::replace(&mut lost, true) {
                    gpu.device.destroy();
                }
            });
            assert_eq!(
                (devices, end),
                (2, whole.clone()),
                "{rows} rows, {way:?}, lost after update {at}"
            );
        }
    }
}

#[test]
fn a_run_whose_device_is_lost_at_any_time_has_the_same_bits() {
    if training::gpu().is_none() {
        return;
    }
    let mut random = common::Random(11);
    for (rows, way) in WAYS {
        let (problem, plan) = regression(rows);
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
            assert_eq!(
                (devices, end),
                (2, whole.clone()),
                "{rows} rows, {way:?}, lost after update {after}"
            );
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
        let gpu = block_on(Gpu::open(None)).unwrap();
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
            block_on(gpu.wait(read_back.read::<f32>()))
        };
        let first = once([lost_at == 0, lost_at == 1]);
        let second = once([lost_at == 2, false]);
        assert_eq!(first.is_ok(), lost_at == 2, "{first:?}");
        let error = second.unwrap_err();
        assert!(matches!(error, Error::DeviceLost(_) | Error::ReadBack(_)), "{error}");
    }
}
