//! A model on the CPU of a whole optimizer: groups, conditioning, accumulation, the average and the counters, in f32 or
//! with error bounds.

use super::gpu::Gpu;
use super::step::Expected;
use super::{Random, assert_bits};
use std::fmt::Debug;
use wgpu::CommandEncoder;
use wgpu_optim::cpu::{self, Bounded, Number, RuleConstants, Step, StepState, exact_step};
use wgpu_optim::gpu::{Arena, Control, OptimizerBuilder, ReadBack};
use wgpu_optim::{Conditioning, Optimizer, Rule, Span};

/// The number type of the model.
pub trait Arithmetic: Number + Debug {
    /// A value that the device holds.
    fn exactly(x: f32) -> Self;
    /// Counts a step and gives its constants.
    fn advance(rule: &Rule, state: &mut StepState, lr: f32) -> Step<Self>;
    /// Asserts that the device's values are correct.
    fn assert(what: &str, expected: &[Self], actual: &[f32]);
}

impl Arithmetic for f32 {
    fn exactly(x: f32) -> Self {
        x
    }

    fn advance(rule: &Rule, state: &mut StepState, lr: f32) -> Step<f32> {
        state.advance(&RuleConstants::new(rule), lr)
    }

    #[track_caller]
    fn assert(what: &str, expected: &[f32], actual: &[f32]) {
        assert_bits(what, actual, expected);
    }
}

impl Arithmetic for Bounded {
    fn exactly(x: f32) -> Self {
        Bounded::exactly(x)
    }

    fn advance(rule: &Rule, state: &mut StepState, lr: f32) -> Step<Bounded> {
        state.advance(&RuleConstants::new(rule), lr);
        exact_step(rule, state.t, lr.into())
    }

    #[track_caller]
    fn assert(what: &str, expected: &[Bounded], actual: &[f32]) {
        Expected(expected.to_vec()).assert(what, actual);
    }
}

/// Settings that all groups share.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub conditioning: Conditioning,
    pub micro_batches: u32,
    pub average: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Options { conditioning: Conditioning::default(), micro_batches: 1, average: None }
    }
}

impl Options {
    pub fn on<'a>(&self, builder: OptimizerBuilder<'a>) -> OptimizerBuilder<'a> {
        let builder = builder.conditioning(self.conditioning).accumulate(self.micro_batches);
        match self.average {
            Some(decay) => builder.average(decay),
            None => builder,
        }
    }
}

/// A parameter group, and its position in its learning-rate table.
#[derive(Clone, Debug)]
pub struct Group {
    pub rule: Rule,
    pub rates: Vec<f32>,
    pub position: usize,
}

impl Group {
    /// With the rule's own learning rate.
    pub fn of(rule: impl Into<Rule>) -> Self {
        let rule = rule.into();
        Group { rule, rates: vec![rule.lr() as f32], position: 0 }
    }

    fn next_rate(&mut self) -> f32 {
        let lr = self.rates[self.position];
        self.position = (self.position + 1).min(self.rates.len() - 1);
        lr
    }
}

/// A tensor of the model.
#[derive(Clone, Debug)]
pub struct Copy<R> {
    pub group: usize,
    pub state: StepState,
    /// The parameters, and then each moment.
    pub values: Vec<Vec<R>>,
    pub accumulator: Vec<R>,
    pub average: Vec<R>,
    /// The gradients written back in the last step.
    pub written: Option<Vec<R>>,
}

/// The model of an optimizer.
#[derive(Clone, Debug)]
pub struct Model<R> {
    pub groups: Vec<Group>,
    pub options: Options,
    pub tensors: Vec<Copy<R>>,
    pub steps: u64,
    pub skipped: u64,
    pub skipped_in_a_row: u32,
    pub micro_batch: u32,
    nonfinite: bool,
}

impl<R: Arithmetic> Model<R> {
    /// Creates the model before the first step, from the group and parameters of every tensor.
    pub fn new(groups: Vec<Group>, options: Options, params: &[(usize, Vec<f32>)]) -> Self {
        let tensor = |(group, params): &(usize, Vec<f32>)| {
            let planes = groups[*group].rule.moments().len();
            let zeros = vec![R::of(0.0); params.len()];
            let mut values = vec![params.iter().map(|&p| R::exactly(p)).collect()];
            values.resize(1 + planes, zeros.clone());
            Copy {
                group: *group,
                state: StepState::default(),
                values,
                accumulator: zeros.clone(),
                average: zeros,
                written: None,
            }
        };
        let tensors = params.iter().map(tensor).collect();
        let (steps, skipped, skipped_in_a_row, micro_batch) = (0, 0, 0, 0);
        Model {
            groups,
            options,
            tensors,
            steps,
            skipped,
            skipped_in_a_row,
            micro_batch,
            nonfinite: false,
        }
    }

