//! Steps in strict arithmetic: the bits of the processor on every device.

use super::common::gpu::Gpu;
use super::common::step::read_tensors;
#[cfg(feature = "cpu")]
use super::common::step::rules;
use super::common::{Random, assert_bits};
use super::snapshots::wait;
use wgpu_optim::cpu::{self, RuleConstants, StepState, Strict};
use wgpu_optim::{Adam, Arithmetic, Error, Optimizer, RmsProp, Rule};

const STEPS: usize = 20;

fn strict(values: &[f32]) -> Vec<Strict> {
    values.iter().map(|&x| Strict::new(x)).collect()
}

/// Parameters and moments after steps on the processor.
fn on_processor(rule: &Rule, params: &[f32], grads: &[f32], steps: usize) -> Vec<Vec<f32>> {
    let (mut params, grads) = (strict(params), strict(grads));
    let mut moments = vec![vec![Strict::default(); params.len()]; rule.moments().len()];
    let (mut state, constants) = (StepState::default(), RuleConstants::new(rule));
    for _ in 0..steps {
        let step = state.advance_in(&constants, Strict::new(rule.lr() as f32));
        let mut slices: Vec<&mut [Strict]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
        cpu::update(rule, &step, &mut params, &grads, &mut slices);
    }
    let all = std::iter::once(params).chain(moments);
    all.map(|values| values.into_iter().map(Strict::value).collect()).collect()
}

fn on_device(
    gpu: &Gpu,
    arithmetic: Arithmetic,
    (rule, params, grads): (&Rule, &[f32], &[f32]),
    steps: usize,
) -> Vec<Vec<f32>> {
    let optimizer = Optimizer::new(&gpu.device, *rule)
        .arithmetic(arithmetic)
        .tensor(gpu.span(params), gpu.span(grads))
        .build()
        .unwrap();
    gpu.run(|pass| (0..steps).for_each(|_| optimizer.record(pass)));
    read_tensors(gpu, optimizer.tensors()).remove(0)
}

#[test]
fn steps_on_a_device_have_the_bits_of_the_processor() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(17);
    let (params, grads) = (random.values(4099), random.values(4099));
    for rule in [Adam::default().into(), RmsProp::default().into()] {
        let expected = on_processor(&rule, &params, &grads, STEPS);
        for arithmetic in [Arithmetic::Strict, Arithmetic::Exact] {
            let found = on_device(gpu, arithmetic, (&rule, &params, &grads), STEPS);
            for (found, expected) in found.iter().zip(&expected) {
                assert_bits(&format!("{} in {arithmetic:?} arithmetic", rule.name()), found, expected);
            }
        }
    }
}

/// Ten thousand steps leave no room for a bit that differs now and then.
#[test]
fn ten_thousand_steps_have_the_bits_of_the_processor() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(18);
    let (params, grads) = (random.units(67), random.units(67));
    let rule = Adam { lr: 1e-2, amsgrad: true, ..Adam::default() }.into();
    let found = on_device(gpu, Arithmetic::Strict, (&rule, &params, &grads), 10_000);
    let expected = on_processor(&rule, &params, &grads, 10_000);
    for (found, expected) in found.iter().zip(&expected) {
        assert_bits("after 10 000 steps", found, expected);
    }
}

#[cfg(feature = "cpu")]
#[test]
fn simd_and_threads_change_no_bit() {
    let mut random = Random(19);
    let len = 3 * 16_384 + 5;
    let (params, grads) = (strict(&random.values(len)), strict(&random.values(len)));
    let penalty = wgpu_optim::Penalty { alpha: 0.01, l1_ratio: 0.5 };
    for rule in rules() {
        let step = StepState::default().advance_in(&RuleConstants::new(&rule), Strict::new(0.01));
        let start: Vec<Strict> = grads.iter().map(|g| *g * *g).collect();
        let run = |on_threads: bool| {
            let mut values = vec![start.clone(); 1 + rule.moments().len()];
            values[0].clone_from(&params);
            let (params, moments) = values.split_first_mut().unwrap();
            let mut moments: Vec<&mut [Strict]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            if on_threads {
                cpu::parallel::update_penalized(&rule, &penalty, &step, params, &grads, &mut moments);
            } else {
                cpu::update_penalized(&rule, &penalty, &step, params, &grads, &mut moments);
            }
            values.concat()
        };
        let (one, all) = (run(false), run(true));
        let bits = |values: &[Strict]| values.iter().map(|x| x.value().to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&one), bits(&all), "{rule:?}");
    }
}

#[test]
fn fast_and_strict_states_are_not_mixed() {
    let Some(gpu) = Gpu::get() else { return };
    let build = |arithmetic| {
        let (params, grads) = (gpu.span(&[1.0; 5]), gpu.span(&[0.5; 5]));
        let builder = Optimizer::new(&gpu.device, Adam::default()).arithmetic(arithmetic);
        builder.tensor(params, grads).build().unwrap()
    };
    let strict = build(Arithmetic::Strict);
    let mut snapshot = strict.snapshot(&gpu.device).unwrap();
    gpu.submit(|encoder| {
        strict.record(&mut encoder.begin_compute_pass(&Default::default()));
        snapshot.record(&strict, encoder).unwrap();
    });
    let state = wait(gpu, snapshot.read()).unwrap();
    assert_eq!(state.arithmetic, Arithmetic::Strict);
    let error = build(Arithmetic::Fast).restore(&gpu.queue, &state).unwrap_err();
    let [field, saved, current] = ["arithmetic", "Strict", "Fast"].map(String::from);
    assert_eq!(error, Error::Mismatch { field, saved, current });
    // Exact arithmetic has the same bits.
    build(Arithmetic::Exact).restore(&gpu.queue, &state).unwrap();
}
