//! Arenas: many tensors in few buffers.

use crate::common;

use common::gpu::Gpu;
use common::model::{Arithmetic, Group, Model, Options, Setup, play, snapshot, write};
use common::step::rules;
use common::{Random, assert_bits};
use wgpu::BufferUsages;
use wgpu_optim::cpu::Bounded;
use wgpu_optim::gpu::span::Limits;
use wgpu_optim::gpu::{Arena, Tensor};
use wgpu_optim::{Adam, ClipNorm, Conditioning, Optimizer, Sgd, Span};

/// Elements of a block, a multiple of which every tensor occupies.
const BLOCK: u64 = 64;

fn adam() -> Adam {
    Adam { lr: 0.02, betas: (0.8, 0.99), eps: 1e-7, ..Adam::default() }
}

fn plain_sgd() -> Sgd {
    Sgd { lr: 1.0, ..Sgd::default() }
}

/// An arena of tensors with these lengths, named by index, in buffers of at most `max` bytes.
fn arena(gpu: &Gpu, lengths: &[u64], max: u64) -> Arena {
    let names: Vec<String> = (0..lengths.len()).map(|i| i.to_string()).collect();
    let shapes = names.iter().zip(lengths).map(|(name, len)| (name.as_str(), std::slice::from_ref(len)));
    Arena::with_max_buffer(&gpu.device, BufferUsages::empty(), shapes, max).unwrap()
}

fn len(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.len).sum()
}

/// Fills the parameters and gradients of an arena, and returns the values.
fn fill(gpu: &Gpu, arena: &Arena, random: &mut Random) -> [Vec<Vec<f32>>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for tensor in arena.tensors() {
        for (spans, all) in [&tensor.params, &tensor.grads].into_iter().zip(&mut all) {
            let values = random.units(len(spans) as usize);
            write(gpu, spans, &values);
            all.push(values);
        }
    }
    all
}

/// Checks that every span is within its buffer, starts at a block, and shares no block.
fn assert_places(tensors: &[Tensor]) {
    let mut spans: Vec<Span> = Vec::new();
    for tensor in tensors {
        let all = tensor.params.iter().chain(&tensor.grads).chain(tensor.moments.iter().flatten());
        spans.extend(all.chain(&tensor.average).cloned());
    }
    spans.sort_by_key(|span| (span.buffer.clone(), span.offset));
    for (i, span) in spans.iter().enumerate() {
        assert!(span.offset.is_multiple_of(BLOCK * 4) && span.len > 0, "{span:?}");
        assert!(span.offset + span.len * 4 <= span.buffer.size(), "{span:?}");
        let next = spans.get(i + 1).filter(|next| next.buffer == span.buffer);
        assert!(next.is_none_or(|next| next.offset >= span.offset + span.len * 4), "{span:?}");
    }
}

/// Takes two steps, and compares them with the model.
fn follow<R: Arithmetic>(gpu: &Gpu, optimizer: &Optimizer, mut model: Model<R>, grads: &[Vec<f32>]) {
    let grads: Vec<_> = grads.iter().cloned().map(Some).collect();
    for step in 0..2 {
        gpu.run(|pass| optimizer.record(pass));
        model.record(&grads, None);
        model.assert(&format!("step {step}"), &snapshot(gpu, optimizer));
    }
}

fn follow_on_any(gpu: &Gpu, optimizer: &Optimizer, setup: &Setup, grads: &[Vec<f32>]) {
    if gpu.exact {
        follow(gpu, optimizer, setup.model::<f32>(), grads);
    } else {
        follow(gpu, optimizer, setup.model::<Bounded>(), grads);
    }
}

fn setup_of(rule: Adam, params: Vec<Vec<f32>>) -> Setup {
    let params = params.into_iter().map(|params| (0, params)).collect();
    Setup { groups: vec![Group::of(rule)], options: Options::default(), params }
}

#[test]
fn ten_thousand_tensors_are_one_dispatch() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(1);
    let lengths: Vec<u64> = (0..10_000).map(|_| random.bits() % 201).collect();
    let arena = arena(gpu, &lengths, u64::MAX);
    let [params, grads] = fill(gpu, &arena, &mut random);
    let optimizer = Optimizer::new(&gpu.device, adam()).arena(&arena).build().unwrap();
    // Decision, advance, update.
    assert_eq!(optimizer.dispatches(), 3);
    assert_places(optimizer.tensors());
    follow_on_any(gpu, &optimizer, &setup_of(adam(), params), &grads);
}