    /// Applies a recorded micro-batch: the gradients of the selected tensors, and the device's gradient factor, unless it
    /// is `1 / grad_scale / micro_batches`.
    pub fn record(&mut self, grads: &[Option<Vec<f32>>], factor: Option<f32>) {
        let Options { conditioning, micro_batches, average } = self.options;
        let found: Vec<Option<&Vec<f32>>> = grads
            .iter()
            .zip(&self.tensors)
            .map(|(grads, tensor)| grads.as_ref().filter(|_| tensor.state.frozen == 0))
            .collect();
        self.nonfinite |= found.iter().flatten().any(|grads| grads.iter().any(|g| !g.is_finite()));
        self.micro_batch = (self.micro_batch + 1) % micro_batches;
        self.tensors.iter_mut().for_each(|tensor| tensor.written = None);
        if self.micro_batch > 0 {
            for (tensor, found) in self.tensors.iter_mut().zip(found) {
                if let Some(found) = found {
                    tensor.accumulator = tensor.sum(Some(found));
                    tensor.state.pending += 1;
                }
            }
            return;
        }
        let skips = std::mem::take(&mut self.nonfinite) && conditioning.skip_nonfinite;
        if skips {
            self.skipped += 1;
            self.skipped_in_a_row += 1;
            self.tensors.iter_mut().for_each(|tensor| tensor.state.pending = 0);
            return;
        }
        self.steps += 1;
        self.skipped_in_a_row = 0;
        let lrs: Vec<f32> = self.groups.iter_mut().map(Group::next_rate).collect();
        let factor = factor.map_or_else(
            || R::of(1.0 / conditioning.grad_scale) * R::of(1.0 / f64::from(micro_batches)),
            R::exactly,
        );
        let clip_value = conditioning.clip_value.map(R::of);
        for (tensor, found) in self.tensors.iter_mut().zip(found) {
            let pending = std::mem::take(&mut tensor.state.pending) > 0 && tensor.state.frozen == 0;
            if found.is_none() && !pending {
                continue;
            }
            if pending {
                tensor.state.pending = 1;
            }
            let gradient = tensor.sum(found);
            tensor.state.pending = 0;
            let gradient: Vec<R> =
                gradient.into_iter().map(|g| cpu::condition(g, factor, clip_value)).collect();
            let rule = &self.groups[tensor.group].rule;
            let step = R::advance(rule, &mut tensor.state, lrs[tensor.group]);
            let (params, moments) = tensor.values.split_first_mut().unwrap();
            let mut moments: Vec<&mut [R]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            cpu::update(rule, &step, params, &gradient, &mut moments);
            if let Some(decay) = average {
                let next = |(average, param): (&R, &R)| match step.first {
                    true => *param,
                    false => R::of(decay) * *average + R::of(1.0 - decay) * *param,
                };
                tensor.average = tensor.average.iter().zip(&*params).map(next).collect();
            }
            tensor.written = conditioning.write_back.then_some(gradient);
        }
    }

    /// Asserts that the device agrees with the model.
    #[track_caller]
    pub fn assert(&self, what: &str, actual: &Snapshot) {
        let Control { steps, skipped, skipped_in_a_row, micro_batch, .. } = actual.control;
        assert_eq!(
            (steps, skipped, skipped_in_a_row, micro_batch),
            (self.steps, self.skipped, self.skipped_in_a_row, self.micro_batch),
            "{what}: steps, skipped, skipped in a row, micro-batch"
        );
        for (i, (tensor, actual)) in self.tensors.iter().zip(&actual.tensors).enumerate() {
            let what = format!("{what}, {:?}, tensor {i}", self.groups[tensor.group].rule);
            assert_eq!(actual.state, tensor.state, "{what}");
            for (k, (expected, actual)) in tensor.values.iter().zip(&actual.values).enumerate() {
                R::assert(&format!("{what}, value {k}"), expected, actual);
            }
            if self.options.average.is_some() && tensor.state.t > 0 {
                R::assert(&format!("{what}, average"), &tensor.average, &actual.average);
            }
            if let Some(written) = &tensor.written {
                R::assert(&format!("{what}, gradient"), written, &actual.grads);
            }
        }
    }
}

impl<R: Arithmetic> Copy<R> {
    /// The sum of the gradient and the accumulator.
    fn sum(&self, found: Option<&Vec<f32>>) -> Vec<R> {
        let found = match found {
            Some(found) => found.iter().map(|&g| R::exactly(g)).collect(),
            None => vec![R::of(0.0); self.accumulator.len()],
        };
        match self.state.pending {
            0 => found,
            _ => found.into_iter().zip(&self.accumulator).map(|(g, &sum)| g + sum).collect(),
        }
    }
}

