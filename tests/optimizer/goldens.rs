//! Recorded steps of PyTorch, optax and Keras against every path: f64, f32 on the processor, and the device.

use crate::{common, golden};

use common::gpu::Gpu;
use common::step::{Expected, read_tensors};
use common::{assert_bits, assert_within};
use golden::{Case, between, cases, of, take_step};
use std::collections::HashSet;
use wgpu::{Buffer, CommandEncoder};
use wgpu_optim::cpu::{Bounded, Number, RuleConstants, Step, StepState, exact_step};
use wgpu_optim::gpu::{ReadBack, Tensor};
use wgpu_optim::{Optimizer, Rule, Span};

/// The steps of a case that have a gradient.
fn taken(case: &Case) -> impl Iterator<Item = (usize, &[f64])> {
    case.grads.iter().enumerate().filter_map(|(i, grads)| Some((i, grads.as_deref()?)))
}

/// The constants of step `t`, as the device computes them.
fn f32_step(rule: &Rule, t: u64, lr: f64) -> Step<f32> {
    StepState::after(rule, t - 1).advance(&RuleConstants::new(rule), lr as f32)
}

/// The processor's f32 path.
fn take_f32_step(rule: &Rule, step: &Step<f32>, values: &mut [Vec<f32>], grads: &[f32]) {
    #[cfg(feature = "cpu")]
    {
        let (params, moments) = values.split_first_mut().unwrap();
        wgpu_optim::cpu::parallel::update(rule, step, params, grads, moments);
    }
    #[cfg(not(feature = "cpu"))]
    take_step(rule, step, values, grads);
}

/// Computes a case from its start: parameters and moments after every step.
fn run<R: Number>(case: &Case, constants: impl Fn(&Rule, u64, f64) -> Step<R>) -> Vec<Vec<Vec<R>>> {
    let mut values: Vec<Vec<R>> = case.before(0).iter().map(|v| of(v)).collect();
    let mut t = case.t0;
    let mut step = |(i, grads): (usize, &Option<Vec<f64>>)| {
        if let Some(grads) = grads {
            t += 1;
            take_step(&case.rule, &constants(&case.rule, t, case.lr(i)), &mut values, &of(grads));
        }
        assert_eq!(t, case.t_after(i), "{}", case.name);
        values.clone()
    };
    case.grads.iter().enumerate().map(&mut step).collect()
}

/// Computes step `i` from the recorded state before it, which is rounded in f32; [`Bounded`] has the rounding error.
fn before<R: Number>(case: &Case, i: usize) -> Vec<Vec<R>> {
    case.before(i).iter().map(|values| of(values)).collect()
}

/// Computes step `i` with the processor's f32 path from the recorded state before it.
fn f32_step_from(case: &Case, i: usize, grads: &[f64]) -> Vec<Vec<f32>> {
    let mut values = before(case, i);
    let step = f32_step(&case.rule, case.t_after(i), case.lr(i));
    take_f32_step(&case.rule, &step, &mut values, &of(grads));
    values
}

/// The recorded values after step `i`, with bounds for an f32 step from the recorded values before it.
fn expected(case: &Case, i: usize, grads: &[f64]) -> Vec<Expected> {
    let mut bounded: Vec<Vec<Bounded>> = before(case, i);
    let step = exact_step(&case.rule, case.t_after(i), case.lr(i));
    take_step(&case.rule, &step, &mut bounded, &of(grads));
    around(&case.after(i), &bounded)
}

/// Recorded values with derived errors.
fn around(golden: &[Vec<f64>], bounded: &[Vec<Bounded>]) -> Vec<Expected> {
    let pairs = golden.iter().zip(bounded);
    let around = |(golden, bounded): (&Vec<f64>, &Vec<Bounded>)| {
        let pairs = golden.iter().zip(bounded);
        Expected(pairs.map(|(&value, b)| Bounded { value, error: b.error }).collect())
    };
    pairs.map(around).collect()
}

#[track_caller]
fn assert_expected(case: &Case, i: usize, actual: &[Vec<f32>], expected: &[Expected]) {
    for ((what, actual), expected) in case.names(i).iter().zip(actual).zip(expected) {
        expected.assert(what, actual);
    }
}

#[test]
fn the_cases_are_of_every_rule_and_source() {
    let cases = cases();
    cases.iter().for_each(|case| case.rule.validate().unwrap());
    assert_eq!(cases.len(), 127);
    let kinds: HashSet<_> = cases.iter().map(|case| std::mem::discriminant(&case.rule)).collect();
    let all = Rule::variants();
    let all: HashSet<_> = all.iter().map(|(_, rule)| std::mem::discriminant(rule)).collect();
    assert_eq!(kinds, all, "record steps of every rule with tests/golden/generate.py");
    let sources: HashSet<_> = cases.iter().map(|case| case.source.as_str()).collect();
    assert_eq!(sources, HashSet::from(["torch", "optax", "keras"]));
    let between = between();
    assert_eq!(between.len(), 9);
    assert!(between.iter().all(|tensors| tensors.len() == 5));
}

