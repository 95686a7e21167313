//! Snapshots of an optimizer, restored into itself, into another one, and on another device.

use crate::common;

use common::gpu::Gpu;
use common::model::{Group, Options, Script, Setup, Snapshot, play, snapshot, write};
use common::step::rules;
use common::{Random, assert_bits};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wgpu::{BufferUsages, CommandEncoder, PollType};
use wgpu_optim::gpu::{Arena, OptimizerState, StateSnapshot, required_limits};
use wgpu_optim::{Adam, ClipNorm, Conditioning, Error, Lion, Optimizer, Rule, Sgd, Span};

/// Lengths around multiples of vectors and blocks of an arena, and an empty tensor.
const LENGTHS: [usize; 7] = [70, 5, 261, 64, 3, 0, 130];
/// Micro-batches of a run: four steps, one of them skipped, and an incomplete step.
const RUN: usize = 13;

fn adam() -> Adam {
    Adam { lr: 0.02, betas: (0.8, 0.99), eps: 1e-7, ..Adam::default() }
}

/// An optimizer with every option, with `rule` and a second group.
fn everything(rule: Rule, random: &mut Random) -> Setup {
    let conditioning = Conditioning {
        clip_norm: Some(ClipNorm::Torch(2.0)),
        clip_value: Some(0.5),
        grad_scale: 3.0,
        skip_nonfinite: true,
        ..Conditioning::default()
    };
    let options = Options { conditioning, micro_batches: 3, average: Some(0.75) };
    let mut setup = Setup::new(rule, options, random, &LENGTHS);
    setup.groups[0].rates = vec![0.1, 0.05, 0.02, 0.04, 0.01];
    let lion: Rule = Lion { lr: 0.01, ..Lion::default() }.into();
    setup.groups.push(Group { rates: vec![0.03, 0.01], ..Group::of(lion) });
    setup.params[4..].iter_mut().for_each(|(group, _)| *group = 1);
    setup
}

/// Gradients of some tensors, one of them non-finite.
fn script(setup: &Setup, random: &mut Random) -> Script {
    let mut script = setup.script(random, RUN);
    for (batch, tensor) in [(0, 0), (1, 6), (4, 2), (9, 1), (10, 1), (11, 1)] {
        script[batch][tensor] = None;
    }
    script[7][3].as_mut().unwrap()[63] = f32::NEG_INFINITY;
    script
}

/// Tensors in an arena of many buffers, in buffers of their own, and in several parts.
fn scattered(setup: &Setup, gpu: &Gpu) -> Optimizer {
    let names: Vec<String> = (0..setup.params.len()).map(|i| i.to_string()).collect();
    let shapes: Vec<[u64; 1]> = setup.params.iter().map(|(_, p)| [p.len() as u64]).collect();
    let shapes = names.iter().zip(&shapes).map(|(name, shape)| (name.as_str(), shape.as_slice()));
    let arena = Arena::with_max_buffer(&gpu.device, BufferUsages::empty(), shapes, 1024).unwrap();
    setup.build(gpu, |builder, i, params| match i % 3 {
        0 => {
            write(gpu, &arena.get(&names[i]).unwrap().params, params);
            builder.arena_tensors(&arena, |name| name == names[i])
        }
        1 => builder.tensor(gpu.span(params), gpu.span(params)),
        _ => {
            let (a, b) = params.split_at(params.len() / 3);
            builder.tensor_in_parts([a, b].map(|part| (gpu.span(part), gpu.span(part))))
        }
    })
}

/// Submits a micro-batch, and some calls from the host before it.
fn one(gpu: &Gpu, optimizer: &Optimizer, script: &Script, batch: usize) -> Snapshot {
    match batch {
        2 => optimizer.freeze(&gpu.queue, 1).unwrap(),
        5 => optimizer.set_grad_scale(&gpu.queue, 0.5).unwrap(),
        8 => optimizer.thaw(&gpu.queue, 1).unwrap(),
        _ => {}
    }
    play(gpu, optimizer, &script[batch..=batch].to_vec()).remove(0)
}