/// The device's values after a recorded step.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub control: Control,
    pub tensors: Vec<TensorSnapshot>,
}

#[derive(Clone, Debug)]
pub struct TensorSnapshot {
    pub state: StepState,
    /// The parameters, and then each moment.
    pub values: Vec<Vec<f32>>,
    pub average: Vec<f32>,
    pub grads: Vec<f32>,
}

/// Copies of the device's counters and tensors after any steps, to be read later.
pub struct Tape<'a> {
    optimizer: &'a Optimizer,
    staging: ReadBack,
    taken: usize,
}

impl<'a> Tape<'a> {
    /// Allocates space for a number of copies.
    pub fn new(gpu: &Gpu, optimizer: &'a Optimizer, copies: usize) -> Self {
        let bytes: u64 = spans(optimizer).iter().map(|span| span.len * 4).sum();
        Tape { optimizer, staging: ReadBack::new(&gpu.device, bytes * copies as u64).unwrap(), taken: 0 }
    }

    pub fn take(&mut self, encoder: &mut CommandEncoder) {
        for span in spans(self.optimizer) {
            self.staging.copy(encoder, &span).unwrap();
        }
        self.taken += 1;
    }

    /// Reads the copies, after the submission.
    pub fn read(&mut self, gpu: &Gpu) -> Vec<Snapshot> {
        let words: Vec<f32> = gpu.wait(&mut self.staging);
        let mut rest = words.as_slice();
        let mut next = |spans: &[Span]| -> Vec<f32> {
            spans.iter().flat_map(|span| rest.split_off(..span.len as usize).unwrap()).copied().collect()
        };
        let whole = |buffer: &wgpu::Buffer| [Span::whole(buffer)];
        let mut snapshot = || {
            let control = next(&whole(self.optimizer.control()));
            let states = next(&whole(self.optimizer.state()));
            let states = bytemuck::pod_collect_to_vec::<f32, StepState>(&states);
            let tensors = self.optimizer.tensors().iter().zip(states).map(|(tensor, state)| {
                let values = std::iter::once(&tensor.params).chain(&tensor.moments);
                let values = values.map(|spans| next(spans)).collect();
                TensorSnapshot {
                    state,
                    values,
                    average: next(&tensor.average),
                    grads: next(&tensor.grads),
                }
            });
            let tensors = tensors.collect();
            Snapshot { control: bytemuck::pod_read_unaligned(bytemuck::cast_slice(&control)), tensors }
        };
        (0..std::mem::take(&mut self.taken)).map(|_| snapshot()).collect()
    }
}

/// Reads the device's current values.
pub fn snapshot(gpu: &Gpu, optimizer: &Optimizer) -> Snapshot {
    let mut tape = Tape::new(gpu, optimizer, 1);
    gpu.submit(|encoder| tape.take(encoder));
    tape.read(gpu).remove(0)
}

/// The spans of a copy, in order.
fn spans(optimizer: &Optimizer) -> Vec<Span> {
    let whole = [optimizer.control(), optimizer.state()].map(Span::whole);
    let tensors = optimizer.tensors().iter().flat_map(|tensor| {
        let moments = tensor.moments.iter().flatten();
        tensor.params.iter().chain(moments).chain(&tensor.average).chain(&tensor.grads)
    });
    whole.into_iter().chain(tensors.cloned()).collect()
}

/// Writes a tensor's spans in order.
pub fn write(gpu: &Gpu, spans: &[Span], values: &[f32]) {
    let mut rest = values;
    for span in spans {
        gpu.write(span, rest.split_off(..span.len as usize).unwrap());
    }
    assert!(rest.is_empty());
}

/// A script: for every recorded micro-batch the gradients of the selected tensors.
pub type Script = Vec<Vec<Option<Vec<f32>>>>;

/// An optimizer to build on the device and as a model.
#[derive(Clone, Debug)]
pub struct Setup {
    pub groups: Vec<Group>,
    pub options: Options,
    /// Group (in ascending order) and parameters of every tensor.
    pub params: Vec<(usize, Vec<f32>)>,
}

impl Setup {
    /// One group with random parameters.
    pub fn new(rule: impl Into<Rule>, options: Options, random: &mut Random, lengths: &[usize]) -> Self {
        let params = lengths.iter().map(|&len| (0, random.units(len))).collect();
        Setup { groups: vec![Group::of(rule)], options, params }
    }

    /// Every tensor in separate buffers.
    pub fn apart(&self, gpu: &Gpu) -> Optimizer {
        self.build(gpu, |builder, _, params| {
            builder.tensor(gpu.span(params), gpu.span(&vec![0.0; params.len()]))
        })
    }

