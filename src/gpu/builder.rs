//! How an optimizer is made: everything is checked, then allocated, then bound, once.

use super::advance::{self, Advance, ParamGroup, Parts, SLOT};
use super::arena::{Arena, BLOCK};
use super::bindings::{Use, check_device, check_limit, group_of, layout_of, pipeline};
use super::dispatch::{Dispatch, flag};
use super::optimizer::{Optimizer, Tensor, Update};
use super::shader::{self, Layout};
use super::span::{Limits, Piece, Span, grid, overlapping, pieces};
use crate::check::{self, Check};
use crate::rule::Conditioning;
use crate::{Error, Rule};
use wgpu::{BindGroupLayout, Buffer, BufferUsages, ComputePipeline, Device};

/// Vectors that one thread of the measuring kernel adds up; VECTORS in `shaders/gradient_norm.wgsl`.
const MEASURED_VECTORS: u64 = 16;
/// Bytes of one of its partial results, and of as many as a binding's offset asks for.
const PARTIAL: u64 = 16;
const PARTIALS_QUANTUM: u64 = 256;

/// An [`Optimizer`] in the making.
///
/// Tensors belong to the parameter group that was begun last.
#[derive(Debug)]
pub struct OptimizerBuilder<'a> {
    device: &'a Device,
    groups: Vec<ParamGroup>,
    conditioning: Conditioning,
    micro_batches: u32,
    average: Option<f64>,
    limits: Limits,
    tensors: Vec<Named>,
    rule_file: Option<&'static str>,
}

/// A tensor as the caller named it.
#[derive(Debug)]
struct Named {
    parts: Vec<Part>,
    group: usize,
}

#[derive(Debug)]
struct Part {
    params: Span,
    grads: Span,
    /// Whether it lies in an arena, where a block has one owner.
    packed: bool,
}

impl<'a> OptimizerBuilder<'a> {
    pub(super) fn new(device: &'a Device, rule: Rule) -> Self {
        let builder = OptimizerBuilder {
            device,
            groups: Vec::new(),
            conditioning: Conditioning::default(),
            micro_batches: 1,
            average: None,
            limits: Limits::of(device),
            tensors: Vec::new(),
            rule_file: None,
        };
        builder.group(rule)
    }

    /// Begins another parameter group, with a rule and hyper-parameters of its own.
    pub fn group(mut self, rule: impl Into<Rule>) -> Self {
        let rule = rule.into();
        self.groups.push(ParamGroup { rule, learning_rates: vec![rule.lr() as f32] });
        self
    }

    /// A learning rate for every step of this group instead of the rule's one; the last entry holds.
    /// See [`Schedule::sample`](crate::Schedule::sample).
    pub fn learning_rates(mut self, learning_rates: Vec<f32>) -> Self {
        if let Some(group) = self.groups.last_mut() {
            group.learning_rates = learning_rates;
        }
        self
    }

    /// Adds a tensor: parameters (usage `STORAGE`, updated in place) and as many gradients (usage
    /// `STORAGE`). They may lie in one buffer if they do not overlap.
    pub fn tensor(self, params: Span, grads: Span) -> Self {
        self.tensor_in_parts([(params, grads)])
    }

    /// Adds a tensor that lies in several spans of parameters and of gradients, as one that is longer
    /// than a buffer can be. It has one step.
    pub fn tensor_in_parts(mut self, parts: impl IntoIterator<Item = (Span, Span)>) -> Self {
        let part = |(params, grads)| Part { params, grads, packed: false };
        let parts = parts.into_iter().map(part).collect();
        self.tensors.push(Named { parts, group: self.groups.len() - 1 });
        self
    }

    /// Adds the tensors of an arena, in its order. Neighbours whose rules differ in nothing but numbers
    /// are updated by one dispatch.
    pub fn arena(self, arena: &Arena) -> Self {
        self.arena_tensors(arena, |_| true)
    }

