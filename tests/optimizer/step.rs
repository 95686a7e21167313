//! The recorded step on the device against the CPU path.

use crate::common;

use common::gpu::Gpu;
use common::step::{Twin, read_tensors, rules};
use common::{Random, assert_bits};
use proptest::prelude::*;
use wgpu_optim::gpu::span::Limits;
use wgpu_optim::{Optimizer, Rule, Sgd, Span};

/// Lengths around multiples of vectors and of workgroups of 64 and 256 threads.
const SIZES: [usize; 20] =
    [0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 66, 255, 256, 257, 258, 1023, 1024, 1025, 4097];

/// An optimizer over tensors in separate buffers.
fn build(gpu: &Gpu, rule: Rule, limits: Limits, params: &[Vec<f32>], grads: &[Vec<f32>]) -> Optimizer {
    let mut builder = Optimizer::new(&gpu.device, rule).limits(limits);
    for (params, grads) in params.iter().zip(grads) {
        builder = builder.tensor(gpu.span(params), gpu.span(grads));
    }
    builder.build().unwrap()
}

/// One tensor for each length.
fn tensors(random: &mut Random, lengths: &[usize]) -> Vec<Vec<f32>> {
    lengths.iter().map(|&len| random.values(len)).collect()
}

/// Asserts that the states of two optimizers have the same bits.
#[track_caller]
fn assert_same(gpu: &Gpu, a: &Optimizer, b: &Optimizer) {
    let [a, b] = [a, b].map(|optimizer| read_tensors(gpu, optimizer.tensors()));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        for (k, (a, b)) in a.iter().zip(b).enumerate() {
            assert_bits(&format!("tensor {i}, value {k}"), a, b);
        }
    }
}

#[test]
fn every_rule_follows_its_twin_at_every_size() {
    let Some(gpu) = Gpu::get() else { return };
    for rule in rules() {
        let mut random = Random(1);
        let params = tensors(&mut random, &SIZES);
        let mut twin = Twin::new(rule, &params);
        let optimizer = build(gpu, rule, Limits::of(&gpu.device), &params, &params);
        for _ in 0..5 {
            let grads = tensors(&mut random, &SIZES);
            for (tensor, grads) in optimizer.tensors().iter().zip(&grads) {
                gpu.write(&tensor.grads[0], grads);
            }
            gpu.run(|pass| optimizer.record(pass));
            twin.follow(gpu, &grads, read_tensors(gpu, optimizer.tensors()));
        }
    }
}