#[test]
fn every_rule_follows_its_copy() {
    let Some(gpu) = Gpu::get() else { return };
    for rule in rules() {
        let mut random = Random(2);
        let lengths = [0, 1, 2, 3, 4, 5, 63, 64, 65, 66, 127, 128, 129, 1023, 1024, 1025];
        let setup = Setup::new(rule, Options::default(), &mut random, &lengths);
        let mut script = setup.script(&mut random, 4);
        script[1][3] = None;
        script[2][15] = None;
        let optimizer = setup.packed(gpu);
        assert_eq!(optimizer.dispatches(), 2);
        setup.follow(gpu, &optimizer, &script);
    }
}

#[test]
fn tensors_have_the_names_and_shapes_that_they_were_given() {
    let Some(gpu) = Gpu::get() else { return };
    let shapes: [(&str, &[u64]); 5] =
        [("weight", &[3, 5, 7]), ("scalar", &[]), ("none", &[4, 0]), ("", &[64]), ("bias", &[1])];
    let arena = Arena::new(&gpu.device, BufferUsages::VERTEX, shapes).unwrap();
    for (tensor, ((name, shape), expected)) in
        arena.tensors().iter().zip(shapes.into_iter().zip([105, 1, 0, 64, 1]))
    {
        assert_eq!((tensor.name.as_str(), tensor.shape.as_slice()), (name, shape));
        assert_eq!((len(&tensor.params), len(&tensor.grads)), (expected, expected));
        assert_eq!(arena.get(name).unwrap().params, tensor.params);
        for span in tensor.params.iter().chain(&tensor.grads) {
            let usage = span.buffer.usage();
            let needed = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            assert!(usage.contains(needed | BufferUsages::VERTEX));
        }
    }
    assert!(arena.get("weigh").is_none());
    let optimizer = Optimizer::new(&gpu.device, adam()).arena(&arena).build().unwrap();
    let empty = &optimizer.tensors()[2];
    assert_eq!((empty.params.len(), empty.moments.len()), (0, 2));
    gpu.run(|pass| optimizer.record(pass));
    assert!(snapshot(gpu, &optimizer).tensors.iter().all(|tensor| tensor.state.t == 1));

    let none = Arena::new(&gpu.device, BufferUsages::empty(), []).unwrap();
    let optimizer = Optimizer::new(&gpu.device, adam()).arena(&none).build().unwrap();
    gpu.run(|pass| optimizer.record(pass));
    // Some drivers crash if they are still working when the program ends.
    assert!(snapshot(gpu, &optimizer).tensors.is_empty());
}

#[test]
fn what_is_no_tensor_is_zero_and_what_is_one_is_left_as_it_was() {
    let Some(gpu) = Gpu::get() else { return };
    let arena = arena(gpu, &[5, 70, 1], u64::MAX);
    let whole = Span::whole(&arena.tensors()[0].params[0].buffer);
    assert_eq!(whole.len, 4 * BLOCK);
    assert!(gpu.read(&[&whole])[0].iter().all(|&x| x == 0.0));
}

#[test]
fn buffers_are_filled_and_tensors_may_be_longer_than_one() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(3);
    let lengths = [100, 300, 64, 1000, 1, 0, 512, 513, 64, 1];
    // Eight blocks per buffer.
    let arena = arena(gpu, &lengths, 8 * BLOCK * 4 + 255);
    let parts: Vec<usize> = arena.tensors().iter().map(|tensor| tensor.params.len()).collect();
    // 100 and 300 share a buffer, 64 and part of 1000 the last block and the next ones.
    assert_eq!(parts.iter().filter(|&&parts| parts > 1).count(), 2, "{parts:?}");
    for tensor in arena.tensors() {
        for span in tensor.params.iter().chain(&tensor.grads) {
            assert!(span.buffer.size() <= 8 * BLOCK * 4);
        }
        let lens = |spans: &[Span]| spans.iter().map(|span| span.len).collect::<Vec<_>>();
        assert_eq!(lens(&tensor.params), lens(&tensor.grads));
    }
    let [params, grads] = fill(gpu, &arena, &mut random);
    let optimizer = Optimizer::new(&gpu.device, adam()).arena(&arena).build().unwrap();
    assert_places(optimizer.tensors());
    for (tensor, &expected) in optimizer.tensors().iter().zip(&lengths) {
        assert!(tensor.moments.iter().all(|moment| len(moment) == expected));
    }
    follow_on_any(gpu, &optimizer, &setup_of(adam(), params), &grads);
}