/// The largest magnitude of each element so far, to which rounding errors are relative.
fn grow(sizes: &mut [f64], values: impl IntoIterator<Item = f64>) {
    sizes.iter_mut().zip(values).for_each(|(size, value)| *size = size.max(value.abs()));
}

#[test]
fn f64_steps_are_those_of_the_frameworks() {
    for case in cases().into_iter().chain(between().into_iter().flatten()) {
        let mut before = case.before(0);
        let mut sizes = vec![vec![0.0; before[0].len()]; before.len()];
        grow(&mut sizes[0], before[0].iter().copied());
        for (i, values) in run(&case, exact_step::<f64>).into_iter().enumerate() {
            let changes = values[0].iter().zip(&before[0]).map(|(new, old)| new - old);
            grow(&mut sizes[0], changes);
            let golden = case.after(i);
            for (k, what) in case.names(i).iter().enumerate() {
                grow(&mut sizes[k], values[k].iter().copied());
                let bounds: Vec<f64> = sizes[k].iter().map(|size| case.relative * size).collect();
                assert_within(what, &values[k], &golden[k], &bounds);
            }
            before = values;
        }
    }
}

#[test]
fn f32_steps_of_the_processor_are_within_the_bounds_of_one_step() {
    for case in cases() {
        for (i, grads) in taken(&case) {
            assert_expected(&case, i, &f32_step_from(&case, i, grads), &expected(&case, i, grads));
        }
    }
}

/// One step of one optimizer that contains all steps of all cases: each is a tensor in a separate group.
#[test]
fn f32_steps_of_the_device_are_within_the_bounds_of_one_step() {
    let Some(gpu) = Gpu::get() else { return };
    let cases = cases();
    let steps: Vec<_> =
        cases.iter().flat_map(|case| taken(case).map(move |step| (case, step))).collect();
    let mut builder = Optimizer::new(&gpu.device, cases[0].rule);
    for (case, (i, grads)) in &steps {
        let params: Vec<f32> = of(&case.before(*i)[0]);
        builder = builder.group(case.rule.with_lr(case.lr(*i)));
        builder = builder.tensor(gpu.span(&params), gpu.span(&of::<f32>(grads)));
    }
    let optimizer = builder.build().unwrap();
    for (tensor, (case, (i, _))) in steps.iter().enumerate() {
        optimizer.set_step(&gpu.queue, tensor, case.t_before(*i)).unwrap();
        write_moments(gpu, &optimizer.tensors()[tensor], &before(case, *i)[1..]);
    }
    gpu.run(|pass| optimizer.record(pass));
    for ((case, (i, grads)), actual) in steps.iter().zip(read_tensors(gpu, optimizer.tensors())) {
        assert_expected(case, *i, &actual, &expected(case, *i, grads));
        if gpu.exact {
            assert_all_bits(case, *i, &actual, &f32_step_from(case, *i, grads));
        }
    }
}

#[track_caller]
fn assert_all_bits(case: &Case, i: usize, actual: &[Vec<f32>], expected: &[Vec<f32>]) {
    for ((what, actual), expected) in case.names(i).iter().zip(actual).zip(expected) {
        assert_bits(what, actual, expected);
    }
}

fn write_moments(gpu: &Gpu, tensor: &Tensor, moments: &[Vec<f32>]) {
    for (spans, values) in tensor.moments.iter().zip(moments) {
        gpu.write(&spans[0], values);
    }
}

/// An optimizer that takes all steps of some tensors on the device without waiting.
struct Replay<'a> {
    gpu: &'a Gpu,
    tensors: &'a [Case],
    optimizer: Optimizer,
    /// The gradients of all steps of every tensor; NaN if there is none.
    grads: Vec<Buffer>,
    values: ReadBack,
    states: ReadBack,
}

impl<'a> Replay<'a> {
    /// The tensors have one rule and one schedule.
    fn new(gpu: &'a Gpu, tensors: &'a [Case]) -> Self {
        let steps = tensors[0].grads.len();
        let rates = (0..steps).map(|i| tensors[0].lr(i) as f32).collect();
        let mut builder = Optimizer::new(&gpu.device, tensors[0].rule).learning_rates(rates);
        let mut grads = Vec::new();
        let mut bytes = 0;
        for case in tensors {
            let start: Vec<Vec<f32>> = before(case, 0);
            let len = start[0].len();
            builder = builder.tensor(gpu.span(&start[0]), gpu.span(&vec![f32::NAN; len]));
            let step = |grads: &Option<Vec<f64>>| grads.as_deref().map_or(vec![f32::NAN; len], of);
            grads.push(gpu.buffer(&case.grads.iter().flat_map(step).collect::<Vec<_>>()));
            bytes += (steps * start.len() * len * 4) as u64;
        }
        let optimizer = builder.build().unwrap();
        for (i, case) in tensors.iter().enumerate() {
            optimizer.set_step(&gpu.queue, i, case.t0).unwrap();
            write_moments(gpu, &optimizer.tensors()[i], &before(case, 0)[1..]);
        }
        let staging = |bytes| ReadBack::new(&gpu.device, bytes).unwrap();
        let (values, states) = (staging(bytes), staging(steps as u64 * optimizer.state().size()));
        Replay { gpu, tensors, optimizer, grads, values, states }
    }