/// Waits for a future that resolves when the device is polled.
pub fn wait<T>(gpu: &Gpu, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        gpu.device.poll(PollType::wait_indefinitely()).unwrap();
    }
}

fn save(gpu: &Gpu, optimizer: &Optimizer, saving: &mut StateSnapshot) -> OptimizerState {
    gpu.submit(|encoder| saving.record(optimizer, encoder).unwrap());
    wait(gpu, saving.read()).unwrap()
}

fn saved(gpu: &Gpu, optimizer: &Optimizer) -> OptimizerState {
    save(gpu, optimizer, &mut optimizer.snapshot(&gpu.device).unwrap())
}

#[track_caller]
fn assert_same(what: &str, actual: &Snapshot, expected: &Snapshot) {
    let bytes = |snapshot: &Snapshot| bytemuck::bytes_of(&snapshot.control).to_vec();
    assert_eq!(bytes(actual), bytes(expected), "{what}: {:?}", [actual.control, expected.control]);
    for (i, (actual, expected)) in actual.tensors.iter().zip(&expected.tensors).enumerate() {
        let what = format!("{what}, tensor {i}");
        assert_eq!(actual.state, expected.state, "{what}");
        for (k, (actual, expected)) in actual.values.iter().zip(&expected.values).enumerate() {
            assert_bits(&format!("{what}, value {k}"), actual, expected);
        }
        assert_bits(&format!("{what}, average"), &actual.average, &expected.average);
    }
}

#[test]
fn a_run_interrupted_anywhere_continues_with_the_same_bits() {
    let Some(gpu) = Gpu::get() else { return };
    for rule in rules() {
        let mut random = Random(1);
        let setup = everything(rule, &mut random);
        let script = script(&setup, &mut random);
        let through = scattered(&setup, gpu);
        // The buffers are split within tensors.
        let mut saving = through.snapshot_in_stages(&gpu.device, 1000).unwrap();
        let (mut states, mut snapshots) = (vec![save(gpu, &through, &mut saving)], Vec::new());
        for batch in 0..RUN {
            snapshots.push(one(gpu, &through, &script, batch));
            states.push(save(gpu, &through, &mut saving));
        }
        let last = snapshots.last().unwrap();
        assert_eq!((last.control.steps, last.control.skipped), (3, 1));
        assert_eq!(last.control.micro_batch, 1);

        // Into a new optimizer, and then over the state of a previous run.
        let other = scattered(&setup, gpu);
        for (cut, state) in states[..RUN].iter().enumerate().rev() {
            let optimizer = if cut % 4 == 1 { &through } else { &other };
            optimizer.restore(&gpu.queue, state).unwrap();
            for (batch, expected) in snapshots.iter().enumerate().skip(cut) {
                let actual = one(gpu, optimizer, &script, batch);
                assert_same(&format!("{rule:?}, cut at {cut}, then {batch}"), &actual, expected);
            }
        }
    }
}

#[test]
fn a_restored_state_equals_the_snapshot() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(2);
    let setup = everything(Adam { amsgrad: true, ..adam() }.into(), &mut random);
    let script = script(&setup, &mut random);
    let optimizer = scattered(&setup, gpu);
    (0..5).for_each(|batch| drop(one(gpu, &optimizer, &script, batch)));
    let state = saved(gpu, &optimizer);
    let now = snapshot(gpu, &optimizer);
    assert_eq!(bytemuck::bytes_of(&state.control), bytemuck::bytes_of(&now.control));
    assert_eq!((state.groups[0].position, state.groups[1].position), (1, 1));
    assert_eq!(state.tensors.iter().map(|tensor| tensor.group).sum::<usize>(), 3);
    for (tensor, now) in state.tensors.iter().zip(&now.tensors) {
        assert_eq!(tensor.step, now.state);
        let values = std::iter::once(tensor.params.as_ref().unwrap());
        let moments = state.groups[tensor.group].rule.moments().iter();
        let values = values.chain(moments.map(|&name| &tensor.moments[name]));
        values.zip(&now.values).for_each(|(saved, now)| assert_bits("saved", saved, now));
        assert_bits("average", &tensor.average, &now.average);
        assert_eq!(tensor.accumulator.len(), now.average.len());
    }
    assert!(state.tensors[0].accumulator.iter().any(|&x| x != 0.0));

    let other = setup.packed(gpu);
    other.restore(&gpu.queue, &state).unwrap();
    assert_eq!(saved(gpu, &other), state);
}

