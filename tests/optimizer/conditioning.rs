//! Conditioning of gradients: scale, clipping, skipped steps, accumulation; and the average of the parameters.

use crate::common;

use common::gpu::Gpu;
use common::model::{Group, Options, Script, Setup, Snapshot, play, snapshot, write};
use common::{Random, assert_bits};
use proptest::prelude::*;
use wgpu_optim::cpu::all_finite;
use wgpu_optim::gpu::{Arena, Control, ReadBack};
use wgpu_optim::{Adam, ClipNorm, Conditioning, Lion, Optimizer, Sgd, Span};

/// Lengths around multiples of vectors, blocks of an arena and workgroups.
const LENGTHS: [usize; 6] = [261, 5, 64, 3, 0, 1030];
/// Half an ulp of one in f32.
const U: f64 = 1.0 / (1 << 24) as f64;

fn adam() -> Adam {
    Adam { lr: 0.02, betas: (0.8, 0.99), eps: 1e-7, ..Adam::default() }
}

/// SGD, whose results can be computed by hand.
fn plain_sgd() -> Sgd {
    Sgd { lr: 1.0, ..Sgd::default() }
}

fn with(conditioning: Conditioning) -> Options {
    Options { conditioning, ..Options::default() }
}

fn clipped(clip: ClipNorm) -> Options {
    with(Conditioning { clip_norm: Some(clip), ..Conditioning::default() })
}

fn skipping() -> Options {
    with(Conditioning { skip_nonfinite: true, ..Conditioning::default() })
}

/// Runs a script of random gradients with separate tensors and in an arena.
#[track_caller]
fn follow_random(gpu: &Gpu, options: Options, micro_batches: usize, size: f32) {
    let mut random = Random(3);
    let setup = Setup::new(adam(), options, &mut random, &LENGTHS);
    let mut script = setup.script(&mut random, micro_batches);
    script.iter_mut().flatten().flatten().flatten().for_each(|g| *g *= size);
    setup.follow(gpu, &setup.apart(gpu), &script);
    setup.follow(gpu, &setup.packed(gpu), &script);
}

/// An optimizer over these parameters, with unwritten gradients.
fn optimizer(gpu: &Gpu, rule: Sgd, options: Options, params: &[&[f32]]) -> Optimizer {
    let params = params.iter().map(|params| (0, params.to_vec())).collect();
    Setup { groups: vec![Group::of(rule)], options, params }.apart(gpu)
}

/// One step with these gradients.
fn step(gpu: &Gpu, optimizer: &Optimizer, grads: &[&[f32]]) -> Snapshot {
    let grads = grads.iter().map(|grads| Some(grads.to_vec())).collect();
    play(gpu, optimizer, &vec![grads]).remove(0)
}

fn params(snapshot: &Snapshot) -> Vec<&[f32]> {
    snapshot.tensors.iter().map(|tensor| tensor.values[0].as_slice()).collect()
}

mod scale {
    use super::*;

    fn scaled(grad_scale: f64) -> Options {
        with(Conditioning { grad_scale, ..Conditioning::default() })
    }

    #[test]
    fn gradients_are_divided_by_it() {
        let Some(gpu) = Gpu::get() else { return };
        for scale in [65_536.0, 3.0, 1e-3] {
            follow_random(gpu, scaled(scale), 3, scale as f32);
        }
    }

    #[test]
    fn a_power_of_two_changes_no_bit() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(1);
        let plain = Setup::new(plain_sgd(), Options::default(), &mut random, &LENGTHS);
        let setup = Setup { options: scaled(1024.0), ..plain.clone() };
        let script = plain.script(&mut random, 3);
        let mut times = script.clone();
        times.iter_mut().flatten().flatten().flatten().for_each(|g| *g *= 1024.0);
        let expected = play(gpu, &plain.apart(gpu), &script);
        let actual = play(gpu, &setup.apart(gpu), &times);
        for (expected, actual) in expected.iter().zip(&actual) {
            for (expected, actual) in params(expected).iter().zip(params(actual)) {
                assert_bits("params", actual, expected);
            }
        }
    }

    #[test]
    fn another_one_is_taken_from_the_next_submission_on() {
        let Some(gpu) = Gpu::get() else { return };
        let optimizer = optimizer(gpu, plain_sgd(), scaled(2.0), &[&[0.0]]);
        assert_eq!(params(&step(gpu, &optimizer, &[&[8.0]])), [[-4.0]]);
        optimizer.set_grad_scale(&gpu.queue, 8.0).unwrap();
        let after = step(gpu, &optimizer, &[&[8.0]]);
        assert_eq!(params(&after), [[-5.0]]);
        assert_eq!((after.control.inv_grad_scale, after.control.grad_factor), (0.125, 0.125));
        optimizer.set_grad_scale(&gpu.queue, 0.0).unwrap_err();
        assert_eq!(params(&step(gpu, &optimizer, &[&[8.0]])), [[-6.0]]);
    }

    #[test]
    fn one_can_be_set_where_there_was_none() {
        let Some(gpu) = Gpu::get() else { return };
        let optimizer = optimizer(gpu, plain_sgd(), Options::default(), &[&[0.0; 5]]);
        assert_eq!(params(&step(gpu, &optimizer, &[&[8.0; 5]])), [[-8.0; 5]]);
        optimizer.set_grad_scale(&gpu.queue, 4.0).unwrap();
        assert_eq!(params(&step(gpu, &optimizer, &[&[8.0; 5]])), [[-10.0; 5]]);
    }

    /// The parameter after three steps with different scales, in one encoder.
    fn with_three_scales(gpu: &Gpu, set: impl Fn(&mut wgpu::CommandEncoder, &Optimizer, usize)) {
        let optimizer = optimizer(gpu, plain_sgd(), scaled(4.0), &[&[0.0]]);
        gpu.write(&optimizer.tensors()[0].grads[0], &[64.0]);
        gpu.submit(|encoder| {
            for i in 0..3 {
                set(encoder, &optimizer, i);
                optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
            }
        });
        // 64 / 2 + 64 / 4 + 64 / 8
        assert_eq!(params(&snapshot(gpu, &optimizer)), [[-56.0]]);
    }

    #[test]
    fn a_kernel_may_set_it_ahead_of_a_step() {
        let Some(gpu) = Gpu::get() else { return };
        let word = std::mem::offset_of!(Control, inv_grad_scale) / 4;
        let steps = std::mem::offset_of!(Control, steps) / 4;
        let source = format!(
            "@group(0) @binding(0) var<storage, read_write> control: array<u32>;
            @compute @workgroup_size(1) fn main() {{
                control[{word}] = bitcast<u32>(0.5 / exp2(f32(control[{steps}])));
            }}"
        );
        with_three_scales(gpu, |encoder, optimizer, _| {
            let kernel = gpu.kernel(&source, &[&Span::whole(optimizer.control())]);
            kernel.record(&mut encoder.begin_compute_pass(&Default::default()), 1);
        });
    }

    #[test]
    fn a_copy_may_set_it_ahead_of_a_step() {
        let Some(gpu) = Gpu::get() else { return };
        let at = std::mem::offset_of!(Control, inv_grad_scale) as u64;
        let scales = gpu.buffer(&[0.5, 0.25, 0.125]);
        with_three_scales(gpu, |encoder, optimizer, i| {
            encoder.copy_buffer_to_buffer(&scales, i as u64 * 4, optimizer.control(), at, 4);
        });
    }
}