#[test]
fn seams_of_bindings_and_buffers_change_no_bit() {
    let Some(gpu) = Gpu::get() else { return };
    let lengths = [70, 3, 0, 500, 64, 1, 129, 1000, 64, 64, 5];
    let conditioning = Conditioning { skip_nonfinite: true, write_back: true, ..Default::default() };
    let options = Options { conditioning, micro_batches: 2, average: Some(0.5) };
    let run = |max_buffer: u64, max_binding: u64, max_groups: u32| {
        let mut random = Random(4);
        let arena = arena(gpu, &lengths, max_buffer);
        let limits = Limits { max_groups, ..Limits::of(&gpu.device).capped(max_binding) };
        let builder = Optimizer::new(&gpu.device, adam()).limits(limits).arena(&arena);
        let optimizer = options.on(builder).build().unwrap();
        assert_places(optimizer.tensors());
        let [params, _] = fill(gpu, &arena, &mut random);
        let setup = Setup { options, ..setup_of(adam(), params) };
        let script = setup.script(&mut random, 4);
        (setup.follow(gpu, &optimizer, &script).pop().unwrap(), optimizer.dispatches())
    };
    let (whole, dispatches) = run(u64::MAX, u64::MAX, 65_535);
    assert_eq!(dispatches, 4);
    // State is four planes: a binding of 1 KiB takes one block, 3 KiB two to three.
    for (buffer, binding, groups) in
        [(u64::MAX, 1024, 65_535), (u64::MAX, 3000, 65_535), (1024, u64::MAX, 2), (2048, 1024, 1)]
    {
        let (cut, dispatches) = run(buffer, binding, groups);
        assert!(dispatches > 6);
        for (cut, whole) in cut.tensors.iter().zip(&whole.tensors) {
            cut.values.iter().zip(&whole.values).for_each(|(cut, whole)| assert_bits("cut", cut, whole));
            assert_bits("average", &cut.average, &whole.average);
            assert_bits("grads", &cut.grads, &whole.grads);
        }
    }
}

/// The order of the buffers' handles differs from the order of their creation.
#[test]
fn a_norm_over_many_buffers_has_the_same_bits_every_time() {
    let Some(gpu) = Gpu::get() else { return };
    let lengths = [64; 24];
    let grads: Vec<f32> = Random(9).values(64 * 24);
    let clip_norm = Some(ClipNorm::Torch(1.0));
    let norm = |_| {
        let arena = arena(gpu, &lengths, BLOCK * 4);
        let conditioning = Conditioning { clip_norm, ..Conditioning::default() };
        let builder = Optimizer::new(&gpu.device, adam()).arena(&arena).conditioning(conditioning);
        let optimizer = builder.build().unwrap();
        for (tensor, grads) in arena.tensors().iter().zip(grads.chunks(64)) {
            write(gpu, &tensor.grads, grads);
        }
        gpu.run(|pass| optimizer.record(pass));
        // The next buffer may reuse its memory.
        (snapshot(gpu, &optimizer).control.norm.to_bits(), gpu.buffer(&[0.0; 100]))
    };
    let norms: Vec<_> = (0..6).map(norm).collect();
    assert!(norms.iter().all(|(norm, _)| *norm == norms[0].0), "{norms:?}");
}

#[test]
fn two_groups_share_an_arena() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(5);
    let arena = arena(gpu, &[70, 5, 64, 130, 3, 1], u64::MAX);
    let odd = |name: &str| name.parse::<u32>().unwrap() % 2 == 1;
    let [params, grads] = fill(gpu, &arena, &mut random);
    let optimizer = Optimizer::new(&gpu.device, adam())
        .arena_tensors(&arena, |name| !odd(name))
        .group(Sgd { momentum: 0.5, ..plain_sgd() })
        .arena_tensors(&arena, odd)
        .build()
        .unwrap();
    let order = [0, 2, 4, 1, 3, 5];
    let setup = Setup {
        groups: vec![Group::of(adam()), Group::of(Sgd { momentum: 0.5, ..plain_sgd() })],
        options: Options::default(),
        params: order.map(|i| (i % 2, params[i].clone())).to_vec(),
    };
    let grads = order.map(|i| grads[i].clone());
    assert_eq!(optimizer.dispatches(), 7, "no two neighbours are of one kind");
    follow_on_any(gpu, &optimizer, &setup, &grads);
}

