//! The construction of an optimizer: validation, allocation, pipelines and bind groups.

use super::advance::{self, ParamGroup, Parts, StepStateKernel};
use super::arena::Arena;
use super::bindings::check_limit;
use super::bound_segment::BoundSegment;
use super::kernels::{self, Kernels, Options};
use super::needs;
use super::optimizer::{Optimizer, Tensor, Update};
use super::shader::Layout;
use super::span::{Limits, Piece, Span, overlapping, pieces};
use super::steps::SLOT;
use crate::check::{self, Check};
use crate::rule::Conditioning;
use crate::{Arithmetic, Error, Rule};
use wgpu::{Buffer, BufferUsages, Device};

/// A builder of an [`Optimizer`].
///
/// A tensor belongs to the latest parameter group.
#[derive(Debug)]
pub struct OptimizerBuilder<'a> {
    device: &'a Device,
    groups: Vec<ParamGroup>,
    tensors: Vec<Named>,
    options: Options,
}

/// A tensor as the caller added it.
#[derive(Debug)]
struct Named {
    parts: Vec<Part>,
    group: usize,
}

#[derive(Debug)]
struct Part {
    params: Span,
    grads: Span,
    /// Whether it is in an arena, where every block has one owner.
    packed: bool,
}

impl<'a> OptimizerBuilder<'a> {
    pub(super) fn new(device: &'a Device, rule: Rule) -> Self {
        let builder = OptimizerBuilder {
            device,
            groups: Vec::new(),
            tensors: Vec::new(),
            options: Options::new(Limits::of(device)),
        };
        builder.group(rule)
    }

    /// Begins a new parameter group with its own rule and hyper-parameters.
    pub fn group(mut self, rule: impl Into<Rule>) -> Self {
        let rule = rule.into();
        self.groups.push(ParamGroup { rule, learning_rates: vec![rule.lr() as f32] });
        self
    }

    /// Sets the learning-rate table of this group, which replaces the rule's learning rate: one entry per step; further
    /// steps use the last entry. See [`Schedule::sample`](crate::Schedule::sample).
    pub fn learning_rates(mut self, learning_rates: Vec<f32>) -> Self {
        if let Some(group) = self.groups.last_mut() {
            group.learning_rates = learning_rates;
        }
        self
    }

    /// Adds a tensor: parameters (usage `STORAGE`, updated in place) and gradients of the same length (usage `STORAGE`).
    /// Both may be in one buffer if they do not overlap.
    pub fn tensor(self, params: Span, grads: Span) -> Self {
        self.tensor_in_parts([(params, grads)])
    }

    /// Adds a tensor in several spans, for example one that exceeds the maximum buffer size. It has one step count.
    pub fn tensor_in_parts(mut self, parts: impl IntoIterator<Item = (Span, Span)>) -> Self {
        let part = |(params, grads)| Part { params, grads, packed: false };
        let parts = parts.into_iter().map(part).collect();
        self.tensors.push(Named { parts, group: self.groups.len() - 1 });
        self
    }

    /// Adds the tensors of an arena, in its order. One dispatch updates neighbours whose rules differ only in the values
    /// of hyper-parameters.
    pub fn arena(self, arena: &Arena) -> Self {
        self.arena_tensors(arena, |_| true)
    }

    /// Adds the tensors of an arena whose names satisfy `predicate`.
    pub fn arena_tensors(mut self, arena: &Arena, mut predicate: impl FnMut(&str) -> bool) -> Self {
        for tensor in arena.tensors().iter().filter(|tensor| predicate(&tensor.name)) {
            let spans = tensor.params.iter().cloned().zip(tensor.grads.iter().cloned());
            let parts = spans.map(|(params, grads)| Part { params, grads, packed: true }).collect();
            self.tensors.push(Named { parts, group: self.groups.len() - 1 });
        }
        self
    }

    /// Sets the conditioning of the gradients: scale, clipping and non-finite check.
    pub fn conditioning(mut self, conditioning: Conditioning) -> Self {
        self.options.conditioning = conditioning;
        self
    }

    /// Accumulates the gradients of `micro_batches` recorded steps into one step, which uses their sum divided by
    /// `micro_batches`, also for tensors with a gradient in only some of them. (If the losses are already divided, as is
    /// usual in PyTorch, set [`grad_scale`](Conditioning::grad_scale) to 1 / `micro_batches`.) Default 1.
    pub fn accumulate(mut self, micro_batches: u32) -> Self {
        self.options.micro_batches = micro_batches;
        self
    }