    /// All tensors in an arena, those of several groups next to each other.
    pub fn packed(&self, gpu: &Gpu) -> Optimizer {
        let names: Vec<String> = (0..self.params.len()).map(|i| i.to_string()).collect();
        let shapes: Vec<[u64; 1]> = self.params.iter().map(|(_, p)| [p.len() as u64]).collect();
        // The last tensor of a group next to the first.
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by_key(|i| i * 7 % 5);
        let shapes = order.iter().map(|&i| (names[i].as_str(), shapes[i].as_slice()));
        let arena = Arena::new(&gpu.device, wgpu::BufferUsages::empty(), shapes).unwrap();
        for (name, (_, params)) in names.iter().zip(&self.params) {
            write(gpu, &arena.get(name).unwrap().params, params);
        }
        self.build(gpu, |builder, i, _| builder.arena_tensors(&arena, |name| name == names[i]))
    }

    /// Adds every tensor to its group in a builder.
    pub fn build<'a>(
        &self,
        gpu: &'a Gpu,
        mut add: impl FnMut(OptimizerBuilder<'a>, usize, &[f32]) -> OptimizerBuilder<'a>,
    ) -> Optimizer {
        let begun =
            |group: &Group, builder: OptimizerBuilder<'a>| builder.learning_rates(group.rates.clone());
        let mut builder = begun(&self.groups[0], Optimizer::new(&gpu.device, self.groups[0].rule));
        let mut current = 0;
        for (i, (group, params)) in self.params.iter().enumerate() {
            while current < *group {
                current += 1;
                builder = begun(&self.groups[current], builder.group(self.groups[current].rule));
            }
            builder = add(builder, i, params);
        }
        self.options.on(builder).build().unwrap()
    }

    /// A script of random gradients within ±1 for a number of micro-batches.
    pub fn script(&self, random: &mut Random, len: usize) -> Script {
        let mut grads = || self.params.iter().map(|(_, p)| Some(random.units(p.len()))).collect();
        (0..len).map(|_| grads()).collect()
    }

    /// [`play`]s a script, and compares the device with the model after every entry.
    #[track_caller]
    pub fn follow(&self, gpu: &Gpu, optimizer: &Optimizer, script: &Script) -> Vec<Snapshot> {
        let snapshots = play(gpu, optimizer, script);
        self.assert(gpu, script, &snapshots);
        snapshots
    }

    /// Asserts that the device agrees with the model after every entry of a script: bit for bit on an exact device, else
    /// within the bounds.
    #[track_caller]
    pub fn assert(&self, gpu: &Gpu, script: &Script, snapshots: &[Snapshot]) {
        if gpu.exact {
            compare(self.model::<f32>(), script, snapshots);
        } else {
            compare(self.model::<Bounded>(), script, snapshots);
        }
    }

    /// The model before the first step.
    pub fn model<R: Arithmetic>(&self) -> Model<R> {
        Model::new(self.groups.clone(), self.options, &self.params)
    }
}

/// Records every entry of a script into one encoder, and returns the device's values after each.
pub fn play(gpu: &Gpu, optimizer: &Optimizer, script: &Script) -> Vec<Snapshot> {
    let mut tape = Tape::new(gpu, optimizer, script.len());
    gpu.submit(|encoder| {
        for grads in script {
            for (tensor, grads) in optimizer.tensors().iter().zip(grads) {
                // The gradient of a tensor that is not selected must not be read.
                let len = tensor.grads.iter().map(|span| span.len as usize).sum();
                let poison = vec![f32::NAN; len];
                let values = grads.as_ref().unwrap_or(&poison);
                if len > 0 {
                    copy(encoder, &gpu.buffer(values), &tensor.grads);
                }
            }
            let mut pass = encoder.begin_compute_pass(&Default::default());
            if grads.iter().all(Option::is_some) {
                optimizer.record(&mut pass);
            } else {
                let selection = optimizer.selection(&gpu.device, |i| grads[i].is_some());
                optimizer.record_selected(&mut pass, &selection);
            }
            drop(pass);
            tape.take(encoder);
        }
    });
    tape.read(gpu)
}

/// Fills spans in order.
fn copy(encoder: &mut CommandEncoder, source: &wgpu::Buffer, spans: &[Span]) {
    let mut at = 0;
    for span in spans {
        encoder.copy_buffer_to_buffer(source, at, &span.buffer, span.offset, span.len * 4);
        at += span.len * 4;
    }
}

/// Compares every entry of a script with the model, which uses the device's factor if gradients are clipped by norm.
#[track_caller]
fn compare<R: Arithmetic>(mut model: Model<R>, script: &Script, snapshots: &[Snapshot]) {
    for (i, (grads, actual)) in script.iter().zip(snapshots).enumerate() {
        let clips = model.options.conditioning.clip_norm.is_some();
        model.record(grads, clips.then_some(actual.control.grad_factor));
        model.assert(&format!("micro-batch {i}"), actual);
    }
}