mod write_back {
    use super::*;

    #[test]
    fn the_gradients_that_the_rule_took_are_the_callers() {
        let Some(gpu) = Gpu::get() else { return };
        let conditioning = Conditioning {
            clip_norm: Some(ClipNorm::Torch(3.0)),
            clip_value: Some(0.05),
            grad_scale: 3.0,
            write_back: true,
            ..Conditioning::default()
        };
        follow_random(gpu, with(conditioning), 3, 3.0);
    }

    #[test]
    fn it_is_what_torch_leaves_in_the_gradients() {
        let Some(gpu) = Gpu::get() else { return };
        // Maximization and weight decay come later, as in torch.
        let sgd = Sgd { maximize: true, weight_decay: 0.5, ..plain_sgd() };
        let conditioning = Conditioning {
            grad_scale: 4.0,
            clip_value: Some(2.0),
            write_back: true,
            ..Conditioning::default()
        };
        let optimizer = optimizer(gpu, sgd, with(conditioning), &[&[1.0; 5]]);
        let after = step(gpu, &optimizer, &[&[4.0, -4.0, 16.0, -16.0, 0.0]]);
        assert_eq!(after.tensors[0].grads, [1.0, -1.0, 2.0, -2.0, 0.0]);
        assert_eq!(params(&after), [[1.5, -0.5, 2.5, -1.5, 0.5]]);
    }

    #[test]
    fn without_it_gradients_are_left_alone() {
        let Some(gpu) = Gpu::get() else { return };
        let conditioning = Conditioning {
            clip_norm: Some(ClipNorm::Optax(0.5)),
            clip_value: Some(0.01),
            grad_scale: 3.0,
            skip_nonfinite: true,
            write_back: false,
        };
        let mut random = Random(4);
        let setup = Setup::new(adam(), with(conditioning), &mut random, &LENGTHS);
        let script = setup.script(&mut random, 2);
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            for (grads, after) in script.iter().zip(play(gpu, &optimizer, &script)) {
                for (grads, tensor) in grads.iter().zip(&after.tensors) {
                    assert_bits("grads", &tensor.grads, grads.as_ref().unwrap());
                }
            }
        }
    }

    #[test]
    fn a_tensor_without_a_gradient_gets_none_back() {
        let Some(gpu) = Gpu::get() else { return };
        let conditioning =
            Conditioning { clip_value: Some(1.0), write_back: true, ..Conditioning::default() };
        let optimizer = optimizer(gpu, plain_sgd(), with(conditioning), &[&[0.0], &[0.0], &[0.0]]);
        optimizer.freeze(&gpu.queue, 1).unwrap();
        let selection = optimizer.selection(&gpu.device, |tensor| tensor != 2);
        optimizer.tensors().iter().for_each(|tensor| gpu.write(&tensor.grads[0], &[7.0]));
        gpu.run(|pass| optimizer.record_selected(pass, &selection));
        let after = snapshot(gpu, &optimizer);
        let grads: Vec<f32> = after.tensors.iter().map(|tensor| tensor.grads[0]).collect();
        assert_eq!(grads, [1.0, 7.0, 7.0]);
    }
}

#[test]
fn values_are_limited() {
    let Some(gpu) = Gpu::get() else { return };
    let limited = |limit| with(Conditioning { clip_value: Some(limit), ..Conditioning::default() });
    let optimizer = optimizer(gpu, plain_sgd(), limited(1.5), &[&[0.0; 9]]);
    let grads = [-1e30, -2.0, -1.5, -1.0, -0.0, 1.0, 1.5, 1.75, f32::MAX];
    let after = step(gpu, &optimizer, &[&grads]);
    assert_eq!(params(&after), [[1.5, 1.5, 1.5, 1.0, 0.0, -1.0, -1.5, -1.5, -1.5]]);
    let unlimited = self::optimizer(gpu, plain_sgd(), limited(f64::INFINITY), &[&[0.0; 9]]);
    assert_eq!(params(&step(gpu, &unlimited, &[&grads])), [grads.map(|g| -g)]);
    for limit in [0.3, 0.01] {
        follow_random(gpu, limited(limit), 3, 1.0);
    }
}