    /// Maintains an exponential moving average of the parameters in [`Tensor::average`]: after a tensor's first step the
    /// parameters, after each further step `decay · average + (1 − decay) · p`
    /// (`torch.optim.swa_utils.get_ema_avg_fn`). It is zero before the tensor's first step; for a tensor that is frozen
    /// from the start, write the parameters into it.
    pub fn average(mut self, decay: f64) -> Self {
        self.options.average = Some(decay);
        self
    }

    /// Sets the arithmetic of the kernels: with [`Arithmetic::Strict`], the bits of all results are the same on every
    /// device, and those of [`cpu::Strict`](crate::cpu::Strict). Default [`Arithmetic::Fast`].
    pub fn arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.options.arithmetic = arithmetic;
        self
    }

    #[doc(hidden)]
    /// Lowers the device's limits on bindings and grids, so that tests split small data.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = self.options.limits.lowered_to(&limits);
        self
    }
    /// Validates the settings, allocates the moments, and creates pipelines and bind groups.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], [`Error::Option`] and [`Error::LearningRates`] for the groups and the
    /// conditioning; [`Error::Length`], [`Error::OutOfBounds`], [`Error::Misaligned`],
    /// [`Error::MissingUsage`] and [`Error::Overlap`] for the spans; [`Error::Limit`] if a limit of the device is too
    /// small.
    pub fn build(self) -> Result<Optimizer, Error> {
        self.check()?;
        let Self { device, options: Options { limits, .. }, .. } = self;
        let planned = self.plan();
        let partials = kernels::partials(device, &self.options, &planned)?;
        let tensors_groups: Vec<usize> = self.tensors.iter().map(|tensor| tensor.group).collect();
        let advance = StepStateKernel::new(
            device,
            Parts {
                groups: self.groups.clone(),
                tensors: &tensors_groups,
                conditioning: &self.options.conditioning,
                micro_batches: self.options.micro_batches,
                arithmetic: self.options.arithmetic,
                partials: partials.clone(),
                limits: &limits,
            },
        );
        let mut tensors: Vec<Tensor> = self.tensors.iter().map(|named| self.tensor_of(named)).collect();
        let mut kernels = Kernels::new(device, &self.options, advance.slots(), partials);
        let (mut updates, mut measures) = (Vec::new(), Vec::new());
        let states: Vec<Buffer> = planned.iter().map(|run| kernels.state(run)).collect();
        self.note_state(&mut tensors, &planned, &states);
        for (run, state) in planned.iter().zip(&states) {
            for (layout, piece) in run.dispatches(&limits) {
                let tensor = (layout != Layout::Arena).then(|| run.tensors[0].0);
                let (update, measure) = kernels.dispatches(run, layout, piece, state);
                updates.push(Update { dispatch: update, tensor });
                measures.extend(measure);
            }
        }
        drop(kernels);
        Ok(Optimizer { advance, measures, updates, tensors, options: self.options })
    }

    fn check(&self) -> Result<(), Error> {
        for group in &self.groups {
            group.rule.validate()?;
            check::learning_rates(&group.learning_rates)?;
        }
        let rates = self.groups.iter().map(|group| group.learning_rates.len()).sum();
        check_rates_fit(self.device, self.groups.len(), rates)?;
        self.options.conditioning.validate()?;
        let check = Check("optimizer");
        check.steps("micro_batches", self.options.micro_batches.into())?;
        check.decay("average", self.options.average.unwrap_or(0.0))?;
        needs::steps(&self.device.adapter_info()).check(self.device)?;
        let hint = " for a slot of constants for every tensor";
        let bytes = self.tensors.len() as u64 * SLOT;
        let available = Limits::of(self.device).max_binding;
        check_limit("max_storage_buffer_binding_size", available, bytes, hint)?;
        self.check_spans()
    }

    fn check_spans(&self) -> Result<(), Error> {
        let needs = BufferUsages::STORAGE;
        let (mut spans, mut of) = (Vec::new(), Vec::new());
        for (i, tensor) in self.tensors.iter().enumerate() {
            for part in &tensor.parts {
                for (span, written) in
                    [(&part.params, true), (&part.grads, self.options.conditioning.write_back)]
                {
                    of.push((i, spans.len() % 2 == 0));
                    spans.push((span, written));
                    span.check(|| name(of[of.len() - 1]), self.options.limits.quantum(), needs)?;
                }
                if part.grads.len != part.params.len {
                    let what = name((i, false));
                    return Err(Error::Length {
                        what,
                        actual: part.grads.len,
                        expected: part.params.len,
                    });
                }
            }
        }
        match overlapping(&spans) {
            None => Ok(()),
            Some((a, b)) => Err(Error::Overlap { first: name(of[a]), second: name(of[b]) }),
        }
    }

    /// The segments to bind: pieces of tensors, and runs of neighbours in arenas.
    fn plan(&self) -> Vec<BoundSegment> {
        let mut runs = Vec::new();
        let mut packed: Vec<(&Part, usize)> = Vec::new();
        for (i, tensor) in self.tensors.iter().enumerate() {
            let rule = &self.groups[tensor.group].rule;
            let planes = self.options.planes(rule).count();
            for part in &tensor.parts {
                if part.packed {
                    packed.push((part, i));
                    continue;
                }
                for piece in pieces(part.params.len, planes, &self.options.limits) {
                    runs.push(BoundSegment {
                        params: part.params.part(piece),
                        grads: part.grads.part(piece),
                        tensors: vec![(i, 0, piece.len)],
                        rule: *rule,
                        packed: false,
                    });
                }
            }
        }
        // Buffers in the order of the calls, which determines the order of sums of norms. The order of their handles
        // would differ from run to run.
        let mut buffers: Vec<&Buffer> = Vec::new();
        for (part, _) in &packed {
            if !buffers.iter().rev().any(|&buffer| buffer == &part.params.buffer) {
                buffers.push(&part.params.buffer);
            }
        }
        let place = |part: &Part| buffers.iter().rposition(|&buffer| buffer == &part.params.buffer);
        packed.sort_by_cached_key(|(part, _)| (place(part), part.params.offset));
        let mut joined: Vec<BoundSegment> = Vec::new();
        for (part, tensor) in packed {
            let rule = self.groups[self.tensors[tensor].group].rule;
            let same =
                |run: &BoundSegment| self.options.variant(&run.rule) == self.options.variant(&rule);
            let next = BoundSegment::packed(&part.params, &part.grads, tensor, rule);
            match joined.last_mut().filter(|run| run.is_followed_by(&next) && same(run)) {
                Some(run) => run.join(next),
                None => joined.push(next),
            }
        }
        let cut = joined
            .iter()
            .flat_map(|run| run.cut(self.options.planes(&run.rule).count(), &self.options.limits));
        runs.extend(cut);
        runs
    }

    fn tensor_of(&self, named: &Named) -> Tensor {
        let spans = |which: fn(&Part) -> &Span| named.parts.iter().map(|p| which(p).clone()).collect();
        let moments = self.groups[named.group].rule.moments().len();
        Tensor {
            params: spans(|part| &part.params),
            grads: spans(|part| &part.grads),
            moments: vec![Vec::new(); moments],
            accumulator: Vec::new(),
            average: Vec::new(),
            group: named.group,
        }
    }

    /// Records the location of each tensor's state, in the order of its parts. (Segments of an arena are ordered by
    /// buffer.)
    fn note_state(&self, tensors: &mut [Tensor], runs: &[BoundSegment], states: &[Buffer]) {
        let mut places = Vec::new();
        for (run, state) in runs.iter().zip(states) {
            for &(tensor, at, len) in &run.tensors {
                let first = run.params.part(Piece { first: at, len });
                let holds = |part: &Part| part.params.overlaps(&first);
                let part = self.tensors[tensor].parts.iter().position(holds);
                places.push((tensor, part, run, state, at, len));
            }
        }
        places.sort_by_key(|&(tensor, part, ..)| (tensor, part));
        for (tensor, _, run, state, at, len) in places {
            self.add_state_spans(&mut tensors[tensor], state, run, at, len);
        }
    }

    /// Records the location of the elements `at .. at + len` of a segment's state.
    fn add_state_spans(
        &self,
        tensor: &mut Tensor,
        state: &Buffer,
        run: &BoundSegment,
        at: u64,
        len: u64,
    ) {
        let planes = self.options.planes(&run.rule);
        let plane_len = run.plane_len(&self.options.limits);
        let span = |plane: u64| Span::new(state, (plane * plane_len + at) * 4, len);
        for (plane, moment) in (0..).zip(&mut tensor.moments) {
            moment.push(span(plane));
        }
        if planes.accumulator == 1 {
            tensor.accumulator.push(span(planes.moments));
        }
        if planes.average == 1 {
            tensor.average.push(span(planes.moments + planes.accumulator));
        }
    }
}

/// Checks that the learning-rate tables fit into a binding.
pub(super) fn check_rates_fit(device: &Device, groups: usize, rates: usize) -> Result<(), Error> {
    let hint = " for the learning-rate tables";
    let available = Limits::of(device).max_binding;
    let bytes = 4 * advance::rates_words(groups, rates);
    check_limit("max_storage_buffer_binding_size", available, bytes, hint)
}

fn name((tensor, params): (usize, bool)) -> String {
    format!("{} of tensor {tensor}", if params { "params" } else { "grads" })
}