/// The recovery of a program whose device was lost: it has only the state on the host.
#[test]
fn a_run_continues_on_another_device() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(3);
    let setup = everything(adam().into(), &mut random);
    let script = script(&setup, &mut random);
    let through = scattered(&setup, gpu);
    let expected: Vec<Snapshot> = (0..RUN).map(|batch| one(gpu, &through, &script, batch)).collect();

    let mut device = Gpu::with_limits(gpu.device.limits()).unwrap();
    let mut optimizer = scattered(&setup, &device);
    for (batch, expected) in expected.iter().enumerate() {
        let actual = one(&device, &optimizer, &script, batch);
        assert_same(&format!("micro-batch {batch}"), &actual, expected);
        let state = saved(&device, &optimizer);
        device.device.destroy();
        device = Gpu::with_limits(gpu.device.limits()).unwrap();
        optimizer = scattered(&setup, &device);
        optimizer.restore(&device.queue, &state).unwrap();
    }
}

#[test]
fn a_device_that_is_lost_is_an_error() {
    let Some(gpu) = Gpu::get() else { return };
    let lost = Gpu::with_limits(gpu.device.limits()).unwrap();
    let optimizer = everything(adam().into(), &mut Random(4)).packed(&lost);
    let mut saving = optimizer.snapshot(&lost.device).unwrap();
    lost.submit(|encoder| saving.record(&optimizer, encoder).unwrap());
    lost.device.destroy();
    assert!(matches!(wait(&lost, saving.read()), Err(Error::ReadBack(_))));
}

/// A gradient of one, and a parameter that is minus the number of steps.
fn counter(gpu: &Gpu) -> Optimizer {
    let tensor = (gpu.span(&[0.0]), gpu.span(&[1.0]));
    let sgd = Sgd { lr: 1.0, ..Sgd::default() };
    Optimizer::new(&gpu.device, sgd).tensor(tensor.0, tensor.1).build().unwrap()
}

fn step(encoder: &mut CommandEncoder, optimizer: &Optimizer) {
    optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
}

fn param(state: &OptimizerState) -> f32 {
    state.tensors[0].params.as_ref().unwrap()[0]
}

#[test]
fn a_snapshot_is_of_its_place_in_the_encoder_and_the_last_one_counts() {
    let Some(gpu) = Gpu::get() else { return };
    let optimizer = counter(gpu);
    let [mut first, mut second] = [(); 2].map(|()| optimizer.snapshot(&gpu.device).unwrap());
    gpu.submit(|encoder| {
        step(encoder, &optimizer);
        first.record(&optimizer, encoder).unwrap();
        step(encoder, &optimizer);
        second.record(&optimizer, encoder).unwrap();
        step(encoder, &optimizer);
        second.record(&optimizer, encoder).unwrap();
        step(encoder, &optimizer);
    });
    let states = [&mut first, &mut second].map(|saving| wait(gpu, saving.read()).unwrap());
    assert_eq!(states.each_ref().map(param), [-1.0, -3.0]);
    assert_eq!(states.map(|state| (state.control.steps, state.tensors[0].step.t)), [(1, 1), (3, 3)]);
}