mod norm {
    use super::*;

    /// The placement of tensors whose gradients are measured.
    #[derive(Clone, Copy, Debug)]
    enum Place {
        Apart,
        Arena,
        Both,
    }

    const PLACES: [Place; 3] = [Place::Apart, Place::Arena, Place::Both];

    /// The optimizer's measurements of these gradients.
    fn measure(gpu: &Gpu, place: Place, options: Options, grads: &[Vec<f32>]) -> Control {
        let params = grads.iter().map(|grads| (0, vec![0.0; grads.len()])).collect();
        let groups = vec![Group::of(plain_sgd())];
        let setup = Setup { groups, options, params };
        let optimizer = match place {
            Place::Apart => setup.apart(gpu),
            Place::Arena => setup.packed(gpu),
            Place::Both => {
                let names: Vec<String> = (0..grads.len()).map(|i| i.to_string()).collect();
                let lens: Vec<[u64; 1]> = grads.iter().map(|g| [g.len() as u64]).collect();
                let shapes = names.iter().zip(&lens).map(|(name, len)| (name.as_str(), len.as_slice()));
                let arena = Arena::new(&gpu.device, wgpu::BufferUsages::empty(), shapes).unwrap();
                setup.build(gpu, |builder, i, params| match i % 2 {
                    0 => builder.arena_tensors(&arena, |name| name == names[i]),
                    _ => builder.tensor(gpu.span(params), gpu.span(params)),
                })
            }
        };
        let script: Script = vec![grads.iter().cloned().map(Some).collect()];
        play(gpu, &optimizer, &script)[0].control
    }

    fn exact(grads: &[Vec<f32>]) -> f64 {
        wgpu_optim::cpu::norm(grads.iter().map(Vec::as_slice))
    }

    /// Bound of the relative error of the norm. Sums of squares of elements below one, and of others, are separate: all terms
    /// are ≥ 0, so d additions on the longest path and a square, each with an error of 2u, give at most (1 + 2u)^(d + 1); a
    /// root halves that and adds 9u. The norms are combined as N · √(1 + (S / N)²), where an error of N cancels: 5u for the
    /// quotient, u for the square, u for the sum, 9u for the root and 2u for the product; and 2u for the division by the
    /// scale and the number of micro-batches. Scaling by powers of two is exact.
    ///
    /// d: at most 128 vectors per thread, 2 for a vector, 8 for the largest workgroup; a 64th of the partial sums, of which
    /// there are 16 for every 4096 elements and dispatch; 6 for their tree.
    fn bound(grads: &[Vec<f32>]) -> f64 {
        let partials: usize = grads.iter().map(|grads| 2 * 16 * (1 + grads.len() / 4096)).sum();
        let depth = 128 + 2 + 8 + partials.div_ceil(64) + 6;
        ((1.0 + 2.0 * U).powi(depth as i32 + 1).sqrt() - 1.0) + 29.0 * U
    }

    #[track_caller]
    fn assert_norm(gpu: &Gpu, options: Options, grads: &[Vec<f32>]) {
        let scale = options.conditioning.grad_scale;
        let expected = exact(grads) / scale;
        for place in PLACES {
            let norm = f64::from(measure(gpu, place, options, grads).norm);
            let error = (norm - expected).abs() / expected;
            let bound = bound(grads);
            assert!(
                error <= bound,
                "{place:?}: {norm:e} for {expected:e}, error/bound {}",
                error / bound
            );
        }
    }