    /// Records step `i` with its gradients, and copies of the results.
    fn step(&mut self, encoder: &mut CommandEncoder, i: usize) {
        let has_gradient = |tensor: usize| self.tensors[tensor].grads[i].is_some();
        let selection = self.optimizer.selection(&self.gpu.device, has_gradient);
        self.step_by(encoder, i, |optimizer, pass| optimizer.record_selected(pass, &selection));
    }

    fn step_by(
        &mut self,
        encoder: &mut CommandEncoder,
        i: usize,
        record: impl FnOnce(&Optimizer, &mut wgpu::ComputePass),
    ) {
        for (tensor, grads) in self.optimizer.tensors().iter().zip(&self.grads) {
            let span = &tensor.grads[0];
            let bytes = span.len * 4;
            encoder.copy_buffer_to_buffer(grads, i as u64 * bytes, &span.buffer, span.offset, bytes);
        }
        record(&self.optimizer, &mut encoder.begin_compute_pass(&Default::default()));
        for tensor in self.optimizer.tensors() {
            for spans in std::iter::once(&tensor.params).chain(&tensor.moments) {
                self.values.copy(encoder, &spans[0]).unwrap();
            }
        }
        self.states.copy(encoder, &Span::whole(self.optimizer.state())).unwrap();
    }

    /// Compares every step with the recording. Returns the number of parameters that moved, and of those whose tolerance is
    /// at most a thousandth of the move.
    #[track_caller]
    fn check(mut self) -> (usize, usize) {
        let all: Vec<f32> = self.gpu.wait(&mut self.values);
        let states: Vec<StepState> = self.gpu.wait(&mut self.states);
        let mut all = all.as_slice();
        let runs = |case| (run(case, exact_step::<Bounded>), run(case, f32_step));
        let runs: Vec<_> = self.tensors.iter().map(runs).collect();
        let (mut moved, mut held) = (0, 0);
        for (i, states) in states.chunks(self.tensors.len()).enumerate() {
            for ((case, state), (bounded, f32_run)) in self.tensors.iter().zip(states).zip(&runs) {
                assert_eq!(state.t, case.t_after(i), "{}", case.name);
                let golden = case.after(i);
                let mut take = |v: &Vec<f64>| all.split_off(..v.len()).unwrap().to_vec();
                let actual: Vec<Vec<f32>> = golden.iter().map(&mut take).collect();
                assert_expected(case, i, &actual, &around(&golden, &bounded[i]));
                if self.gpu.exact {
                    assert_all_bits(case, i, &actual, &f32_run[i]);
                }
                for ((new, old), b) in golden[0].iter().zip(&case.before(0)[0]).zip(&bounded[i][0]) {
                    let movement = (new - old).abs();
                    moved += usize::from(movement > 0.0);
                    held += usize::from(movement > 0.0 && b.error <= 1e-3 * movement);
                }
            }
        }
        (moved, held)
    }
}

/// Meeting bounds is meaningful only if they are small.
#[track_caller]
fn assert_most_are_held((moved, held): (usize, usize)) {
    assert!(4 * held > 3 * moved, "{held} of {moved} parameters are held to 1e-3 of their movement");
}

#[test]
fn whole_runs_of_the_device_stay_within_their_bounds() {
    let Some(gpu) = Gpu::get() else { return };
    let mut counts = (0, 0);
    for case in cases() {
        let mut replay = Replay::new(gpu, std::slice::from_ref(&case));
        gpu.submit(|encoder| (0..case.grads.len()).for_each(|i| replay.step(encoder, i)));
        let (moved, held) = replay.check();
        counts = (counts.0 + moved, counts.1 + held);
    }
    assert_most_are_held(counts);
}

/// The fourth step has no gradients. In the sixth the second layer is frozen, and its gradient must not be read.
#[test]
fn a_model_is_trained_on_the_device_as_by_pytorch() {
    let Some(gpu) = Gpu::get() else { return };
    for tensors in between() {
        let mut replay = Replay::new(gpu, &tensors);
        gpu.submit(|encoder| (0..5).for_each(|i| replay.step(encoder, i)));
        let layer = [2, 3];
        assert!(layer.iter().all(|&tensor| tensors[tensor].grads[5].is_none()));
        layer.iter().for_each(|&tensor| replay.optimizer.freeze(&gpu.queue, tensor).unwrap());
        gpu.submit(|encoder| replay.step_by(encoder, 5, Optimizer::record));
        layer.iter().for_each(|&tensor| replay.optimizer.thaw(&gpu.queue, tensor).unwrap());
        gpu.submit(|encoder| replay.step(encoder, 6));
        assert_most_are_held(replay.check());
    }
}
