//! A million steps: memory and time do not grow, and the step count is exact. A single test in its own process, which it
//! measures.

mod common;

use common::assert_bits;
use common::gpu::Gpu;
use std::time::{Duration, Instant};
use wgpu::PollType;
use wgpu_optim::cpu::{self, RuleConstants, StepState};
use wgpu_optim::gpu::{OptimizerState, required_limits};
use wgpu_optim::{Adam, Optimizer, Rule};

const STEPS: u64 = 1_000_000;
/// Steps per submission.
const AT_ONCE: u64 = 1000;
/// Steps per timing sample, shorter than a time slice of the scheduler.
const SAMPLE: u64 = 100;

/// One vector, without a tail: a step is two dispatches.
const PARAMS: [f32; 4] = [0.5, -0.25, 1.0, -2.0];
const GRADS: [f32; 4] = [0.3, -0.7, 1.1, -0.013];

fn rule() -> Rule {
    Adam { weight_decay: 0.1, ..Adam::adamw() }.into()
}

/// A learning rate for every step, so that the position in the table counts steps too.
fn rates() -> Vec<f32> {
    (0..=STEPS).map(|step| 1e-4 * (1.0 + (step % 1000) as f32 / 500.0)).collect()
}

fn build(gpu: &Gpu) -> Optimizer {
    Optimizer::new(&gpu.device, rule())
        .learning_rates(rates())
        .tensor(gpu.span(&PARAMS), gpu.span(&GRADS))
        .build()
        .unwrap()
}

/// Submits a number of steps, and returns the time.
fn submit(gpu: &Gpu, optimizer: &Optimizer, steps: u64) -> Duration {
    let started = Instant::now();
    gpu.run(|pass| (0..steps).for_each(|_| optimizer.record(pass)));
    gpu.device.poll(PollType::wait_indefinitely()).unwrap();
    started.elapsed()
}

fn saved(gpu: &Gpu, optimizer: &Optimizer) -> OptimizerState {
    let mut snapshot = optimizer.snapshot(&gpu.device).unwrap();
    gpu.submit(|encoder| snapshot.record(optimizer, encoder).unwrap());
    let mut read = std::pin::pin!(snapshot.read());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(state) = read.as_mut().poll(&mut context) {
            return state.unwrap();
        }
        gpu.device.poll(PollType::wait_indefinitely()).unwrap();
    }
}

/// Memory of this process, with that of a software adapter, in pages.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse().ok()
}

/// The mean of the fastest tenth: other load only makes samples slower.
fn fastest(samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    let tenth = &samples[..samples.len().div_ceil(10)];
    tenth.iter().map(Duration::as_secs_f64).sum::<f64>() / tenth.len() as f64
}

/// The ratio of the times of `old` and `new`, interleaved so that other load affects both.
fn growth(old: (&Gpu, &Optimizer), new: (&Gpu, &Optimizer)) -> f64 {
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..200 {
        // Each is first equally often.
        for i in [round % 2, 1 - round % 2] {
            let (gpu, optimizer) = [old, new][i];
            samples[i].push(submit(gpu, optimizer, SAMPLE));
        }
    }
    let [old, new] = samples.each_mut().map(|samples| fastest(samples));
    old / new - 1.0
}

#[test]
fn a_million_steps_leave_memory_and_time_as_they_were() {
    // llvmpipe wakes its threads for every dispatch, which takes longer than these.
    // SAFETY: this is the only test of this process, and no driver is loaded yet.
    unsafe { std::env::set_var("LP_NUM_THREADS", "0") };
    let Some(gpu) = Gpu::get() else { return };
    let started = Instant::now();
    let optimizer = build(gpu);
    let mut memory = Vec::new();
    for done in (AT_ONCE..=STEPS).step_by(AT_ONCE as usize) {
        submit(gpu, &optimizer, AT_ONCE);
        // A tenth of them to warm up.
        if done >= STEPS / 10 && done % (STEPS / 100) == 0 {
            memory.extend(resident());
        }
    }
    eprintln!("{STEPS} steps in {:?}", started.elapsed());
    // Some systems do not report it.
    if cfg!(target_os = "linux") {
        let (least, most) = (memory.iter().min().unwrap(), memory.iter().max().unwrap());
        eprintln!("between {least} and {most} pages");
        assert!((most - least) * 100 <= *least, "from {least} to {most} pages: {memory:?}");
    }

    let state = saved(gpu, &optimizer);
    assert_eq!((state.control.steps, state.control.skipped), (STEPS, 0));
    assert_eq!(u64::from(state.groups[0].position), STEPS);
    let (mut step, constants) = (StepState::default(), RuleConstants::new(&rule()));
    let mut values = [PARAMS, [0.0; 4], [0.0; 4]];
    for lr in &rates()[..STEPS as usize] {
        let step = step.advance(&constants, *lr);
        let [params, moments @ ..] = &mut values;
        let mut moments = moments.each_mut().map(|moment| &mut moment[..]);
        cpu::update(&rule(), &step, params, &GRADS, &mut moments);
    }
    assert_eq!(state.tensors[0].step, step);
    if gpu.exact {
        let tensor = &state.tensors[0];
        let moments = rule().moments().iter().map(|&name| &tensor.moments[name]);
        for (actual, expected) in tensor.params.iter().chain(moments).zip(&values) {
            assert_bits("after a million steps", actual, expected);
        }
    }

    // A new optimizer on a new device.
    let fresh = Gpu::with_limits(required_limits(&gpu.device.limits())).unwrap();
    let first = build(&fresh);
    (0..20).for_each(|_| _ = submit(&fresh, &first, SAMPLE));
    // Real growth shows in every measurement.
    let growths = (0..3).map(|_| growth((gpu, &optimizer), (&fresh, &first)));
    let mut seen = Vec::new();
    let flat = growths.inspect(|growth| seen.push(*growth)).any(|growth| growth <= 0.05);
    eprintln!("a step takes {seen:?} longer than at first");
    assert!(flat, "a step takes {seen:?} longer than at first");
}