    #[test]
    fn of_integers_is_the_root_of_their_squares() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(5);
        let mut integers = |len, most| -> Vec<f32> { (0..len).map(|_| random.integer(most)).collect() };
        let cases = [
            vec![vec![3.0], vec![4.0]],
            vec![vec![3.0, 0.0, -4.0]],
            vec![vec![0.0; 100]],
            vec![vec![]],
            vec![vec![2.0; 5], vec![-2.0; 11]],
            // The last element of a vector, of a block, of a thread's range and of a workgroup's range.
            [1, 4, 64, 1024, 4096, 16_384].map(|len| integers(len, 20)).to_vec(),
            [3, 5, 66, 1025, 4099, 16_390].map(|len| integers(len, 20)).to_vec(),
        ];
        for grads in cases {
            let squares: f64 = grads.iter().flatten().map(|&g| f64::from(g) * f64::from(g)).sum();
            assert!(squares < f64::from(1 << 24));
            for place in PLACES {
                let norm = measure(gpu, place, clipped(ClipNorm::Torch(1e30)), &grads).norm;
                if gpu.exact {
                    assert_eq!(norm, (squares as f32).sqrt(), "{place:?}");
                } else {
                    let expected = squares.sqrt();
                    let error = (f64::from(norm) - expected).abs();
                    assert!(error <= 29.0 * U * expected, "{place:?}: {norm} for {expected}");
                }
            }
        }
    }

    #[test]
    fn of_random_gradients_is_within_the_bound_of_its_sum() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(6);
        for lengths in [&[1030][..], &[20_003, 1, 0, 4098], &[7; 200]] {
            let options = clipped(ClipNorm::Optax(1.0));
            let units: Vec<_> = lengths.iter().map(|&len| random.units(len)).collect();
            assert_norm(gpu, options, &units);
            let wide: Vec<_> = lengths.iter().map(|&len| random.values(len)).collect();
            assert_norm(gpu, options, &wide);
            let conditioning = Conditioning { grad_scale: 3.0, ..options.conditioning };
            assert_norm(gpu, with(conditioning), &units);
        }
    }

    #[test]
    fn of_gradients_whose_squares_are_no_f32() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(7);
        for size in [1e25, 2f32.powi(94), 1e18, 1e-20, 1e-30, 2f32.powi(-107)] {
            // No element far below the others, which a device may lose.
            let mut between = |len| random.units(len).iter().map(|g| g.signum() + g).collect::<Vec<_>>();
            let grads = [300, 3].map(|len| between(len).iter().map(|g| 0.5 * g * size).collect());
            assert_norm(gpu, clipped(ClipNorm::Torch(1.0)), &grads);
        }
        // Small and large elements.
        assert_norm(gpu, clipped(ClipNorm::Torch(1.0)), &[vec![1e-30, 1e25], vec![1e-3; 9]]);
        assert_norm(gpu, clipped(ClipNorm::Torch(1.0)), &[vec![1.0], vec![0.75; 900]]);
    }

    #[test]
    fn more_than_the_norm_leaves_every_bit() {
        let Some(gpu) = Gpu::get() else { return };
        let grads = [vec![3.0, 0.0], vec![-4.0]];
        for place in PLACES {
            let unlimited = f64::INFINITY;
            let clips = [5.01, 8e37, unlimited].map(ClipNorm::Torch);
            for clip in clips.into_iter().chain([5.01, unlimited].map(ClipNorm::Optax)) {
                let control = measure(gpu, place, clipped(clip), &grads);
                assert_eq!(control.grad_factor, 1.0, "{clip:?}");
                assert!((control.norm - 5.0).abs() < 1e-5);
            }
            // At equality, optax scales by max_norm / norm, torch by slightly less.
            let at_equality = measure(gpu, place, clipped(ClipNorm::Optax(5.0)), &grads).grad_factor;
            assert!((at_equality - 1.0).abs() < 1e-6);
            let less = measure(gpu, place, clipped(ClipNorm::Torch(5.0)), &grads).grad_factor;
            assert!(less < 1.0 && less > 0.999_999);
        }
    }

    #[test]
    fn less_than_the_norm_scales_down_to_it() {
        let Some(gpu) = Gpu::get() else { return };
        let grads = [vec![3.0, 0.0], vec![-4.0]];
        for clip in [ClipNorm::Torch(2.0), ClipNorm::Optax(2.0), ClipNorm::Torch(1e-20)] {
            let expected = wgpu_optim::cpu::clip_factor(clip, 5.0);
            for place in PLACES {
                let factor = f64::from(measure(gpu, place, clipped(clip), &grads).grad_factor);
                // The errors of the norm, of the quotient, and of the sum with 1e-6.
                assert!((factor - expected).abs() <= 40.0 * U * expected, "{clip:?}: {factor}");
            }
        }
    }

    #[test]
    fn no_gradient_at_all_is_not_divided_by() {
        let Some(gpu) = Gpu::get() else { return };
        for clip in [ClipNorm::Torch(1.0), ClipNorm::Optax(1.0)] {
            let optimizer = optimizer(gpu, plain_sgd(), clipped(clip), &[&[1.0, 2.0]]);
            let after = step(gpu, &optimizer, &[&[0.0, 0.0]]);
            assert_eq!(params(&after), [[1.0, 2.0]]);
            assert_eq!((after.control.norm, after.control.grad_factor), (0.0, 1.0));
        }
    }

    #[test]
    fn the_step_uses_the_clipped_gradient() {
        let Some(gpu) = Gpu::get() else { return };
        for clip in [ClipNorm::Torch(2.0), ClipNorm::Optax(2.0), ClipNorm::Torch(1e6)] {
            let conditioning = Conditioning {
                clip_norm: Some(clip),
                grad_scale: 5.0,
                clip_value: Some(0.1),
                ..Conditioning::default()
            };
            follow_random(gpu, clipped(clip), 3, 1.0);
            follow_random(gpu, with(conditioning), 3, 5.0);
        }
    }

    #[test]
    fn tensors_without_a_gradient_do_not_count() {
        let Some(gpu) = Gpu::get() else { return };
        let params: [&[f32]; 4] = [&[0.0; 5], &[0.0; 5], &[0.0; 5], &[0.0; 5]];
        let setup = Setup {
            groups: vec![Group::of(plain_sgd())],
            options: clipped(ClipNorm::Torch(1e30)),
            params: params.iter().map(|params| (0, params.to_vec())).collect(),
        };
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            for (tensor, size) in optimizer.tensors().iter().zip([3.0, 100.0, 4.0, f32::INFINITY]) {
                write(gpu, &tensor.grads, &[0.0, 0.0, 0.0, 0.0, size]);
            }
            optimizer.freeze(&gpu.queue, 1).unwrap();
            let selection = optimizer.selection(&gpu.device, |tensor| tensor != 3);
            gpu.run(|pass| optimizer.record_selected(pass, &selection));
            let after = snapshot(gpu, &optimizer);
            assert!((after.control.norm - 5.0).abs() < 1e-5, "{}", after.control.norm);
            let last: Vec<f32> = after.tensors.iter().map(|tensor| tensor.values[0][4]).collect();
            assert_eq!(last, [-3.0, 0.0, -4.0, 0.0]);
            optimizer.thaw(&gpu.queue, 1).unwrap();
            gpu.run(|pass| optimizer.record_selected(pass, &selection));
            let norm = snapshot(gpu, &optimizer).control.norm;
            assert!((norm - 10_025f32.sqrt()).abs() < 1e-3, "{norm}");
        }
    }

    #[test]
    fn elements_after_a_tensor_do_not_count() {
        let Some(gpu) = Gpu::get() else { return };
        let conditioning = Conditioning {
            clip_norm: Some(ClipNorm::Torch(1e30)),
            skip_nonfinite: true,
            ..Conditioning::default()
        };
        for garbage in [f32::NAN, f32::NEG_INFINITY, 1e10] {
            let lens = [1u64, 2, 3, 5, 62, 63, 65, 126];
            let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let shapes = names.into_iter().zip(lens.iter().map(std::slice::from_ref));
            let arena = Arena::new(&gpu.device, wgpu::BufferUsages::empty(), shapes).unwrap();
            let buffer = &arena.tensors()[0].grads[0].buffer;
            gpu.write(&Span::whole(buffer), &vec![garbage; buffer.size() as usize / 4]);
            let mut builder = Optimizer::new(&gpu.device, plain_sgd()).arena(&arena);
            for tensor in arena.tensors() {
                let ones = vec![1.0; tensor.grads[0].len as usize];
                write(gpu, &tensor.grads, &ones);
            }
            // Spans at the start of longer buffers.
            for &len in &lens {
                let mut all = vec![garbage; 200];
                all[..len as usize].fill(1.0);
                let grads = Span::new(&gpu.buffer(&all), 0, len);
                builder = builder.tensor(gpu.span(&vec![0.0; len as usize]), grads);
            }
            let optimizer = builder.conditioning(conditioning).build().unwrap();
            gpu.run(|pass| optimizer.record(pass));
            let control = snapshot(gpu, &optimizer).control;
            let expected = (2 * lens.iter().sum::<u64>()) as f32;
            assert!((control.norm - expected.sqrt()).abs() < 1e-4, "{garbage}: {}", control.norm);
            assert_eq!((control.steps, control.skipped), (1, 0));
        }
    }
}