#[test]
fn a_read_that_is_given_up_leaves_the_buffers_to_the_next_one() {
    let Some(gpu) = Gpu::get() else { return };
    let optimizer = counter(gpu);
    let mut saving = optimizer.snapshot_in_stages(&gpu.device, 16).unwrap();
    gpu.submit(|encoder| saving.record(&optimizer, encoder).unwrap());
    {
        let read = pin!(saving.read());
        assert!(read.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert!(matches!(wait(gpu, saving.read()), Err(Error::ReadBack(_))), "nothing is left to read");
    gpu.submit(|encoder| step(encoder, &optimizer));
    assert_eq!(param(&save(gpu, &optimizer, &mut saving)), -1.0);
}

#[test]
fn parameters_are_left_out_where_the_caller_keeps_them() {
    let Some(gpu) = Gpu::get() else { return };
    let descriptor = wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: BufferUsages::STORAGE,
        mapped_at_creation: false,
    };
    let params = Span::whole(&gpu.device.create_buffer(&descriptor));
    let optimizer =
        Optimizer::new(&gpu.device, adam()).tensor(params, gpu.span(&[1.0; 4])).build().unwrap();
    let error = optimizer.snapshot(&gpu.device).unwrap_err();
    assert!(matches!(error, Error::MissingUsage { needs: BufferUsages::COPY_SRC, .. }), "{error}");
    let mut saving = optimizer.snapshot_without_params(&gpu.device).unwrap();
    let state = save(gpu, &optimizer, &mut saving);
    assert_eq!(state.tensors[0].params, None);
    optimizer.restore(&gpu.queue, &state).unwrap();

    let mut with_params = state;
    with_params.tensors[0].params = Some(vec![0.0; 4]);
    let error = optimizer.restore(&gpu.queue, &with_params).unwrap_err();
    assert!(matches!(error, Error::MissingUsage { needs: BufferUsages::COPY_DST, .. }), "{error}");
}

#[test]
fn buffers_are_of_one_optimizer() {
    let Some(gpu) = Gpu::get() else { return };
    let (mine, other) = (counter(gpu), counter(gpu));
    let mut saving = mine.snapshot(&gpu.device).unwrap();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let error = saving.record(&other, &mut encoder).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { field, .. } if field == "optimizer"), "{error}");
    assert!(wait(gpu, saving.read()).is_err(), "nothing was recorded");
}

