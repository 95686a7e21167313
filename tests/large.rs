//! Tensors that really exceed the size of a binding. A single test, so that only one such buffer exists at a time.

mod common;

use common::gpu::Gpu;
use common::model::Arithmetic;
use wgpu::{Buffer, BufferUsages, PollType};
use wgpu_optim::cpu::{self, Bounded, StepState};
use wgpu_optim::gpu::{Arena, Control, ReadBack};
use wgpu_optim::{Adam, ClipNorm, Conditioning, Optimizer, Rule, Sgd, Span};

/// 300 MB of f32, with a tail.
const LEN: u64 = 75_000_003;
/// Elements written, read and compared at once.
const CHUNK: u64 = 1 << 22;

/// Multiples of 2⁻¹⁰ within ±2⁹, each different from its neighbours.
fn param(i: u64) -> f32 {
    ((i as u32).wrapping_mul(2_654_435_769) >> 12) as f32 / 1024.0 - 512.0
}

/// Integers within ±2¹¹.
fn grad(i: u64) -> f32 {
    ((i as u32).wrapping_mul(2_246_822_519).cast_signed() >> 20) as f32
}

/// Mostly zero, sometimes ±1: few enough to count in f32.
fn sparse(i: u64) -> f32 {
    match (i as u32).wrapping_mul(3_266_489_917) >> 28 {
        0 => 1.0,
        1 => -1.0,
        _ => 0.0,
    }
}

fn chunks(len: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..len.div_ceil(CHUNK)).map(move |k| k * CHUNK..len.min((k + 1) * CHUNK))
}

fn buffer(gpu: &Gpu, len: u64) -> Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: len * 4,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Fills a tensor's spans chunk by chunk, to limit the staging memory.
fn fill(gpu: &Gpu, spans: &[Span], value: fn(u64) -> f32) {
    let mut first = 0;
    for span in spans {
        for range in chunks(span.len) {
            let values: Vec<f32> = range.clone().map(|i| value(first + i)).collect();
            let at = span.offset + range.start * 4;
            gpu.queue.write_buffer(&span.buffer, at, bytemuck::cast_slice(&values));
            gpu.queue.submit([]);
            gpu.device.poll(PollType::wait_indefinitely()).unwrap();
        }
        first += span.len;
    }
}

/// The parts of these consecutive spans within `range`.
fn parts(spans: &[Span], range: &std::ops::Range<u64>) -> Vec<Span> {
    let mut first = 0;
    let mut parts = Vec::new();
    for span in spans {
        let (from, to) = (range.start.max(first), range.end.min(first + span.len));
        if from < to {
            parts.push(Span::new(&span.buffer, span.offset + (from - first) * 4, to - from));
        }
        first += span.len;
    }
    parts
}

/// Calls `check` for every chunk of some values, with the index of its first element.
fn each_chunk(gpu: &Gpu, values: &[&[Span]], mut check: impl FnMut(u64, &[&[f32]])) {
    let len = values[0].iter().map(|span| span.len).sum();
    let mut staging = ReadBack::new(&gpu.device, CHUNK * 4 * values.len() as u64).unwrap();
    for range in chunks(len) {
        gpu.submit(|encoder| {
            for part in values.iter().flat_map(|spans| parts(spans, &range)) {
                staging.copy(encoder, &part).unwrap();
            }
        });
        let all: Vec<f32> = gpu.wait(&mut staging);
        let values: Vec<&[f32]> = all.chunks((range.end - range.start) as usize).collect();
        check(range.start, &values);
    }
}

/// Compares every element after two steps with the model: parameters, then each moment. Bounds are slow, so on inexact
/// devices only samples are compared.
fn compare<R: Arithmetic>(gpu: &Gpu, rule: Rule, optimizer: &Optimizer, stride: u64) {
    let tensor = &optimizer.tensors()[0];
    let spans: Vec<&[Span]> =
        std::iter::once(&tensor.params).chain(&tensor.moments).map(Vec::as_slice).collect();
    let mut state = StepState::default();
    let steps = [(); 2].map(|()| R::advance(&rule, &mut state, rule.lr() as f32));
    each_chunk(gpu, &spans, |first, actual| {
        // Includes the last elements of a chunk, which may be a tail.
        let places: Vec<u64> = (0..actual[0].len() as u64)
            .filter(|i| i % stride == 0 || actual[0].len() as u64 - i < 9)
            .collect();
        let all = |value: fn(u64) -> f32| -> Vec<R> {
            places.iter().map(|i| R::exactly(value(first + i))).collect()
        };
        let (mut params, grads) = (all(param), all(grad));
        let mut moments = vec![vec![R::of(0.0); places.len()]; rule.moments().len()];
        for step in &steps {
            let mut moments: Vec<&mut [R]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            cpu::update(&rule, step, &mut params, &grads, &mut moments);
        }
        for (k, expected) in std::iter::once(&params).chain(&moments).enumerate() {
            let actual: Vec<f32> = places.iter().map(|&i| actual[k][i as usize]).collect();
            R::assert(&format!("value {k} from element {first}"), expected, &actual);
        }
    });
}

fn control(gpu: &Gpu, optimizer: &Optimizer) -> Control {
    let mut staging = ReadBack::new(&gpu.device, size_of::<Control>() as u64).unwrap();
    gpu.submit(|encoder| staging.copy(encoder, &Span::whole(optimizer.control())).unwrap());
    gpu.wait(&mut staging)[0]
}