mod skipped {
    use super::*;

    /// Infinities and NaNs: quiet, signalling, with every payload and either sign.
    const NONFINITE: [u32; 10] = [
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xffc0_0000,
        0x7f80_0001,
        0xff80_0001,
        0x7fbf_ffff,
        0x7fff_ffff,
        0xffff_ffff,
        0x7fa5_a5a5,
    ];

    /// The finite values with similar bits.
    const FINITE: [f32; 6] =
        [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1e-45, f32::from_bits(0x807f_ffff)];

    /// Each single bit of a significand or of a payload, and the values on both sides of each boundary between kinds of
    /// numbers, with either sign.
    fn every_kind() -> Vec<f32> {
        let ends = [0, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0x7f7f_ffff, 0x7f80_0000, 0x7fbf_ffff];
        let mut bits = [&ends[..], &[0x7fc0_0000, 0x7fff_ffff]].concat();
        // Subnormal numbers, the smallest normal ones, signalling and quiet NaN.
        for base in [0, 0x0080_0000, 0x7f80_0000, 0x7fc0_0000] {
            bits.extend((0..23).map(|k| base | 1 << k));
        }
        bits.iter().flat_map(|&bits| [bits, bits | 1 << 31]).map(f32::from_bits).collect()
    }

    #[test]
    fn the_verdict_on_every_kind_of_bits_is_the_processors() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(15);
        // No vector, block or workgroup is full.
        let lengths = [1, 3, 5, 7, 63, 65, 257, 1021];
        let conditioning = Conditioning { skip_nonfinite: true, ..Conditioning::default() };
        let options = Options { conditioning, average: Some(0.75), micro_batches: 1 };
        let amsgrad = Adam { amsgrad: true, ..adam() };
        let setup = Setup::new(amsgrad, options, &mut random, &lengths);
        let mut values = every_kind();
        // Finite values come last: squares of the largest overflow.
        values.sort_by_key(|value| value.is_finite());
        let good = setup.script(&mut random, 1).remove(0);
        let mut script = vec![good.clone()];
        for (i, value) in values.into_iter().enumerate() {
            let mut grads = good.clone();
            let tensor = grads[i % lengths.len()].as_mut().unwrap();
            let at = match i / lengths.len() % 3 {
                0 => 0,
                1 => tensor.len() - 1,
                _ => random.bits() as usize % tensor.len(),
            };
            tensor[at] = value;
            script.push(grads);
        }
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            let snapshots = play(gpu, &optimizer, &script);
            let mut skipped = 0;
            for (grads, pair) in script[1..].iter().zip(snapshots.windows(2)) {
                let (before, after) = (&pair[0], &pair[1]);
                let taken = all_finite(grads.iter().flatten().map(Vec::as_slice));
                skipped += u64::from(!taken);
                assert_eq!(after.control.skipped, skipped, "{grads:?}");
                assert_eq!(after.control.steps - before.control.steps, u64::from(taken), "{grads:?}");
                for (before, after) in before.tensors.iter().zip(&after.tensors).filter(|_| !taken) {
                    assert_eq!(after.state, before.state);
                    before.values.iter().zip(&after.values).for_each(|(b, a)| assert_bits("kept", a, b));
                    assert_bits("average", &after.average, &before.average);
                }
            }
            assert!(skipped > 90 && skipped < script.len() as u64 - 90);
        }
    }

    /// A setup with every other option, and a finite script for it.
    fn setup(random: &mut Random) -> (Setup, Script) {
        let conditioning = Conditioning { skip_nonfinite: true, ..Conditioning::default() };
        let options = Options { conditioning, average: Some(0.75), micro_batches: 1 };
        let mut setup = Setup::new(adam(), options, random, &[261, 6, 64, 3]);
        setup.groups[0].rates = vec![0.1, 0.2, 0.3, 0.4, 0.5];
        let script = setup.script(random, 4);
        (setup, script)
    }

    #[test]
    fn one_element_skips_the_whole_step() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(8);
        let (setup, good) = setup(&mut random);
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            // A finite step first, so that there is state to lose.
            let before = play(gpu, &optimizer, &good[..1].to_vec()).remove(0);
            let mut bad: Script = Vec::new();
            for (tensor, len) in [261, 6, 64, 3].into_iter().enumerate() {
                for (i, at) in [0, len / 2, len - 1].into_iter().enumerate() {
                    for (k, &bits) in NONFINITE.iter().enumerate() {
                        // Every pattern occurs at every place; one in three in each tensor.
                        if (i + k + tensor) % 3 == 0 {
                            let mut grads = good[1].clone();
                            grads[tensor].as_mut().unwrap()[at] = f32::from_bits(bits);
                            bad.push(grads);
                        }
                    }
                }
            }
            for (i, after) in play(gpu, &optimizer, &bad).iter().enumerate() {
                assert_eq!(after.control.skipped_in_a_row, i as u32 + 1, "{:?}", bad[i]);
                assert_eq!((after.control.skipped, after.control.steps), (i as u64 + 1, 1));
                for (before, after) in before.tensors.iter().zip(&after.tensors) {
                    assert_eq!(after.state, before.state);
                    before.values.iter().zip(&after.values).for_each(|(b, a)| assert_bits("kept", a, b));
                    assert_bits("average", &after.average, &before.average);
                }
            }
        }
    }

    #[test]
    fn the_steps_around_it_are_as_if_there_had_been_none() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(9);
        let (setup, good) = setup(&mut random);
        let mut script = Script::new();
        for (i, grads) in good.iter().enumerate() {
            script.push(grads.clone());
            for _ in 0..i {
                let mut bad = grads.clone();
                bad[3].as_mut().unwrap()[2] = f32::NAN;
                script.push(bad);
            }
        }
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            let snapshots = setup.follow(gpu, &optimizer, &script);
            let Control { steps, skipped, skipped_in_a_row, .. } = snapshots.last().unwrap().control;
            assert_eq!((steps, skipped, skipped_in_a_row), (4, 6, 3));
        }
        let alone = play(gpu, &setup.apart(gpu), &good);
        let with_skipped = play(gpu, &setup.apart(gpu), &script);
        let (alone, with_skipped) = (alone.last().unwrap(), with_skipped.last().unwrap());
        for (alone, with_skipped) in alone.tensors.iter().zip(&with_skipped.tensors) {
            assert_eq!(alone.values, with_skipped.values);
            assert_eq!(alone.average, with_skipped.average);
        }
    }

    #[test]
    fn what_is_finite_is_not() {
        let Some(gpu) = Gpu::get() else { return };
        let setup = Setup::new(plain_sgd(), skipping(), &mut Random(10), &[FINITE.len(), 64]);
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            let script = vec![vec![Some(FINITE.to_vec()), Some(vec![f32::MAX; 64])]; 2];
            let control = play(gpu, &optimizer, &script)[1].control;
            assert_eq!((control.steps, control.skipped), (2, 0));
        }
    }

    #[test]
    fn nothing_is_where_it_is_not_asked_for() {
        let Some(gpu) = Gpu::get() else { return };
        for options in [Options::default(), clipped(ClipNorm::Torch(1.0))] {
            let optimizer = optimizer(gpu, plain_sgd(), options, &[&[0.0; 3], &[1.0]]);
            let after = step(gpu, &optimizer, &[&[f32::NAN, 0.0, 0.0], &[0.0]]);
            assert_eq!((after.control.steps, after.control.skipped), (1, 0));
            assert!(after.tensors.iter().all(|tensor| tensor.state.t == 1));
        }
        let optimizer = optimizer(gpu, plain_sgd(), Options::default(), &[&[0.0; 3]]);
        let after = step(gpu, &optimizer, &[&[f32::INFINITY, 1.0, 2.0]]);
        assert_eq!(params(&after), [[f32::NEG_INFINITY, -1.0, -2.0]]);
    }

    #[test]
    fn a_tensor_without_a_gradient_skips_nothing() {
        let Some(gpu) = Gpu::get() else { return };
        // play() fills missing gradients with NaN.
        let setup = Setup::new(plain_sgd(), skipping(), &mut Random(11), &[5, 70]);
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            let script = vec![vec![Some(vec![1.0; 5]), None], vec![None, None]];
            let after = setup.follow(gpu, &optimizer, &script);
            assert_eq!((after[1].control.steps, after[1].control.skipped), (2, 0));
        }
    }

    #[test]
    fn nothing_is_written_back() {
        let Some(gpu) = Gpu::get() else { return };
        let conditioning = Conditioning {
            skip_nonfinite: true,
            write_back: true,
            clip_value: Some(0.5),
            ..Conditioning::default()
        };
        let optimizer = optimizer(gpu, plain_sgd(), with(conditioning), &[&[0.0; 3]]);
        let after = step(gpu, &optimizer, &[&[3.0, f32::NEG_INFINITY, 2.0]]);
        assert_eq!(after.tensors[0].grads, [3.0, f32::NEG_INFINITY, 2.0]);
    }

    #[test]
    fn counters_are_read_whenever_the_caller_likes() {
        let Some(gpu) = Gpu::get() else { return };
        let optimizer = optimizer(gpu, plain_sgd(), skipping(), &[&[0.0]]);
        let bytes = size_of::<Control>() as u64;
        let mut staging = ReadBack::new(&gpu.device, 3 * bytes).unwrap();
        for gradient in [f32::NAN, f32::INFINITY, 1.0] {
            gpu.write(&optimizer.tensors()[0].grads[0], &[gradient]);
            gpu.submit(|encoder| {
                optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
                staging.copy(encoder, &Span::whole(optimizer.control())).unwrap();
            });
        }
        let counters: Vec<Control> = gpu.wait(&mut staging);
        let counters = counters.iter().map(|c| (c.steps, c.skipped, c.skipped_in_a_row));
        assert_eq!(counters.collect::<Vec<_>>(), [(0, 1, 1), (0, 2, 2), (1, 2, 0)]);
    }
}

