//! Parameter groups, frozen and unselected tensors, and many tensors.

use crate::common;

use common::gpu::Gpu;
use common::model::{Group, Model, Options, Setup, Snapshot, Tape, play, snapshot, write};
use common::step::rules;
use common::{Random, assert_bits};
use wgpu_optim::cpu::Bounded;
use wgpu_optim::{Adagrad, Adam, ClipNorm, Conditioning, Lion, NAdam, Optimizer, Rule, Sgd};

fn plain_sgd() -> Sgd {
    Sgd { lr: 1.0, ..Sgd::default() }
}

fn group(rule: impl Into<Rule>, rates: &[f32]) -> Group {
    Group { rates: rates.to_vec(), ..Group::of(rule) }
}

/// One-element tensors from zero, with the given number in each group.
fn ones(groups: Vec<Group>, tensors: &[usize]) -> Setup {
    let params = tensors.iter().enumerate().flat_map(|(g, &n)| vec![(g, vec![0.0]); n]).collect();
    Setup { groups, options: Options::default(), params }
}

/// Gradients of −1, with which SGD sums the learning rates.
fn set_grads(gpu: &Gpu, optimizer: &Optimizer) {
    optimizer.tensors().iter().for_each(|tensor| write(gpu, &tensor.grads, &[-1.0]));
}

fn first_params(snapshot: &Snapshot) -> Vec<f32> {
    snapshot.tensors.iter().map(|tensor| tensor.values[0][0]).collect()
}

#[test]
fn every_group_has_its_own_rule_and_rates() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(1);
    let groups = vec![
        group(Adam { lr: 0.02, betas: (0.8, 0.99), ..Adam::default() }, &[0.1, 0.2]),
        group(plain_sgd(), &[0.5, 0.25, 0.125]),
        group(Lion { lr: 0.01, weight_decay: 0.1, ..Lion::default() }, &[0.01]),
        // The same rule as the first group's, with other values: in an arena they share a dispatch.
        group(Adam { lr: 0.3, betas: (0.9, 0.999), eps: 1e-3, ..Adam::default() }, &[0.3]),
        group(NAdam { lr: 0.02, ..NAdam::default() }, &[0.02]),
        group(Adagrad { lr: 0.1, lr_decay: 0.1, ..Adagrad::default() }, &[0.1, 0.2, 0.3, 0.4]),
    ];
    let lengths = [261, 5, 64, 3];
    let params = (0..groups.len()).flat_map(|g| lengths.map(|len| (g, len)));
    let params = params.map(|(g, len)| (g, random.units(len))).collect();
    let setup = Setup { groups, options: Options::default(), params };
    let script = setup.script(&mut random, 5);
    for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
        setup.follow(gpu, &optimizer, &script);
        for (tensor, (group, _)) in setup.params.iter().enumerate() {
            assert_eq!(*optimizer.rule_of(tensor), setup.groups[*group].rule);
        }
    }
}

#[test]
fn groups_are_as_many_optimizers() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(2);
    let groups: Vec<Group> = rules().into_iter().map(Group::of).collect();
    let params = (0..groups.len()).map(|g| (g, random.units(70))).collect();
    let setup = Setup { groups, options: Options::default(), params };
    let script = setup.script(&mut random, 3);
    let [apart, packed] = [setup.apart(gpu), setup.packed(gpu)].map(|o| play(gpu, &o, &script));
    for (g, (group, (_, params))) in setup.groups.iter().zip(&setup.params).enumerate() {
        let alone = Setup {
            groups: vec![group.clone()],
            options: Options::default(),
            params: vec![(0, params.clone())],
        };
        let script = script.iter().map(|grads| vec![grads[g].clone()]).collect();
        let alone = &play(gpu, &alone.apart(gpu), &script)[2].tensors[0];
        for together in [&apart, &packed] {
            for (k, values) in alone.values.iter().enumerate() {
                let what = format!("{:?}, value {k}", group.rule);
                assert_bits(&what, &together[2].tensors[g].values[k], values);
            }
        }
    }
}