#[test]
fn a_state_of_something_else_is_refused_by_name_and_changes_nothing() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(5);
    let setup = everything(adam().into(), &mut random);
    let script = script(&setup, &mut random);
    let optimizer = scattered(&setup, gpu);
    (0..4).for_each(|batch| drop(one(gpu, &optimizer, &script, batch)));
    let before = snapshot(gpu, &optimizer);
    let mut good = saved(gpu, &optimizer);
    // A write would be detected.
    good.control.steps += 1;
    good.tensors.iter_mut().for_each(|tensor| tensor.step.t += 1);
    type Change = fn(&mut OptimizerState);
    let changes: [(&str, Change); 22] = [
        ("number of tensors", |s| drop(s.tensors.pop())),
        ("number of tensors", |s| s.tensors.push(s.tensors[0].clone())),
        ("group of tensor 3", |s| s.tensors[3].group = 1),
        ("length of params of tensor 6", |s| s.tensors[6].params = Some(vec![0.0; 129])),
        ("length of exp_avg_sq of tensor 2", |s| {
            s.tensors[2].moments.get_mut("exp_avg_sq").unwrap().push(0.0);
        }),
        ("moments of tensor 1", |s| drop(s.tensors[1].moments.remove("exp_avg"))),
        ("moments of tensor 5", |s| {
            s.tensors[5].moments.insert("max_exp_avg_sq".into(), vec![]);
        }),
        ("length of accumulator of tensor 0", |s| s.tensors[0].accumulator.clear()),
        ("length of average of tensor 4", |s| s.tensors[4].average.push(1.0)),
        ("number of parameter groups", |s| drop(s.groups.pop())),
        ("rule of group 1", |s| s.groups[1].rule = Adam::default().into()),
        ("betas of group 1", |s| {
            s.groups[1].rule = Lion { lr: 0.01, betas: (0.9, 0.98), ..Lion::default() }.into();
        }),
        ("eps of group 0", |s| s.groups[0].rule = Adam { eps: 1e-8, ..adam() }.into()),
        ("amsgrad of group 0", |s| s.groups[0].rule = Adam { amsgrad: true, ..adam() }.into()),
        ("number of learning rates of group 1", |s| s.groups[1].learning_rates.truncate(1)),
        ("learning rate 3 of group 0", |s| s.groups[0].learning_rates[3] = 0.5),
        ("number of micro-batches", |s| s.micro_batches = 2),
        ("micro-batch", |s| s.control.micro_batch = 3),
        ("decay of the average", |s| s.average = None),
        ("clip_norm", |s| s.conditioning.clip_norm = Some(ClipNorm::Optax(2.0))),
        ("clip_value", |s| s.conditioning.clip_value = None),
        ("skip_nonfinite", |s| s.conditioning.skip_nonfinite = false),
    ];
    for (name, change) in changes {
        let mut state = good.clone();
        change(&mut state);
        match optimizer.restore(&gpu.queue, &state) {
            Err(Error::Mismatch { field, saved, current }) => {
                assert_eq!(field, name);
                assert_ne!(saved, current, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_same(name, &snapshot(gpu, &optimizer), &before);
    }
    optimizer.restore(&gpu.queue, &good).unwrap();
    assert_eq!(saved(gpu, &optimizer), good);
}

#[test]
fn no_tensor_at_all_is_a_state_too() {
    let Some(gpu) = Gpu::get() else { return };
    let build = || Optimizer::new(&gpu.device, adam()).build().unwrap();
    let optimizer = build();
    gpu.submit(|encoder| step(encoder, &optimizer));
    let state = saved(gpu, &optimizer);
    assert_eq!((state.control.steps, state.tensors.len()), (1, 0));
    let other = build();
    other.restore(&gpu.queue, &state).unwrap();
    assert_eq!(saved(gpu, &other), state);
}

/// More than 64 tensors use different dispatches, and long tables have other positions.
#[test]
fn many_tensors_and_a_long_schedule_are_restored() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(6);
    let mut setup = Setup::new(adam(), Options::default(), &mut random, &[3; 130]);
    setup.groups[0].rates = (0..100).map(|i| 0.1 / (1 + i) as f32).collect();
    let script = setup.script(&mut random, 40);
    let through = setup.packed(gpu);
    let half = play(gpu, &through, &script[..20].to_vec()).pop().unwrap();
    let state = saved(gpu, &through);
    assert_eq!(state.groups[0].position, 20);
    let other = setup.packed(gpu);
    other.restore(&gpu.queue, &state).unwrap();
    assert_same("half way", &snapshot(gpu, &other), &half);
    let [a, b] = [&through, &other].map(|o| play(gpu, o, &script[20..].to_vec()).pop().unwrap());
    assert_same("the end", &b, &a);
}

#[test]
fn the_state_does_not_depend_on_the_location_of_tensors() {
    let Some(gpu) = Gpu::get() else { return };
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 64 << 20,
        max_buffer_size: 64 << 20,
        ..required_limits(&gpu.device.limits())
    };
    let small = Gpu::with_limits(limits).unwrap();
    let mut random = Random(7);
    let mut setup = everything(adam().into(), &mut random);
    // The norm is summed in memory order.
    setup.options.conditioning.clip_norm = None;
    let script = script(&setup, &mut random);
    let optimizers = [
        (gpu, scattered(&setup, gpu)),
        (gpu, setup.apart(gpu)),
        (gpu, setup.packed(gpu)),
        (&small, scattered(&setup, &small)),
    ];
    let (_, through) = &optimizers[0];
    (0..5).for_each(|batch| drop(one(gpu, through, &script, batch)));
    let state = saved(gpu, through);
    let ends = optimizers.each_ref().map(|(gpu, optimizer)| {
        optimizer.restore(&gpu.queue, &state).unwrap();
        (5..RUN).map(|batch| one(gpu, optimizer, &script, batch)).next_back().unwrap();
        saved(gpu, optimizer)
    });
    let bits = |state: &OptimizerState| {
        let values = state.tensors.iter().flat_map(|tensor| {
            let moments = tensor.moments.values();
            tensor.params.iter().chain(moments).chain([&tensor.average]).flatten()
        });
        values.map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let expected = bits(&ends[0]);
    assert!(ends.iter().all(|end| bits(end) == expected));
}

#[cfg(feature = "checkpoint")]
mod in_a_file {
    use super::*;
    use std::path::Path;
    use wgpu_optim::checkpoint::CheckpointError;

    /// A state with every part, in the middle of an accumulation.
    fn full(gpu: &Gpu) -> (Setup, OptimizerState) {
        let mut random = Random(8);
        let setup = everything(Adam { amsgrad: true, ..adam() }.into(), &mut random);
        let script = script(&setup, &mut random);
        let optimizer = scattered(&setup, gpu);
        (0..5).for_each(|batch| drop(one(gpu, &optimizer, &script, batch)));
        (setup, saved(gpu, &optimizer))
    }

    fn bytes(state: &OptimizerState) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        state.save(&path).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        std::fs::read(path).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<OptimizerState, CheckpointError> {
        OptimizerState::read(Path::new("state"), bytes)
    }

    #[test]
    fn a_state_survives_to_the_bit() {
        let Some(gpu) = Gpu::get() else { return };
        let (setup, mut state) = full(gpu);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        state.save(&path).unwrap();
        assert_eq!(OptimizerState::load(&path).unwrap(), state);
        let optimizer = scattered(&setup, gpu);
        optimizer.restore(&gpu.queue, &OptimizerState::load(&path).unwrap()).unwrap();
        assert_eq!(saved(gpu, &optimizer), state);

        // NaN.
        let bits = [0x7f80_0001, 0xffc1_2345, 0x8000_0000, 1].map(f32::from_bits);
        state.tensors[4].params.as_mut().unwrap()[..3].copy_from_slice(&bits[..3]);
        state.control.norm = bits[1];
        state.control.grad_factor = f32::INFINITY;
        let again = read(&bytes(&state)).unwrap();
        let words = |state: &OptimizerState| {
            let params = state.tensors[4].params.as_ref().unwrap();
            (params.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), state.control.norm.to_bits())
        };
        assert_eq!(words(&again), words(&state));
    }

    #[test]
    fn without_parameters_there_are_none_in_the_file() {
        let Some(gpu) = Gpu::get() else { return };
        let (_, mut state) = full(gpu);
        state.tensors.iter_mut().for_each(|tensor| tensor.params = None);
        assert_eq!(read(&bytes(&state)).unwrap(), state);
    }

    #[test]
    fn no_byte_can_be_another() {
        let Some(gpu) = Gpu::get() else { return };
        let optimizer = counter(gpu);
        gpu.submit(|encoder| step(encoder, &optimizer));
        let good = bytes(&saved(gpu, &optimizer));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(matches!(read(&bad), Err(CheckpointError::Damaged { .. })), "byte {at}");
            assert!(matches!(read(&good[..at]), Err(CheckpointError::Damaged { .. })), "length {at}");
        }
        read(&good).unwrap();
    }

    #[test]
    fn another_file_is_not_a_state() {
        let path = Path::new("/no/such/file");
        let error = OptimizerState::load(path).unwrap_err();
        assert!(matches!(error, CheckpointError::File { operation: "reading", .. }), "{error}");
        assert!(matches!(read(b""), Err(CheckpointError::Damaged { .. })));
    }
}