#[test]
fn nothing_ends_at_a_binding() {
    let Some(gpu) = Gpu::get() else { return };
    if gpu.device.limits().max_buffer_size < LEN * 4 {
        eprintln!("skipped: buffers of this device are too short");
        return;
    }
    let [params, grads] = [(); 2].map(|()| Span::whole(&buffer(gpu, LEN)));
    a_tensor(gpu, &params, &grads);
    gradients_together(gpu, &params, &grads);
    drop((params, grads));
    an_arena(gpu);
}

/// Two steps of Adam over one tensor, with every element compared; then a skipped step, because the last gradient is not
/// finite.
fn a_tensor(gpu: &Gpu, params: &Span, grads: &Span) {
    let rule: Rule = Adam { lr: 0.125, betas: (0.75, 0.9375), eps: 1e-3, ..Adam::default() }.into();
    let conditioning = Conditioning { skip_nonfinite: true, ..Conditioning::default() };
    fill(gpu, std::slice::from_ref(params), param);
    fill(gpu, std::slice::from_ref(grads), grad);
    let optimizer = Optimizer::new(&gpu.device, rule)
        .tensor(params.clone(), grads.clone())
        .conditioning(conditioning)
        .build()
        .unwrap();
    if gpu.device.limits().max_storage_buffer_binding_size < LEN * 4 {
        assert!(optimizer.tensors()[0].moments[0].len() > 1);
    }
    gpu.run(|pass| (0..2).for_each(|_| optimizer.record(pass)));
    // Before the comparison, which detects changes by the skipped step.
    let last = Span::new(&grads.buffer, (LEN - 1) * 4, 1);
    gpu.write(&last, &[f32::NAN]);
    gpu.run(|pass| optimizer.record(pass));
    let Control { steps, skipped, .. } = control(gpu, &optimizer);
    assert_eq!((steps, skipped), (2, 1));
    if gpu.exact {
        compare::<f32>(gpu, rule, &optimizer, 1);
    } else {
        compare::<Bounded>(gpu, rule, &optimizer, 97);
    }
}

/// The norm of the whole tensor: an exact count of ones, and one step clipped by it.
fn gradients_together(gpu: &Gpu, params: &Span, grads: &Span) {
    let count = (0..LEN).filter(|&i| sparse(i) != 0.0).count();
    assert!(count > 4_000_000 && count < 1 << 24);
    fill(gpu, std::slice::from_ref(params), param);
    fill(gpu, std::slice::from_ref(grads), sparse);
    let conditioning =
        Conditioning { clip_norm: Some(ClipNorm::Optax(1024.0)), ..Conditioning::default() };
    let optimizer = Optimizer::new(&gpu.device, Sgd { lr: 1.0, ..Sgd::default() })
        .tensor(params.clone(), grads.clone())
        .conditioning(conditioning)
        .build()
        .unwrap();
    gpu.run(|pass| optimizer.record(pass));
    let Control { norm, grad_factor, .. } = control(gpu, &optimizer);
    let expected = (count as f32).sqrt();
    if gpu.exact {
        assert_eq!((norm, grad_factor), (expected, 1024.0 / expected));
    }
    assert!((norm - expected).abs() <= expected * 2e-6, "{norm} for {expected}");
    each_chunk(gpu, &[std::slice::from_ref(params)], |first, actual| {
        let (ours, factor) = (actual[0].iter(), grad_factor);
        let wrong = (first..).zip(ours).find(|&(i, &actual)| {
            // One product by ±1 or 0, and one difference: rounded to nearest or, on other devices, either way.
            let expected = param(i) - factor * sparse(i);
            if gpu.exact { actual != expected } else { (actual - expected).abs() > 1e-4 }
        });
        assert_eq!(wrong, None, "factor {factor}");
    });
}

/// Tensors of an arena before and after the end of a binding, and one across it.
fn an_arena(gpu: &Gpu) {
    const TENSORS: u64 = 37;
    const EACH: u64 = 1_000_001;
    let names: Vec<String> = (0..TENSORS).map(|i| i.to_string()).collect();
    let shapes = names.iter().map(|name| (name.as_str(), [EACH].as_slice()));
    let arena = Arena::new(&gpu.device, BufferUsages::empty(), shapes).unwrap();
    for tensor in arena.tensors() {
        fill(gpu, &tensor.params, param);
        fill(gpu, &tensor.grads, grad);
    }
    let optimizer =
        Optimizer::new(&gpu.device, Sgd { lr: 0.5, ..Sgd::default() }).arena(&arena).build().unwrap();
    let bindings = optimizer.dispatches() - 1;
    let bytes = TENSORS * (EACH * 4).next_multiple_of(256);
    let most = gpu.device.limits().max_storage_buffer_binding_size;
    assert!(bindings as u64 >= bytes.div_ceil(most) && bindings < 9, "{bindings}");
    gpu.run(|pass| optimizer.record(pass));
    for tensor in arena.tensors() {
        each_chunk(gpu, &[&tensor.params], |first, actual| {
            let expected = |i: u64| param(i) - 0.5 * grad(i);
            let wrong = (first..).zip(actual[0]).find(|&(i, &actual)| actual != expected(i));
            assert_eq!(wrong, None, "tensor {}", tensor.name);
        });
    }
    drop(arena);
    assert_eq!(steps_taken(gpu, &optimizer), vec![1; TENSORS as usize]);
}

fn steps_taken(gpu: &Gpu, optimizer: &Optimizer) -> Vec<u64> {
    let mut staging = ReadBack::new(&gpu.device, optimizer.state().size()).unwrap();
    gpu.submit(|encoder| staging.copy(encoder, &Span::whole(optimizer.state())).unwrap());
    gpu.wait::<StepState>(&mut staging).iter().map(|state| state.t).collect()
}
