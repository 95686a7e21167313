//! The step state on the device against the CPU path, bit for bit on every device.

use crate::common;

use common::gpu::Gpu;
use common::step::{Twin, read_tensors};
use common::{Random, assert_bits};
use wgpu_optim::cpu::{self, RuleConstants, StepState};
use wgpu_optim::gpu::ReadBack;
use wgpu_optim::{Adagrad, Adam, NAdam, Optimizer, RAdam, Rule, Sgd, Span};

const BETAS: [f64; 7] = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0 - 1e-7];
const STATE_BYTES: u64 = size_of::<StepState>() as u64;

/// Each decay rate as the first and as the second of a pair, in rules whose constants change with t.
fn changing_rules() -> impl Iterator<Item = Rule> {
    let pairs = (0..BETAS.len()).map(|i| (BETAS[i], BETAS[(i * 3 + 1) % BETAS.len()]));
    let nadam = NAdam { lr: 0.75, eps: 1e-3, ..NAdam::default() };
    let nadams = [Some(4e-3), None, Some(1.0), Some(0.0)];
    let nadams = nadams
        .into_iter()
        .zip(pairs.clone())
        .map(move |(momentum_decay, betas)| NAdam { momentum_decay, betas, ..nadam }.into());
    let adam = Adam { lr: 0.75, eps: 1e-3, weight_decay: 0.1, ..Adam::keras() };
    let adams = pairs.clone().map(move |betas| Adam { betas, ..adam }.into());
    let radam = RAdam { lr: 0.75, eps: 1e-3, ..RAdam::default() };
    let radams = pairs.clone().map(move |betas| RAdam { betas, ..radam }.into());
    let adagrad = Adagrad { lr: 0.75, eps: 1e-3, lr_decay: 0.3, ..Adagrad::default() }.into();
    adams.chain(nadams).chain(radams).chain([adagrad])
}

fn build(gpu: &Gpu, rule: Rule, params: &[f32], grads: &[f32]) -> Optimizer {
    let spans = (gpu.span(params), gpu.span(grads));
    Optimizer::new(&gpu.device, rule).tensor(spans.0, spans.1).build().unwrap()
}

/// Reads the state on the device.
fn state(gpu: &Gpu, optimizer: &Optimizer) -> StepState {
    let mut staging = ReadBack::new(&gpu.device, STATE_BYTES).unwrap();
    gpu.submit(|encoder| staging.copy(encoder, &Span::whole(optimizer.state())).unwrap());
    gpu.wait(&mut staging)[0]
}

#[test]
fn hundreds_of_steps_give_the_bits_of_the_twin() {
    let Some(gpu) = Gpu::get() else { return };
    let steps = 400;
    for rule in changing_rules() {
        let optimizer = build(gpu, rule, &[1.0], &[1.0]);
        let mut staging = ReadBack::new(&gpu.device, steps * STATE_BYTES).unwrap();
        gpu.submit(|encoder| {
            for _ in 0..steps {
                optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
                staging.copy(encoder, &Span::whole(optimizer.state())).unwrap();
            }
        });
        let (mut twin, constants) = (StepState::default(), RuleConstants::new(&rule));
        for actual in gpu.wait::<StepState>(&mut staging) {
            twin.advance(&constants, 1.0);
            assert_eq!(actual, twin, "{rule:?}");
        }
        assert_eq!(twin.t, steps);
    }
}

/// With parameters of zero before every step, the results show all digits of the step's constants.
#[test]
fn the_constants_of_every_step_are_those_of_the_twin() {
    let Some(gpu) = Gpu::get() else { return };
    let params = vec![0.0; 5];
    let grads = vec![0.3, -0.7, 1.1, -1.9, 0.013];
    for rule in changing_rules() {
        let optimizer = build(gpu, rule, &params, &grads);
        let mut twin = Twin::new(rule, std::slice::from_ref(&params));
        for _ in 0..60 {
            gpu.write(&optimizer.tensors()[0].params[0], &params);
            twin.tensors[0][0].clone_from(&params);
            gpu.run(|pass| optimizer.record(pass));
            let actual = read_tensors(gpu, optimizer.tensors());
            twin.follow(gpu, std::slice::from_ref(&grads), actual);
        }
    }
}