#[test]
fn a_table_that_is_replaced_leaves_the_others_where_they_were() {
    let Some(gpu) = Gpu::get() else { return };
    let tables: [&[f32]; 3] = [&[1.0, 2.0, 4.0, 8.0], &[16.0, 32.0], &[64.0, 128.0, 256.0]];
    let setup = ones(tables.map(|rates| group(plain_sgd(), rates)).to_vec(), &[1, 1, 1]);
    let mut optimizer = setup.apart(gpu);
    set_grads(gpu, &optimizer);
    let mut sums = [0.0; 3];
    let mut advance = |optimizer: &Optimizer, rates: [f32; 3]| {
        gpu.run(|pass| optimizer.record(pass));
        sums = [0, 1, 2].map(|g| sums[g] + rates[g]);
        assert_eq!(first_params(&snapshot(gpu, optimizer)), sums);
    };
    advance(&optimizer, [1.0, 16.0, 64.0]);
    // Longer than before: the third group's table moves.
    optimizer.set_learning_rates(&gpu.device, &gpu.queue, 1, &[512.0, 1024.0, 2048.0]).unwrap();
    advance(&optimizer, [2.0, 512.0, 128.0]);
    // Shorter, and the second group's moves.
    optimizer.set_learning_rates(&gpu.device, &gpu.queue, 0, &[0.5]).unwrap();
    advance(&optimizer, [0.5, 1024.0, 256.0]);
    advance(&optimizer, [0.5, 2048.0, 256.0]);
    assert!(optimizer.set_learning_rates(&gpu.device, &gpu.queue, 3, &[1.0]).is_err());
    advance(&optimizer, [0.5, 2048.0, 256.0]);
}

#[test]
fn commands_that_wait_read_the_tables_that_they_were_recorded_with() {
    let Some(gpu) = Gpu::get() else { return };
    let tables: [&[f32]; 2] = [&[1.0, 2.0], &[4.0, 8.0]];
    let setup = ones(tables.map(|rates| group(plain_sgd(), rates)).to_vec(), &[1, 1]);
    let mut optimizer = setup.apart(gpu);
    set_grads(gpu, &optimizer);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
    optimizer.set_learning_rates(&gpu.device, &gpu.queue, 0, &[16.0, 32.0, 64.0]).unwrap();
    gpu.queue.submit([encoder.finish()]);
    assert_eq!(first_params(&snapshot(gpu, &optimizer)), [1.0, 4.0]);
    gpu.run(|pass| optimizer.record(pass));
    assert_eq!(first_params(&snapshot(gpu, &optimizer)), [33.0, 12.0]);
}

#[test]
fn a_frozen_tensor_stays_and_goes_on_when_it_is_thawed() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(3);
    for rule in rules() {
        // The position in the table is per group, the bias correction per tensor.
        let mut setup = Setup::new(rule, Options::default(), &mut random, &[70, 5, 3]);
        setup.groups[0].rates = vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
        let script = setup.script(&mut random, 6);
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            let mut snapshots = Vec::new();
            for (i, grads) in script.iter().enumerate() {
                match i {
                    1 => optimizer.freeze(&gpu.queue, 1).unwrap(),
                    4 => optimizer.thaw(&gpu.queue, 1).unwrap(),
                    _ => {}
                }
                snapshots.push(play(gpu, &optimizer, &vec![grads.clone()]).remove(0));
            }
            let frozen = &snapshots[3].tensors[1];
            assert_eq!((frozen.state.t, frozen.state.frozen), (1, 1));
            assert_bits("params", &frozen.values[0], &snapshots[0].tensors[1].values[0]);
            assert_eq!(snapshots[5].tensors[1].state.t, 3);
            let mut script = script.clone();
            script[1..4].iter_mut().for_each(|grads| grads[1] = None);
            // Like an unselected tensor, except for the flag.
            snapshots.iter_mut().for_each(|snapshot| snapshot.tensors[1].state.frozen = 0);
            setup.assert(gpu, &script, &snapshots);
        }
    }
}