    /// Adds those tensors of an arena whose names `wanted` accepts.
    pub fn arena_tensors(mut self, arena: &Arena, mut wanted: impl FnMut(&str) -> bool) -> Self {
        for tensor in arena.tensors().iter().filter(|tensor| wanted(&tensor.name)) {
            let spans = tensor.params.iter().cloned().zip(tensor.grads.iter().cloned());
            let parts = spans.map(|(params, grads)| Part { params, grads, packed: true }).collect();
            self.tensors.push(Named { parts, group: self.groups.len() - 1 });
        }
        self
    }

    /// What is done to the gradients before the rules take them.
    pub fn conditioning(mut self, conditioning: Conditioning) -> Self {
        self.conditioning = conditioning;
        self
    }

    /// Takes one step in every `micro_batches` recorded ones, with the mean of their gradients. (With
    /// losses already divided by their number, as is usual in PyTorch, set
    /// [`grad_scale`](Conditioning::grad_scale) to 1 / `micro_batches`.) Default 1.
    pub fn accumulate(mut self, micro_batches: u32) -> Self {
        self.micro_batches = micro_batches;
        self
    }

    /// Keeps an exponential moving average of the parameters, in [`Tensor::average`]: the parameters
    /// after a tensor's first step, then `decay · average + (1 − decay) · p` after every step
    /// (`torch.optim.swa_utils.get_ema_avg_fn`).
    pub fn average(mut self, decay: f64) -> Self {
        self.average = Some(decay);
        self
    }