mod accumulated {
    use super::*;

    fn accumulating(micro_batches: u32, conditioning: Conditioning) -> Options {
        Options { conditioning, micro_batches, ..Options::default() }
    }

    /// The plain sum, by a grad_scale of 1 / k, which cancels the mean.
    fn summing(micro_batches: u32) -> Options {
        let grad_scale = 1.0 / f64::from(micro_batches);
        accumulating(micro_batches, Conditioning { grad_scale, ..Conditioning::default() })
    }

    #[test]
    fn gradients_are_one_step_with_their_mean() {
        let Some(gpu) = Gpu::get() else { return };
        for k in [1, 2, 3, 7] {
            // Three windows in one submission, and one that is not full.
            let options = accumulating(k, Conditioning::default());
            follow_random(gpu, options, 3 * k as usize + 1, 1.0);
        }
    }

    #[test]
    fn the_mean_of_integers_is_exact() {
        let Some(gpu) = Gpu::get() else { return };
        let options = accumulating(4, Conditioning::default());
        let optimizer = optimizer(gpu, plain_sgd(), options, &[&[0.0; 5]]);
        let script = [1.0, 2.0, 3.0, 10.0].map(|g| vec![Some(vec![g; 5])]).to_vec();
        let after = play(gpu, &optimizer, &script);
        let params: Vec<f32> = after.iter().map(|after| after.tensors[0].values[0][4]).collect();
        assert_eq!(params, [0.0, 0.0, 0.0, -4.0]);
        let batches: Vec<u32> = after.iter().map(|after| after.control.micro_batch).collect();
        assert_eq!(batches, [1, 2, 3, 0]);
        assert_eq!(after.iter().map(|after| after.control.steps).collect::<Vec<_>>(), [0, 0, 0, 1]);
    }