#[test]
fn spans_of_one_buffer_leave_their_neighbours_alone() {
    let Some(gpu) = Gpu::get() else { return };
    let quantum = u64::from(gpu.device.limits().min_storage_buffer_offset_alignment).max(16);
    let lengths = [5, 8, 101];
    for rule in rules() {
        let mut random = Random(2);
        let noise = random.values(512 + 2 * quantum as usize);
        let buffer = gpu.buffer(&noise);
        // Alternating params and grads, as close as the alignment allows.
        let mut offset = quantum;
        let mut place = |len: u64| {
            let span = Span::new(&buffer, offset, len);
            offset = (offset + len * 4).next_multiple_of(quantum);
            span
        };
        let spans = lengths.map(|len| [place(len), place(len)]);
        let slice = |span: &Span| noise[span.offset as usize / 4..][..span.len as usize].to_vec();
        let [params, grads] = [0, 1].map(|i| spans.iter().map(|s| slice(&s[i])).collect::<Vec<_>>());

        let mut builder = Optimizer::new(&gpu.device, rule);
        for [params, grads] in spans.clone() {
            builder = builder.tensor(params, grads);
        }
        let optimizer = builder.build().unwrap();
        gpu.run(|pass| optimizer.record(pass));
        let mut twin = Twin::new(rule, &params);
        twin.follow(gpu, &grads, read_tensors(gpu, optimizer.tensors()));

        let mut expected = noise.clone();
        for ([params, _], tensor) in spans.iter().zip(&twin.tensors) {
            expected[params.offset as usize / 4..][..params.len as usize].copy_from_slice(&tensor[0]);
        }
        assert_bits("the shared buffer", &gpu.read(&[&Span::whole(&buffer)])[0], &expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn seams_do_not_change_a_bit(
        rule in proptest::sample::select(rules()),
        quanta in 1u64..=9,
        pieces in 0u64..=9,
        around in -9i64..=9,
        max_groups in proptest::sample::select(vec![1, 3, 65_535]),
    ) {
        let Some(gpu) = Gpu::get() else { return Ok(()) };
        let limits = Limits::of(&gpu.device);
        let binding = quanta * limits.alignment.max(16);
        let len = (pieces * binding / 4).saturating_add_signed(around) as usize;
        let mut random = Random(len as u64);
        let [params, grads] = [(); 2].map(|()| tensors(&mut random, &[len, 2 * len + 1]));
        let whole = build(gpu, rule, limits, &params, &grads);
        let cut = build(gpu, rule, Limits { max_groups, ..limits.capped(binding) }, &params, &grads);
        for _ in 0..2 {
            gpu.run(|pass| {
                whole.record(pass);
                cut.record(pass);
            });
        }
        assert_same(gpu, &whole, &cut);
        if len > 0 {
            let moved = &gpu.read(&[&cut.tensors()[0].params[0]])[0];
            prop_assert!(moved != &params[0] || len < 4, "nothing was updated");
        }
    }
}

#[test]
fn many_steps_in_one_submission_are_as_many_submissions() {
    let Some(gpu) = Gpu::get() else { return };
    for rule in rules() {
        let mut random = Random(4);
        let [params, grads] = [(); 2].map(|()| tensors(&mut random, &[261, 6]));
        let limits = Limits::of(&gpu.device);
        let [one, many] = [(); 2].map(|()| build(gpu, rule, limits, &params, &grads));
        gpu.run(|pass| (0..20).for_each(|_| one.record(pass)));
        (0..20).for_each(|_| gpu.run(|pass| many.record(pass)));
        assert_same(gpu, &one, &many);
    }
}

#[test]
fn interleaved_optimizers_do_not_meet() {
    let Some(gpu) = Gpu::get() else { return };
    let rules = rules();
    let limits = Limits::of(&gpu.device);
    let make = || {
        let mut random = Random(5);
        let build = |&rule: &Rule| {
            let [params, grads] = [(); 2].map(|()| tensors(&mut random, &[130]));
            self::build(gpu, rule, limits, &params, &grads)
        };
        rules.iter().map(build).collect::<Vec<_>>()
    };
    let (together, alone) = (make(), make());
    for _ in 0..3 {
        gpu.run(|pass| together.iter().for_each(|optimizer| optimizer.record(pass)));
    }
    for optimizer in &alone {
        (0..3).for_each(|_| gpu.run(|pass| optimizer.record(pass)));
    }
    together.iter().zip(&alone).for_each(|(a, b)| assert_same(gpu, a, b));
}

/// With a gradient of −1 the parameter is the sum of the learning rates.
fn sum_of_rates(gpu: &Gpu, optimizer: &Optimizer, steps: usize) -> f32 {
    let params = &optimizer.tensors()[0].params[0];
    gpu.write(params, &[0.0]);
    gpu.run(|pass| (0..steps).for_each(|_| optimizer.record(pass)));
    gpu.read(&[params])[0][0]
}

#[test]
fn a_learning_rate_table_is_followed_and_can_be_replaced() {
    let Some(gpu) = Gpu::get() else { return };
    let mut optimizer = Optimizer::new(&gpu.device, Sgd::default())
        .tensor(gpu.span(&[0.0]), gpu.span(&[-1.0]))
        .learning_rates(vec![1.0, 10.0, 100.0])
        .build()
        .unwrap();
    assert_eq!(sum_of_rates(gpu, &optimizer, 1), 1.0);
    assert_eq!(sum_of_rates(gpu, &optimizer, 2), 110.0);
    assert_eq!(sum_of_rates(gpu, &optimizer, 3), 300.0, "the last entry holds");

    optimizer.set_learning_rates(&gpu.device, &gpu.queue, 0, &[7.0, 5.0]).unwrap();
    assert_eq!(sum_of_rates(gpu, &optimizer, 1), 7.0, "a new table starts at its first entry");
    optimizer.set_learning_rates(&gpu.device, &gpu.queue, 0, &[2.0, 3.0, 4.0, 8.0]).unwrap();
    assert_eq!(sum_of_rates(gpu, &optimizer, 4), 17.0);
    optimizer.set_learning_rates(&gpu.device, &gpu.queue, 0, &[0.0]).unwrap();
    assert_eq!(sum_of_rates(gpu, &optimizer, 4), 0.0);
}

/// An exact step of SGD over `len` elements that differ from their neighbours.
fn check_every_element(gpu: &Gpu, len: usize) {
    // Integers below 2²⁰ and below 2¹², so that p − g / 2 is exact.
    let param = |i: usize| ((i as u32).wrapping_mul(2_654_435_769) >> 12) as f32;
    let grad = |i: usize| (i as u32).wrapping_mul(2_246_822_519).cast_signed() as f32 / 1_048_576.0;
    let grad = |i| grad(i).round();
    let params: Vec<f32> = (0..len).map(param).collect();
    let grads: Vec<f32> = (0..len).map(grad).collect();
    let optimizer = Optimizer::new(&gpu.device, Sgd { lr: 0.5, ..Sgd::default() })
        .tensor(gpu.span(&params), gpu.span(&grads))
        .build()
        .unwrap();
    gpu.run(|pass| optimizer.record(pass));
    let expected: Vec<f32> = params.iter().zip(&grads).map(|(p, g)| p - 0.5 * g).collect();
    assert_bits("params", &gpu.read(&[&optimizer.tensors()[0].params[0]])[0], &expected);
}

#[test]
fn a_span_goes_on_past_one_dimension_of_the_grid() {
    let Some(gpu) = Gpu::get() else { return };
    let cpu = gpu.device.adapter_info().device_type == wgpu::DeviceType::Cpu;
    let workgroup = if cpu { 64 } else { 256 };
    check_every_element(gpu, 65_535 * workgroup * 4 + 5);
}

#[test]
fn a_span_goes_on_past_the_longest_default_binding() {
    let Some(gpu) = Gpu::get() else { return };
    check_every_element(gpu, (128 << 20) / 4 + 70_001);
}