    #[doc(hidden)]
    /// Lowers the device's limits on bindings and grids, so that tests meet seams in small data.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = self.limits.lowered_to(&limits);
        self
    }

    /// Another file in the place of the rule's in `shaders/update/`, over the same constants and moments.
    #[cfg(feature = "cli")]
    pub(crate) fn rule_file(mut self, file: &'static str) -> Self {
        self.rule_file = Some(file);
        self
    }

    /// Checks everything, allocates the moments and makes the pipelines and bind groups.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], [`Error::Option`] and [`Error::LearningRates`] for the groups and the
    /// conditioning; [`Error::Length`], [`Error::OutOfBounds`], [`Error::Misaligned`],
    /// [`Error::MissingUsage`] and [`Error::Overlap`] for the spans; [`Error::Limit`] for what the device
    /// does not offer.
    pub fn build(self) -> Result<Optimizer, Error> {
        self.check()?;
        let Self { device, limits, .. } = self;
        let planned = self.plan();
        let partials = self.partials(&planned);
        let tensors_groups: Vec<usize> = self.tensors.iter().map(|tensor| tensor.group).collect();
        let advance = Advance::new(
            device,
            Parts {
                groups: self.groups.clone(),
                tensors: &tensors_groups,
                conditioning: &self.conditioning,
                micro_batches: self.micro_batches,
                partials: partials.clone(),
                limits: &limits,
            },
        );
        let mut tensors: Vec<Tensor> = self.tensors.iter().map(|named| self.tensor_of(named)).collect();
        let mut binder = Binder::new(&self, advance.slots(), partials);
        let (mut updates, mut measures) = (Vec::new(), Vec::new());
        for run in &planned {
            let state = binder.state(run);
            for &(tensor, at, len) in &run.tensors {
                self.add_state_spans(&mut tensors[tensor], &state, run, at, len);
            }
            for (layout, piece) in run.dispatches(&limits) {
                let tensor = (layout != Layout::Arena).then(|| run.tensors[0].0);
                let (update, measure) = binder.dispatches(run, layout, piece, &state);
                updates.push(Update { dispatch: update, tensor });
                measures.extend(measure);
            }
        }
        let accumulates = self.micro_batches > 1;
        Ok(Optimizer { advance, measures, updates, tensors, accumulates })
    }

    fn check(&self) -> Result<(), Error> {
        for group in &self.groups {
            group.rule.validate()?;
            check::learning_rates(&group.learning_rates)?;
        }
        check_rates_fit(self.device, self.groups.iter().map(|g| g.learning_rates.len()).sum())?;
        self.conditioning.validate()?;
        let check = Check("optimizer");
        check.steps("micro_batches", self.micro_batches.into())?;
        check.decay("average", self.average.unwrap_or(0.0))?;
        let threads = workgroup(self.device);
        check_device(self.device, threads, advance::STORAGE_BUFFERS)?;
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
                    [(&part.params, true), (&part.grads, self.conditioning.write_back)]
                {
                    of.push((i, spans.len() % 2 == 0));
                    spans.push((span, written));
                    span.check(|| name(of[of.len() - 1]), self.limits.quantum(), needs)?;
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

    /// Planes of the state that a tensor of this rule has: its moments and what is kept besides.
    fn planes(&self, rule: &Rule) -> Planes {
        let moments = rule.moments().len() as u64;
        let accumulator = u64::from(self.micro_batches > 1);
        Planes { moments, accumulator, average: u64::from(self.average.is_some()) }
    }

    /// What is bound together: each piece of a tensor, and each run of an arena's neighbours.
    fn plan(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut packed: Vec<(&Part, usize)> = Vec::new();
        for (i, tensor) in self.tensors.iter().enumerate() {
            let rule = &self.groups[tensor.group].rule;
            let planes = self.planes(rule).count();
            for part in &tensor.parts {
                if part.packed {
                    packed.push((part, i));
                    continue;
                }
                for piece in pieces(part.params.len, planes, &self.limits) {
                    runs.push(Run {
                        params: part.params.part(piece),
                        grads: part.grads.part(piece),
                        tensors: vec![(i, 0, piece.len)],
                        rule: *rule,
                        packed: false,
                    });
                }
            }
        }
        packed.sort_by_key(|(part, _)| (&part.params.buffer, part.params.offset));
        let mut joined: Vec<Run> = Vec::new();
        for (part, tensor) in packed {
            let rule = self.groups[self.tensors[tensor].group].rule;
            let fits = |run: &Run| {
                let follows = run.params.buffer == part.params.buffer
                    && run.params.offset + run.params.len * 4 == part.params.offset;
                follows && self.variant(&run.rule) == self.variant(&rule)
            };
            let len = part.params.len.next_multiple_of(BLOCK);
            if let Some(run) = joined.last_mut().filter(|run| fits(run)) {
                run.tensors.push((tensor, run.params.len, part.params.len));
                run.params.len += len;
                run.grads.len += len;
            } else {
                joined.push(Run {
                    params: Span { len, ..part.params.clone() },
                    grads: Span { len, ..part.grads.clone() },
                    tensors: vec![(tensor, 0, part.params.len)],
                    rule,
                    packed: true,
                });
            }
        }
        let cut = joined.iter().flat_map(|run| run.cut(self.planes(&run.rule).count(), &self.limits));
        runs.extend(cut);
        runs
    }

    /// Where the measuring kernel leaves its partial results: a region for every dispatch.
    fn partials(&self, runs: &[Run]) -> Buffer {
        let threads = workgroup(self.device);
        let measures = self.conditioning.measures();
        let dispatches = runs.iter().flat_map(|run| run.dispatches(&self.limits));
        let bytes = |(layout, piece): (Layout, Piece)| partial_bytes(layout, &piece, threads);
        let size = if measures { dispatches.map(bytes).sum::<u64>() } else { 0 };
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("gradient norm"),
            size: size.max(PARTIALS_QUANTUM),
            usage: BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    }

    /// What makes a pipeline: the rule's file, and all overrides.
    fn variant(&self, rule: &Rule) -> Variant {
        let frame = rule.frame();
        let planes = self.planes(rule);
        let conditioning = &self.conditioning;
        let decay = self.average.unwrap_or(0.0);
        let mut overrides = vec![
            ("PLANES", planes.count().max(1) as f64),
            flag("ACCUMULATES", self.micro_batches > 1),
            ("ACCUMULATOR", planes.moments as f64),
            flag("CLIPPED", conditioning.clip_value.is_some()),
            ("CLIP_VALUE", conditioning.clip_value.unwrap_or(0.0)),
            flag("WRITE_BACK", conditioning.write_back),
            flag("MAXIMIZE", frame.maximize),
            flag("COUPLED", frame.coupled != 0.0),
            flag("DECOUPLED", frame.decoupled != 0.0),
            flag("AVERAGES", self.average.is_some()),
            ("AVERAGE", (planes.moments + planes.accumulator) as f64),
            ("AVERAGE_DECAY", decay),
            ("ONE_MINUS_AVERAGE_DECAY", 1.0 - decay),
        ];
        let file = self.rule_file.unwrap_or_else(|| {
            overrides.extend(shader::rule_constants(rule));
            shader::rule_file(rule)
        });
        Variant { file, overrides }
    }

    fn tensor_of(&self, named: &Named) -> Tensor {
        let spans = |which: fn(&Part) -> &Span| named.parts.iter().map(|p| which(p).clone()).collect();
        let moments = self.groups[named.group].rule.moments().len();
        Tensor {
            params: spans(|part| &part.params),
            grads: spans(|part| &part.grads),
            moments: vec![Vec::new(); moments],
            average: Vec::new(),
            group: named.group,
        }
    }

    /// Notes where `len` elements from `at` of a run's state are.
    fn add_state_spans(&self, tensor: &mut Tensor, state: &Buffer, run: &Run, at: u64, len: u64) {
        let planes = self.planes(&run.rule);
        let plane_len = run.plane_len(&self.limits);
        let span = |plane: u64| Span::new(state, (plane * plane_len + at) * 4, len);
        for (plane, moment) in (0..).zip(&mut tensor.moments) {
            moment.push(span(plane));
        }
        if planes.average == 1 {
            tensor.average.push(span(planes.moments + planes.accumulator));
        }
    }
}

/// An error if so many learning rates are no binding.
pub(super) fn check_rates_fit(device: &Device, entries: usize) -> Result<(), Error> {
    let hint = " for the learning-rate tables";
    let available = Limits::of(device).max_binding;
    check_limit("max_storage_buffer_binding_size", available, entries as u64 * 4, hint)
}

fn name((tensor, params): (usize, bool)) -> String {
    format!("{} of tensor {tensor}", if params { "params" } else { "grads" })
}

#[derive(PartialEq)]
struct Variant {
    file: &'static str,
    overrides: Vec<(&'static str, f64)>,
}

struct Planes {
    moments: u64,
    accumulator: u64,
    average: u64,
}

impl Planes {
    fn count(&self) -> u64 {
        self.moments + self.accumulator + self.average
    }
}

/// Elements that lie in one binding, with a state of their own.
struct Run {
    params: Span,
    grads: Span,
    /// Whose they are: for each tensor its first element in this run, and how many it has here.
    tensors: Vec<(usize, u64, u64)>,
    rule: Rule,
    packed: bool,
}

impl Run {
    fn plane_len(&self, limits: &Limits) -> u64 {
        self.params.len.next_multiple_of(limits.quantum_len())
    }

    /// What has to be dispatched: everything that fills vectors, and the rest.
    fn dispatches(&self, limits: &Limits) -> Vec<(Layout, Piece)> {
        let all = Piece { first: 0, len: self.params.len };
        let layout = if self.packed { Layout::Arena } else { Layout::Span };
        let vectors = all.vectors().map(|piece| (layout, piece));
        let tail = all.tail(limits).map(|piece| (Layout::Tail, piece));
        vectors.into_iter().chain(tail).collect()
    }

    /// Cuts a run of an arena where a binding ends.
    fn cut(&self, planes: u64, limits: &Limits) -> Vec<Run> {
        let blocks = Limits { alignment: limits.alignment.max(BLOCK * 4), ..*limits };
        let mut tensors = self.tensors.iter().copied().peekable();
        let cut = |piece: Piece| {
            let end = piece.first + piece.len;
            let mut within = Vec::new();
            while let Some(&(tensor, at, len)) = tensors.peek().filter(|(_, at, _)| *at < end) {
                let (from, to) = (at.max(piece.first), (at + len).min(end));
                if from < to {
                    within.push((tensor, from - piece.first, to - from));
                }
                if at + len > end {
                    break;
                }
                tensors.next();
            }
            let (params, grads) = (self.params.part(piece), self.grads.part(piece));
            Run { params, grads, tensors: within, rule: self.rule, packed: true }
        };
        pieces(self.params.len, planes, &blocks).map(cut).collect()
    }

    /// For every block its tensor, and how many of its elements are the tensor's.
    fn owners(&self) -> Vec<u32> {
        let mut owners = vec![0; (self.params.len / BLOCK) as usize];
        for &(tensor, at, len) in &self.tensors {
            for block in at / BLOCK..(at + len).div_ceil(BLOCK) {
                let used = (at + len - block * BLOCK).min(BLOCK);
                owners[block as usize] = (tensor as u32) << 7 | used as u32;
            }
        }
        owners
    }
}

/// Threads in a workgroup of an update. On a processor small groups are faster; on hardware large ones
/// hide more latency. Elements are independent, so the bits are the same.
fn workgroup(device: &Device) -> u32 {
    if device.adapter_info().device_type == wgpu::DeviceType::Cpu { 64 } else { 256 }
}

/// Threads of an update; `vector_of` in `shaders/step/` says which vectors each of them updates.
fn threads(layout: Layout, piece: &Piece) -> u64 {
    match layout {
        Layout::Span => piece.len / 4,
        Layout::Tail => 1,
        Layout::Arena => piece.len / 16,
    }
}

fn measuring_groups(layout: Layout, piece: &Piece, workgroup: u32) -> u64 {
    let vectors = if layout == Layout::Tail { 1 } else { piece.len / 4 };
    vectors.div_ceil(u64::from(workgroup) * MEASURED_VECTORS)
}

fn partial_bytes(layout: Layout, piece: &Piece, workgroup: u32) -> u64 {
    (measuring_groups(layout, piece, workgroup) * PARTIAL).next_multiple_of(PARTIALS_QUANTUM)
}

/// Makes the dispatches of one optimizer.
struct Binder<'a> {
    builder: &'a OptimizerBuilder<'a>,
    slots: &'a Buffer,
    partials: Buffer,
    next_partial: u64,
    pipelines: Vec<(Layout, Variant, BindGroupLayout, ComputePipeline)>,
    measuring: Vec<(Layout, f64, BindGroupLayout, ComputePipeline)>,
}

impl<'a> Binder<'a> {
    fn new(builder: &'a OptimizerBuilder, slots: &'a Buffer, partials: Buffer) -> Self {
        let (pipelines, measuring) = (Vec::new(), Vec::new());
        Binder { builder, slots, partials, next_partial: 0, pipelines, measuring }
    }

    /// The moments of a run and what is kept besides: one plane behind the other.
    fn state(&self, run: &Run) -> Buffer {
        let limits = &self.builder.limits;
        let planes = self.builder.planes(&run.rule).count();
        self.builder.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("optimizer state"),
            // Something has to be bound where nothing is kept.
            size: (run.plane_len(limits) * 4 * planes).max(16),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    fn dispatches(
        &mut self,
        run: &Run,
        layout: Layout,
        piece: Piece,
        state: &Buffer,
    ) -> (Dispatch, Option<Dispatch>) {
        let Limits { max_groups, .. } = self.builder.limits;
        let device = self.builder.device;
        let owners = (layout == Layout::Arena).then(|| {
            let owners = run.owners();
            let bytes = bytemuck::cast_slice(&owners);
            super::bindings::buffer_with(device, "owners", BufferUsages::STORAGE, bytes)
        });
        let slots = match layout {
            Layout::Arena => Span::whole(self.slots),
            Layout::Span | Layout::Tail => {
                Span::new(self.slots, run.tensors[0].0 as u64 * SLOT, SLOT / 4)
            }
        };
        let mut resources = vec![
            (0, slots.whole_binding()),
            (1, run.params.binding(piece)),
            (2, run.grads.binding(piece)),
            (3, state.as_entire_binding()),
        ];
        resources.extend(owners.as_ref().map(|owners| (4, owners.as_entire_binding())));
        let workgroup = workgroup(device);
        let bind = |of: &BindGroupLayout, resources| group_of(device, "update", of, resources);

        let (of, pipeline) = self.update_pipeline(&run.rule, layout);
        let bindings = bind(&of, resources.clone());
        let grid_of = |threads, workgroup| grid(threads, workgroup, max_groups);
        let update = Dispatch { pipeline, bindings, grid: grid_of(threads(layout, &piece), workgroup) };
        if !self.builder.conditioning.measures() {
            return (update, None);
        }
        let groups = measuring_groups(layout, &piece, workgroup);
        let region = Span::new(&self.partials, self.next_partial, groups * PARTIAL / 4);
        self.next_partial += partial_bytes(layout, &piece, workgroup);
        let (of, pipeline) = self.measuring_pipeline(&run.rule, layout);
        resources.push((5, region.whole_binding()));
        let bindings = bind(&of, resources);
        let measure = Dispatch { pipeline, bindings, grid: grid_of(groups, 1) };
        (update, Some(measure))
    }

    fn uses(layout: Layout) -> Vec<(u32, Use)> {
        let slot = if layout == Layout::Arena { Use::Read } else { Use::Uniform };
        let mut uses = vec![(0, slot), (1, Use::Write), (2, Use::Write), (3, Use::Write)];
        uses.extend((layout == Layout::Arena).then_some((4, Use::Read)));
        uses
    }

    fn storage_constants(&self, layout: Layout) -> Vec<(&'static str, f64)> {
        let quantum = ("QUANTUM", self.builder.limits.quantum_len() as f64 / 4.0);
        let mut constants = vec![("WORKGROUP", f64::from(workgroup(self.builder.device)))];
        constants.extend((layout == Layout::Tail).then_some(quantum));
        constants
    }

    fn update_pipeline(&mut self, rule: &Rule, layout: Layout) -> (BindGroupLayout, ComputePipeline) {
        let variant = self.builder.variant(rule);
        let known = self.pipelines.iter().find(|(l, v, ..)| *l == layout && *v == variant);
        if let Some((_, _, of, pipeline)) = known {
            return (of.clone(), pipeline.clone());
        }
        let device = self.builder.device;
        let of = layout_of(device, rule.name(), &Self::uses(layout));
        let mut constants = self.storage_constants(layout);
        constants.extend(&variant.overrides);
        let module = shader::update_with(rule.name(), variant.file, layout);
        let pipeline = pipeline(device, &module, "main", &of, &constants);
        self.pipelines.push((layout, variant, of.clone(), pipeline.clone()));
        (of, pipeline)
    }

    fn measuring_pipeline(&mut self, rule: &Rule, layout: Layout) -> (BindGroupLayout, ComputePipeline) {
        let planes = self.builder.planes(rule);
        let planes_count = planes.count().max(1) as f64;
        // Planes differ with the rule, and the accumulator's place with them.
        let key = planes_count + 8.0 * planes.moments as f64;
        let known = self.measuring.iter().find(|(l, k, ..)| *l == layout && *k == key);
        if let Some((_, _, of, pipeline)) = known {
            return (of.clone(), pipeline.clone());
        }
        let device = self.builder.device;
        let mut uses = Self::uses(layout);
        uses.push((5, Use::Write));
        let of = layout_of(device, "gradient norm", &uses);
        let mut constants = self.storage_constants(layout);
        constants.extend([
            ("PLANES", planes_count),
            flag("ACCUMULATES", self.builder.micro_batches > 1),
            ("ACCUMULATOR", planes.moments as f64),
        ]);
        let module = shader::gradient_norm(layout);
        let pipeline = pipeline(device, &module, "main", &of, &constants);
        self.measuring.push((layout, key, of.clone(), pipeline.clone()));
        (of, pipeline)
    }
}