#[test]
fn any_state_that_is_written_to_the_device_goes_on_as_the_twin() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(6);
    let edges = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, 1 << 32, (1 << 32) - 1, 0xffff_0000_ffff];
    let counters = [0, 1, u64::from(u32::MAX) - 1, u64::from(u32::MAX), 1 << 32, 1 << 33, 1 << 63];
    for rule in changing_rules() {
        let optimizer = build(gpu, rule, &[0.0], &[0.7]);
        let mut twin = Twin::new(rule, &[vec![0.0]]);
        let constants = RuleConstants::new(&rule);
        for case in 0..60 {
            let mut word = || {
                let bits = random.bits();
                if bits.is_multiple_of(4) {
                    edges[bits as usize / 4 % edges.len()]
                } else {
                    random.bits()
                }
            };
            let before = StepState {
                t: counters[case % counters.len()],
                bias_correction1: word(),
                bias_correction2: word(),
                momentum_decay: word(),
                ..StepState::default()
            };
            twin.states[0] = before;
            gpu.queue.write_buffer(optimizer.state(), 0, bytemuck::bytes_of(&before));
            let zeros = || {
                std::iter::once(&optimizer.tensors()[0].params).chain(&optimizer.tensors()[0].moments)
            };
            zeros().for_each(|spans| gpu.write(&spans[0], &[0.0]));
            gpu.run(|pass| optimizer.record(pass));
            // These powers do not belong to any t, so there are no f64 constants to compare.
            let step = twin.states[0].advance(&constants, rule.lr() as f32);
            if gpu.exact {
                let (mut params, mut moments) = ([0.0], vec![[0.0f32]; rule.moments().len()]);
                let mut moments: Vec<&mut [f32]> =
                    moments.iter_mut().map(|m| m.as_mut_slice()).collect();
                cpu::update(&rule, &step, &mut params, &[0.7], &mut moments);
                let actual = &gpu.read(&[&optimizer.tensors()[0].params[0]])[0];
                assert_bits(&format!("{rule:?} from {before:?}"), actual, &params);
            }
            assert_eq!(state(gpu, &optimizer), twin.states[0], "{rule:?} from {before:?}");
        }
    }
}

/// The low word of t is 1 again in step 2³² + 1.
#[test]
fn only_step_one_takes_the_gradient_whole() {
    let Some(gpu) = Gpu::get() else { return };
    let rule = Sgd { lr: 1.0, momentum: 0.5, dampening: 0.5, ..Sgd::default() }.into();
    for (t, expected) in [(0, -1.0), (1, -0.5), (1 << 32, -0.5), (u64::from(u32::MAX), -0.5)] {
        let optimizer = build(gpu, rule, &[0.0], &[1.0]);
        optimizer.set_step(&gpu.queue, 0, t).unwrap();
        gpu.run(|pass| optimizer.record(pass));
        assert_eq!(gpu.read(&[&optimizer.tensors()[0].params[0]])[0], [expected], "after step {t}");
    }
}

/// Steps at which an f32 counter would stop, and at which the low word wraps.
#[test]
fn steps_past_the_integers_of_f32_and_of_u32_are_exact() {
    let Some(gpu) = Gpu::get() else { return };
    const STEPS: u64 = 200;
    let mut random = Random(7);
    let (params, grads) = (random.values(7), random.values(7));
    for (rule, border) in common::step::rules().into_iter().flat_map(|rule| [(rule, 24), (rule, 32)]) {
        let start = (1 << border) - STEPS / 2;
        let optimizer = build(gpu, rule, &params, &grads);
        optimizer.set_step(&gpu.queue, 0, start).unwrap();
        let mut staging = ReadBack::new(&gpu.device, STEPS * STATE_BYTES).unwrap();
        gpu.submit(|encoder| {
            for _ in 0..STEPS {
                optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
                staging.copy(encoder, &Span::whole(optimizer.state())).unwrap();
            }
        });
        let (mut twin, constants) = (StepState::after(&rule, start), RuleConstants::new(&rule));
        let mut values = vec![vec![0.0; params.len()]; 1 + rule.moments().len()];
        values[0].clone_from(&params);
        for (t, actual) in (start + 1..).zip(gpu.wait::<StepState>(&mut staging)) {
            let step = twin.advance(&constants, rule.lr() as f32);
            assert_eq!((actual, actual.t), (twin, t), "{rule:?}");
            let (params, moments) = values.split_first_mut().unwrap();
            let mut moments: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            cpu::update(&rule, &step, params, &grads, &mut moments);
        }
        assert_eq!(twin.t, start + STEPS);
        if gpu.exact {
            let actual = &read_tensors(gpu, optimizer.tensors())[0];
            let both = actual.iter().zip(&values);
            both.for_each(|(actual, expected)| assert_bits(&format!("{rule:?}"), actual, expected));
        }
    }
}