#[test]
fn rules_that_differ_in_numbers_share_a_dispatch() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(6);
    let other = Adam { lr: 0.5, betas: (0.5, 0.75), eps: 1e-2, weight_decay: 0.0, ..adam() };
    let groups: Vec<Group> = [adam(), other].map(Group::of).to_vec();
    let params = [0, 0, 0, 1, 1, 1].map(|g| (g, random.units(70))).to_vec();
    let setup = Setup { groups, options: Options::default(), params };
    let optimizer = setup.packed(gpu);
    assert_eq!(optimizer.dispatches(), 2);
    let script = setup.script(&mut random, 3);
    setup.follow(gpu, &optimizer, &script);
}

#[test]
fn an_arena_and_tensors_of_their_own_are_one_optimizer() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(7);
    let conditioning = Conditioning {
        clip_norm: Some(ClipNorm::Torch(1.0)),
        skip_nonfinite: true,
        ..Conditioning::default()
    };
    let options = Options { conditioning, micro_batches: 2, average: Some(0.9) };
    let lengths = [70, 5, 261, 64, 3, 0, 130];
    let setup = Setup::new(adam(), options, &mut random, &lengths);
    let arena = arena(gpu, &lengths.map(|len| len as u64), 4 * BLOCK * 4);
    let optimizer = setup.build(gpu, |builder, i, params| match i % 3 {
        0 => {
            let tensor = arena.get(&i.to_string()).unwrap();
            write(gpu, &tensor.params, params);
            builder.arena_tensors(&arena, |name| name == i.to_string())
        }
        1 => builder.tensor(gpu.span(params), gpu.span(params)),
        _ => {
            let (a, b) = params.split_at(params.len() / 3);
            builder.tensor_in_parts([a, b].map(|part| (gpu.span(part), gpu.span(part))))
        }
    });
    let mut script = setup.script(&mut random, 6);
    script[1][0] = None;
    script[3][2] = None;
    setup.follow(gpu, &optimizer, &script);
}

#[test]
fn a_tensor_of_an_arena_can_be_frozen() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(8);
    let setup = Setup::new(adam(), Options::default(), &mut random, &[70, 5, 64]);
    let optimizer = setup.packed(gpu);
    let script = setup.script(&mut random, 2);
    let before = snapshot(gpu, &optimizer);
    optimizer.freeze(&gpu.queue, 1).unwrap();
    let after = play(gpu, &optimizer, &script).pop().unwrap();
    let t: Vec<u64> = after.tensors.iter().map(|tensor| tensor.state.t).collect();
    assert_eq!(t, [2, 0, 2]);
    assert_bits("params", &after.tensors[1].values[0], &before.tensors[1].values[0]);
    assert_eq!(after.tensors[1].values[1], [0.0; 5]);
    assert_ne!(after.tensors[2].values[0], before.tensors[2].values[0]);
}

#[test]
fn a_kernel_of_the_callers_binds_a_tensors_spans() {
    let Some(gpu) = Gpu::get() else { return };
    // Each tensor has a different gradient.
    let source = |factor: usize| {
        format!(
            "@group(0) @binding(0) var<storage, read> params: array<f32>;
            @group(0) @binding(1) var<storage, read_write> grads: array<f32>;
            @compute @workgroup_size(1) fn main(@builtin(global_invocation_id) id: vec3u) {{
                if id.x < arrayLength(&params) {{ grads[id.x] = {factor}.0 * params[id.x]; }}
            }}"
        )
    };
    let arena = arena(gpu, &[5, 64, 70], u64::MAX);
    for tensor in arena.tensors() {
        write(gpu, &tensor.params, &vec![1.0; len(&tensor.params) as usize]);
    }
    let optimizer = Optimizer::new(&gpu.device, plain_sgd()).arena(&arena).build().unwrap();
    let kernels: Vec<_> = (0..)
        .zip(arena.tensors())
        .map(|(i, tensor)| gpu.kernel(&source(i), &[&tensor.params[0], &tensor.grads[0]]))
        .collect();
    gpu.run(|pass| {
        for _ in 0..2 {
            kernels.iter().for_each(|kernel| kernel.record(pass, 100));
            optimizer.record(pass);
        }
    });
    // p ← p − i · p, twice.
    for (i, tensor) in snapshot(gpu, &optimizer).tensors.iter().enumerate() {
        let expected = (1.0 - i as f32).powi(2);
        assert!(tensor.values[0].iter().all(|&p| p == expected), "{i}: {:?}", tensor.values[0]);
    }
}