#[test]
fn selections_differ_within_one_submission() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(4);
    for clip_norm in [None, Some(ClipNorm::Torch(2.0))] {
        let conditioning = Conditioning { clip_norm, ..Conditioning::default() };
        let options = Options { conditioning, ..Options::default() };
        let rule = Adam { lr: 0.02, betas: (0.8, 0.99), ..Adam::default() };
        let setup = Setup::new(rule, options, &mut random, &[70, 5, 64, 0, 3]);
        let mut script = setup.script(&mut random, 8);
        for (step, grads) in script.iter_mut().enumerate() {
            for (tensor, grads) in grads.iter_mut().enumerate() {
                if step >> (tensor % 3) & 1 == 1 {
                    *grads = None;
                }
            }
        }
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            let after = setup.follow(gpu, &optimizer, &script);
            let t: Vec<u64> = after[7].tensors.iter().map(|tensor| tensor.state.t).collect();
            assert_eq!(t, [4; 5]);
            assert_eq!(after[7].control.steps, 8, "steps without a gradient are counted");
        }
    }
}

#[test]
fn a_selection_lasts() {
    let Some(gpu) = Gpu::get() else { return };
    let setup = ones(vec![group(plain_sgd(), &[1.0])], &[3]);
    let optimizer = setup.apart(gpu);
    set_grads(gpu, &optimizer);
    let [even, odd] = [0, 1].map(|k| optimizer.selection(&gpu.device, |i| i % 2 == k));
    for _ in 0..2 {
        gpu.run(|pass| {
            optimizer.record_selected(pass, &even);
            optimizer.record_selected(pass, &odd);
            optimizer.record_selected(pass, &even);
            optimizer.record(pass);
        });
    }
    assert_eq!(first_params(&snapshot(gpu, &optimizer)), [6.0, 4.0, 6.0]);
}

#[test]
fn a_restored_tensor_goes_on_where_it_was() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(5);
    for rule in rules() {
        let setup = Setup::new(rule, Options::default(), &mut random, &[70, 5]);
        let script = setup.script(&mut random, 6);
        let through = setup.apart(gpu);
        let half = play(gpu, &through, &script[..3].to_vec()).remove(2);
        let expected = play(gpu, &through, &script[3..].to_vec()).remove(2);

        let restored = setup.packed(gpu);
        for (i, (tensor, saved)) in restored.tensors().iter().zip(&half.tensors).enumerate() {
            let spans = std::iter::once(&tensor.params).chain(&tensor.moments);
            spans.zip(&saved.values).for_each(|(spans, values)| write(gpu, spans, values));
            restored.set_step(&gpu.queue, i, saved.state.t).unwrap();
        }
        let actual = play(gpu, &restored, &script[3..].to_vec()).remove(2);
        for (actual, expected) in actual.tensors.iter().zip(&expected.tensors) {
            assert_eq!(actual.state, expected.state, "{rule:?}");
            for (actual, expected) in actual.values.iter().zip(&expected.values) {
                assert_bits(&format!("{rule:?}"), actual, expected);
            }
        }
    }
}

/// From 65 tensors on, decision and advance are two dispatches.
#[test]
fn any_number_of_tensors_is_one_step() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(6);
    for tensors in [1, 63, 64, 65, 128, 129, 300] {
        let conditioning = Conditioning {
            clip_norm: Some(ClipNorm::Optax(5.0)),
            skip_nonfinite: true,
            ..Conditioning::default()
        };
        let options = Options { conditioning, micro_batches: 2, average: Some(0.5) };
        let lengths: Vec<usize> = (0..tensors).map(|_| random.bits() as usize % 9).collect();
        let mut setup = Setup::new(Lion { lr: 0.02, ..Lion::default() }, options, &mut random, &lengths);
        setup.groups.push(group(plain_sgd(), &[0.5, 0.25, 0.125]));
        setup.params[tensors / 2..].iter_mut().for_each(|(group, _)| *group = 1);
        let mut script = setup.script(&mut random, 6);
        script[1][tensors - 1] = None;
        if let Some(g) = script[2].iter_mut().rev().flatten().flatten().next() {
            *g = f32::NAN;
        }
        let optimizer = setup.packed(gpu);
        let after = setup.follow(gpu, &optimizer, &script);
        assert_eq!((after[5].control.steps, after[5].control.skipped), (2, 1));
    }
}