    #[test]
    fn a_scale_of_one_in_k_gives_the_sum() {
        let Some(gpu) = Gpu::get() else { return };
        let optimizer = optimizer(gpu, plain_sgd(), summing(4), &[&[0.0; 3]]);
        let script = [1.0, 2.0, 3.0, 10.0].map(|g| vec![Some(vec![g; 3])]).to_vec();
        assert_eq!(play(gpu, &optimizer, &script)[3].tensors[0].values[0], [-16.0; 3]);
        follow_random(gpu, summing(3), 6, 0.3);
    }

    #[test]
    fn tensors_may_miss_micro_batches() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(12);
        for conditioning in [
            Conditioning::default(),
            Conditioning { skip_nonfinite: true, write_back: true, ..Conditioning::default() },
        ] {
            let setup =
                Setup::new(adam(), accumulating(3, conditioning), &mut random, &[70, 5, 261, 3, 64]);
            let mut script = setup.script(&mut random, 9);
            for (batch, tensor) in [(0, 0), (1, 1), (2, 2), (0, 3), (1, 3), (2, 3), (3, 4), (4, 4)] {
                script[batch][tensor] = None;
            }
            for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
                let after = setup.follow(gpu, &optimizer, &script);
                let t: Vec<u64> = after[8].tensors.iter().map(|tensor| tensor.state.t).collect();
                assert_eq!(t, [3, 3, 3, 2, 3]);
            }
        }
    }

    #[test]
    fn one_bad_micro_batch_skips_the_step_and_no_other() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(13);
        let conditioning = Conditioning { skip_nonfinite: true, ..Conditioning::default() };
        let setup = Setup::new(adam(), accumulating(3, conditioning), &mut random, &[70, 5, 261]);
        for bad in 3..6 {
            let mut script = setup.script(&mut random, 9);
            script[bad][1].as_mut().unwrap()[4] = f32::NAN;
            for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
                let after = setup.follow(gpu, &optimizer, &script);
                assert_eq!((after[8].control.steps, after[8].control.skipped), (2, 1));
            }
        }
    }

    #[test]
    fn a_sum_that_overflows_is_skipped_too() {
        let Some(gpu) = Gpu::get() else { return };
        let conditioning = Conditioning { skip_nonfinite: true, ..Conditioning::default() };
        let optimizer = optimizer(gpu, plain_sgd(), accumulating(2, conditioning), &[&[1.0]]);
        let script = vec![vec![Some(vec![f32::MAX])]; 2];
        let after = play(gpu, &optimizer, &script);
        assert_eq!((after[1].control.skipped, after[1].tensors[0].values[0][0]), (1, 1.0));
    }

    #[test]
    fn the_norm_is_that_of_the_mean() {
        let Some(gpu) = Gpu::get() else { return };
        for clip in [ClipNorm::Torch(2.5), ClipNorm::Optax(2.5)] {
            let conditioning = Conditioning {
                clip_norm: Some(clip),
                write_back: true,
                grad_scale: 2.0,
                ..Conditioning::default()
            };
            let options = accumulating(2, conditioning);
            let optimizer = optimizer(gpu, plain_sgd(), options, &[&[0.0], &[0.0]]);
            // Means of 12 and 16, divided by two: 6, 8, a norm of 10.
            let script = vec![
                vec![Some(vec![4.0]), Some(vec![-100.0])],
                vec![Some(vec![20.0]), Some(vec![132.0])],
            ];
            let after = &play(gpu, &optimizer, &script)[1];
            assert!((after.control.norm - 10.0).abs() < 1e-5, "{}", after.control.norm);
            let expected = [-1.5, -2.0];
            for (tensor, expected) in after.tensors.iter().zip(expected) {
                assert!((tensor.values[0][0] - expected).abs() < 1e-5, "{:?}", tensor.values);
                assert_eq!(tensor.grads[0], -tensor.values[0][0]);
            }
            follow_random(gpu, options, 5, 2.0);
        }
    }

    #[test]
    fn accumulated_gradients_are_dropped_with_a_restored_step() {
        let Some(gpu) = Gpu::get() else { return };
        let options = accumulating(2, Conditioning::default());
        let optimizer = optimizer(gpu, plain_sgd(), options, &[&[0.0]]);
        step(gpu, &optimizer, &[&[100.0]]);
        optimizer.set_step(&gpu.queue, 0, 0).unwrap();
        assert_eq!(params(&step(gpu, &optimizer, &[&[2.0]])), [[-1.0]]);
    }

    #[test]
    fn a_tensor_that_is_frozen_half_way_takes_no_step() {
        let Some(gpu) = Gpu::get() else { return };
        let options = accumulating(2, Conditioning::default());
        let optimizer = optimizer(gpu, plain_sgd(), options, &[&[0.0], &[0.0]]);
        step(gpu, &optimizer, &[&[2.0], &[2.0]]);
        optimizer.freeze(&gpu.queue, 1).unwrap();
        assert_eq!(params(&step(gpu, &optimizer, &[&[4.0], &[4.0]])), [[-3.0], [0.0]]);
        optimizer.thaw(&gpu.queue, 1).unwrap();
        step(gpu, &optimizer, &[&[2.0], &[6.0]]);
        assert_eq!(params(&step(gpu, &optimizer, &[&[2.0], &[6.0]])), [[-5.0], [-6.0]]);
    }
}