#[test]
fn hundreds_of_tensors_in_buffers_of_their_own() {
    let Some(gpu) = Gpu::get() else { return };
    let mut random = Random(7);
    let lengths: Vec<usize> = (0..130).map(|i| i % 7).collect();
    let adam = Adam { lr: 0.02, betas: (0.8, 0.99), ..Adam::default() };
    let setup = Setup::new(adam, Options::default(), &mut random, &lengths);
    let mut script = setup.script(&mut random, 3);
    script[1].iter_mut().step_by(3).for_each(|grads| *grads = None);
    setup.follow(gpu, &setup.apart(gpu), &script);
}

#[test]
fn no_tensor_at_all_is_a_step_too() {
    let Some(gpu) = Gpu::get() else { return };
    let conditioning = Conditioning { skip_nonfinite: true, ..Conditioning::default() };
    let optimizer =
        Optimizer::new(&gpu.device, Adam::default()).conditioning(conditioning).build().unwrap();
    let mut tape = Tape::new(gpu, &optimizer, 1);
    gpu.submit(|encoder| {
        optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
        tape.take(encoder);
    });
    assert_eq!(tape.read(gpu)[0].control.steps, 1);
}

/// The model itself, in a case that can be computed by hand.
#[test]
fn the_copy_does_what_it_should() {
    let conditioning = Conditioning { grad_scale: 2.0, skip_nonfinite: true, ..Conditioning::default() };
    let options = Options { conditioning, micro_batches: 2, average: Some(0.5) };
    let groups = vec![group(plain_sgd(), &[1.0, 0.5])];
    let mut model = Model::<Bounded>::new(groups, options, &[(0, vec![0.0]), (0, vec![0.0])]);
    let mut record = |a: Option<f32>, b: Option<f32>| {
        model.record(&[a, b].map(|g| g.map(|g| vec![g])), None);
        [0, 1].map(|i| model.tensors[i].values[0][0].value)
    };
    assert_eq!(record(Some(4.0), None), [0.0, 0.0]);
    assert_eq!(record(Some(12.0), Some(8.0)), [-4.0, -2.0]);
    assert_eq!(record(Some(f32::NAN), Some(8.0)), [-4.0, -2.0]);
    assert_eq!(record(Some(4.0), Some(8.0)), [-4.0, -2.0]);
    assert_eq!(record(None, Some(8.0)), [-4.0, -2.0]);
    assert_eq!(record(None, Some(8.0)), [-4.0, -4.0]);
    assert_eq!((model.steps, model.skipped), (2, 1));
    assert_eq!(model.tensors[1].average[0].value, -3.0);
}

#[test]
fn a_restored_run_goes_on_in_the_middle_of_its_schedule() {
    let Some(gpu) = Gpu::get() else { return };
    let setup = ones(vec![group(plain_sgd(), &[1.0, 2.0, 4.0])], &[1]);
    let optimizer = setup.apart(gpu);
    set_grads(gpu, &optimizer);
    optimizer.set_schedule_step(&gpu.queue, 0, 1).unwrap();
    gpu.run(|pass| optimizer.record(pass));
    assert_eq!(first_params(&snapshot(gpu, &optimizer)), [2.0]);
    optimizer.set_schedule_step(&gpu.queue, 0, u64::MAX).unwrap();
    gpu.run(|pass| optimizer.record(pass));
    assert_eq!(first_params(&snapshot(gpu, &optimizer)), [6.0], "the last entry holds");
    assert!(optimizer.set_schedule_step(&gpu.queue, 1, 0).is_err());
}