mod averaged {
    use super::*;

    fn averaging(decay: f64) -> Options {
        Options { average: Some(decay), ..Options::default() }
    }

    #[test]
    fn the_average_follows_its_twin() {
        let Some(gpu) = Gpu::get() else { return };
        for decay in [0.0, 0.5, 0.999] {
            follow_random(gpu, averaging(decay), 4, 1.0);
        }
    }

    #[test]
    fn the_first_step_copies() {
        let Some(gpu) = Gpu::get() else { return };
        let optimizer = optimizer(gpu, plain_sgd(), averaging(0.75), &[&[8.0; 3]]);
        let script = [1.0, 2.0, 4.0].map(|g| vec![Some(vec![g; 3])]).to_vec();
        let after = play(gpu, &optimizer, &script);
        let averages: Vec<f32> = after.iter().map(|after| after.tensors[0].average[2]).collect();
        assert_eq!(averages, [7.0, 6.5, 5.125]);
    }

    #[test]
    fn a_tensor_without_a_gradient_keeps_its() {
        let Some(gpu) = Gpu::get() else { return };
        let mut random = Random(14);
        let setup = Setup::new(Lion::default(), averaging(0.5), &mut random, &[5, 70]);
        let mut script = setup.script(&mut random, 4);
        script[0][1] = None;
        script[2][0] = None;
        for optimizer in [setup.apart(gpu), setup.packed(gpu)] {
            let after = setup.follow(gpu, &optimizer, &script);
            assert_bits("average", &after[2].tensors[0].average, &after[1].tensors[0].average);
            optimizer.freeze(&gpu.queue, 1).unwrap();
            let later = &play(gpu, &optimizer, &script[3..].to_vec())[0];
            assert_bits("average", &later.tensors[1].average, &after[3].tensors[1].average);
            assert_ne!(later.tensors[0].average, after[3].tensors[0].average);
        }
    }

    #[test]
    fn it_moves_once_in_a_window_and_not_with_a_skipped_step() {
        let Some(gpu) = Gpu::get() else { return };
        let conditioning = Conditioning { skip_nonfinite: true, ..Conditioning::default() };
        let options = Options { conditioning, micro_batches: 2, average: Some(0.5) };
        let optimizer = optimizer(gpu, plain_sgd(), options, &[&[8.0]]);
        let grads = [1.0, 3.0, f32::NAN, 0.0, 1.0, 1.0];
        let script = grads.map(|g| vec![Some(vec![g])]).to_vec();
        let after = play(gpu, &optimizer, &script);
        let averages: Vec<f32> = after[1..].iter().map(|after| after.tensors[0].average[0]).collect();
        assert_eq!(averages, [6.0, 6.0, 6.0, 6.0, 5.5]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// Every combination of options, with unselected tensors and skipped steps.
    #[test]
    fn any_history_is_that_of_the_copy(
        rule in proptest::sample::select(common::step::rules()),
        clip_norm in proptest::option::of(proptest::sample::select(
            vec![ClipNorm::Torch(0.5), ClipNorm::Optax(0.5), ClipNorm::Torch(1e3)],
        )),
        clip_value in proptest::option::of(0.01..2.0),
        grad_scale in proptest::sample::select(vec![1.0, 4.0, 0.3]),
        (write_back, skip_nonfinite, in_arena) in any::<(bool, bool, bool)>(),
        micro_batches in 1u32..4,
        average in proptest::option::of(0.0..0.99),
        lengths in proptest::collection::vec(0usize..150, 1..7),
        seed in any::<u64>(),
    ) {
        let Some(gpu) = Gpu::get() else { return Ok(()) };
        let conditioning = Conditioning { clip_norm, clip_value, grad_scale, write_back, skip_nonfinite };
        let options = Options { conditioning, micro_batches, average };
        let mut random = Random(seed);
        let mut setup = Setup::new(rule, options, &mut random, &lengths);
        setup.groups[0].rates = vec![0.02, 0.01, 0.03];
        let mut script = setup.script(&mut random, 8);
        for grads in script.iter_mut().flatten() {
            match random.bits() % 20 {
                0..4 => *grads = None,
                4 if skip_nonfinite => {
                    let last = grads.as_mut().and_then(|grads| grads.last_mut());
                    last.into_iter().for_each(|g| *g = f32::INFINITY);
                }
                _ => {}
            }
        }
        let optimizer = if in_arena { setup.packed(gpu) } else { setup.apart(gpu) };
        setup.follow(gpu, &optimizer, &script);
    }
}
