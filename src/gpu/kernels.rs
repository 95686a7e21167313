//! The kernels of an optimizer: pipelines, each created once, and dispatches.

use super::bindings::{BufferAccess, buffer_with, check_limit, group_of, layout_of, pipeline};
use super::bound_segment::BoundSegment;
use super::dispatch::{Dispatch, flag};
use super::shader::{self, Layout};
use super::span::{Limits, Piece, Span, grid};
use super::steps::SLOT;
use crate::rule::Conditioning;
use crate::{Arithmetic, Error, Rule};
use wgpu::{BindGroupLayout, Buffer, BufferUsages, ComputePipeline, Device};

/// Size of a partial result of the measuring kernel in bytes.
const PARTIAL: u64 = 16;
/// Lanes of a partial result of the measuring kernel, and the vectors of each: those of `shaders/gradient_norm.wgsl`.
pub(crate) const LANES: u32 = 256;
pub(crate) const LANE_VECTORS: u32 = 16;
/// Workgroup memory of the measuring kernel in bytes: three words for each lane.
pub(super) const MEASURING_BYTES: u32 = 3 * 4 * LANES;
/// Elements behind a partial result, which is that of a workgroup.
pub(crate) const MEASURED: u64 = 4 * (LANES * LANE_VECTORS) as u64;
/// Alignment of the regions of partial results, in partial results and in bytes.
pub(crate) const PARTIALS_ALIGNMENT: u64 = 16;
const PARTIALS_QUANTUM: u64 = PARTIALS_ALIGNMENT * PARTIAL;

/// Options that all kernels of an optimizer share.
#[derive(Clone, Debug)]
pub struct Options {
    pub conditioning: Conditioning,
    pub arithmetic: Arithmetic,
    pub micro_batches: u32,
    pub average: Option<f64>,
    pub limits: Limits,
    /// A file that replaces the rule's.
    pub rule_file: Option<&'static str>,
}

impl Options {
    pub fn new(limits: Limits) -> Self {
        let (conditioning, arithmetic) = (Conditioning::default(), Arithmetic::default());
        Options { conditioning, arithmetic, micro_batches: 1, average: None, limits, rule_file: None }
    }

    /// The planes of a tensor's state: moments, accumulator and average.
    pub fn planes(&self, rule: &Rule) -> Planes {
        let moments = rule.moments().len() as u64;
        let accumulator = u64::from(self.micro_batches > 1);
        Planes { moments, accumulator, average: u64::from(self.average.is_some()) }
    }

    /// The variant of the update kernel for a rule.
    pub fn variant(&self, rule: &Rule) -> Variant {
        let frame = rule.common_terms();
        let planes = self.planes(rule);
        let conditioning = &self.conditioning;
        let clip_value = conditioning.clip_value.filter(|limit| limit.is_finite());
        let decay = self.average.unwrap_or(0.0);
        let constant = |x: f64| f64::from(self.arithmetic.constant(x as f32));
        let mut overrides = vec![
            ("PLANES", planes.count().max(1) as f64),
            flag("ACCUMULATES", self.micro_batches > 1),
            ("ACCUMULATOR", planes.moments as f64),
            flag("CLIPPED", clip_value.is_some()),
            ("CLIP_VALUE", constant(clip_value.unwrap_or(0.0))),
            flag("WRITE_BACK", conditioning.write_back),
            flag("MAXIMIZE", frame.maximize),
            flag("COUPLED", frame.coupled != 0.0),
            flag("DECOUPLED", frame.decoupled != 0.0),
            flag("AVERAGES", self.average.is_some()),
            ("AVERAGE", (planes.moments + planes.accumulator) as f64),
            ("AVERAGE_DECAY", constant(decay)),
            ("ONE_MINUS_AVERAGE_DECAY", constant(1.0 - decay)),
        ];
        let file = self.rule_file.unwrap_or_else(|| {
            overrides.extend(rule.overrides());
            rule.shader().source
        });
        Variant { file, overrides }
    }
}

/// The file and overrides of an update pipeline.
#[derive(PartialEq)]
pub struct Variant {
    pub file: &'static str,
    pub overrides: Vec<(&'static str, f64)>,
}

/// Numbers of planes in the state of a tensor, in order.
pub struct Planes {
    pub moments: u64,
    pub accumulator: u64,
    pub average: u64,
}

impl Planes {
    pub fn count(&self) -> u64 {
        self.moments + self.accumulator + self.average
    }
}

/// The workgroup size of an update. It does not affect the bits, because elements are independent.
pub fn workgroup(device: &Device) -> u32 {
    workgroup_of(&device.adapter_info())
}

/// The workgroup size of an update on an adapter, as measured in `benches/NOTES.md`.
pub fn workgroup_of(adapter: &wgpu::AdapterInfo) -> u32 {
    match adapter.device_type {
        // SwiftShader is faster with small workgroups. llvmpipe takes a lock for each workgroup, and hardware hides
        // more latency in large ones.
        wgpu::DeviceType::Cpu if !adapter.name.starts_with("llvmpipe") => 64,
        _ => 256,
    }
}

pub(crate) fn is_processor(device: &Device) -> bool {
    device.adapter_info().device_type == wgpu::DeviceType::Cpu
}

/// The number of threads of an update; `vector_of` in `shaders/step/` assigns vectors to threads.
fn threads(layout: Layout, piece: &Piece) -> u64 {
    match layout {
        Layout::Span => piece.len / 4,
        Layout::Tail => 1,
        Layout::Arena => piece.len / 16,
    }
}

/// The workgroup size of the measuring kernel, which does not affect the bits. Barriers of many threads are expensive on
/// a processor.
fn measuring_workgroup(device: &Device) -> u32 {
    if is_processor(device) { 32 } else { LANES }
}

/// The number of partial results of a piece.
fn partial_results(layout: Layout, piece: &Piece) -> u64 {
    if layout == Layout::Tail { 1 } else { piece.len.div_ceil(MEASURED) }
}

fn partial_bytes(layout: Layout, piece: &Piece) -> u64 {
    (partial_results(layout, piece) * PARTIAL).next_multiple_of(PARTIALS_QUANTUM)
}

/// Creates the buffer of the measuring kernel's partial results, with a region for every dispatch.
///
/// # Errors
/// [`Error::Limit`] if the buffer exceeds the size of a binding.
pub fn partials(device: &Device, options: &Options, runs: &[BoundSegment]) -> Result<Buffer, Error> {
    let measures = options.conditioning.measures();
    let dispatches = runs.iter().flat_map(|run| run.dispatches(&options.limits));
    let bytes = |(layout, piece): (Layout, Piece)| partial_bytes(layout, &piece);
    let size = if measures { dispatches.map(bytes).sum::<u64>() } else { 0 };
    let hint = " for the partial norms of all tensors: an arena needs fewer";
    let available = Limits::of(device).max_binding;
    check_limit("max_storage_buffer_binding_size", available, size, hint)?;
    Ok(device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("gradient norm"),
        size: size.max(PARTIALS_QUANTUM),
        usage: BufferUsages::STORAGE,
        mapped_at_creation: false,
    }))
}

/// Creates the dispatches of an optimizer.
pub struct Kernels<'a> {
    device: &'a Device,
    options: &'a Options,
    slots: &'a Buffer,
    partials: Buffer,
    next_partial: u64,
    pipelines: Vec<(Layout, Variant, BindGroupLayout, ComputePipeline)>,
    measuring: Vec<(Layout, u64, BindGroupLayout, ComputePipeline)>,
}

impl<'a> Kernels<'a> {
    pub fn new(device: &'a Device, options: &'a Options, slots: &'a Buffer, partials: Buffer) -> Self {
        let (pipelines, measuring) = (Vec::new(), Vec::new());
        Kernels { device, options, slots, partials, next_partial: 0, pipelines, measuring }
    }

    /// Creates the state of a segment: its planes, one after another.
    pub fn state(&self, run: &BoundSegment) -> Buffer {
        let limits = &self.options.limits;
        let planes = self.options.planes(&run.rule).count();
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("optimizer state"),
            // A binding cannot be empty.
            size: (run.plane_len(limits) * 4 * planes).max(16),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    pub fn dispatches(
        &mut self,
        run: &BoundSegment,
        layout: Layout,
        piece: Piece,
        state: &Buffer,
    ) -> (Dispatch, Option<Dispatch>) {
        let Limits { max_groups, .. } = self.options.limits;
        let device = self.device;
        let owners = (layout == Layout::Arena).then(|| {
            let owners = run.owners();
            let bytes = bytemuck::cast_slice(&owners);
            buffer_with(device, "owners", BufferUsages::STORAGE, bytes)
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
        if !self.options.conditioning.measures() {
            return (update, None);
        }
        let groups = partial_results(layout, &piece);
        let region = Span::new(&self.partials, self.next_partial, groups * PARTIAL / 4);
        self.next_partial += partial_bytes(layout, &piece);
        let (of, pipeline) = self.measuring_pipeline(&run.rule, layout);
        resources.push((5, region.whole_binding()));
        let bindings = bind(&of, resources);
        let measure = Dispatch { pipeline, bindings, grid: grid_of(groups, 1) };
        (update, Some(measure))
    }

    fn uses(layout: Layout) -> Vec<(u32, BufferAccess)> {
        let slot = if layout == Layout::Arena { BufferAccess::Read } else { BufferAccess::Uniform };
        let mut uses = vec![
            (0, slot),
            (1, BufferAccess::Write),
            (2, BufferAccess::Write),
            (3, BufferAccess::Write),
        ];
        uses.extend((layout == Layout::Arena).then_some((4, BufferAccess::Read)));
        uses
    }

    fn storage_constants(&self, layout: Layout) -> Vec<(&'static str, f64)> {
        let quantum = ("QUANTUM", self.options.limits.quantum_len() as f64 / 4.0);
        if layout == Layout::Tail { vec![quantum] } else { vec![] }
    }

    fn update_pipeline(&mut self, rule: &Rule, layout: Layout) -> (BindGroupLayout, ComputePipeline) {
        let variant = self.options.variant(rule);
        let known = self.pipelines.iter().find(|(l, v, ..)| *l == layout && *v == variant);
        if let Some((_, _, of, pipeline)) = known {
            return (of.clone(), pipeline.clone());
        }
        let device = self.device;
        let of = layout_of(device, rule.name(), &Self::uses(layout));
        let mut constants = self.storage_constants(layout);
        constants.push(("WORKGROUP", workgroup(device).into()));
        constants.extend(&variant.overrides);
        let module = shader::update_with(rule.name(), variant.file, layout, self.options.arithmetic);
        let pipeline = pipeline(device, &module, "main", &of, &constants);
        self.pipelines.push((layout, variant, of.clone(), pipeline.clone()));
        (of, pipeline)
    }

    fn measuring_pipeline(&mut self, rule: &Rule, layout: Layout) -> (BindGroupLayout, ComputePipeline) {
        let planes = self.options.planes(rule);
        let planes_count = planes.count().max(1) as f64;
        // The accumulator follows the moments; rules differ in nothing else.
        let key = planes.moments;
        let known = self.measuring.iter().find(|(l, k, ..)| *l == layout && *k == key);
        if let Some((_, _, of, pipeline)) = known {
            return (of.clone(), pipeline.clone());
        }
        let device = self.device;
        let mut uses = Self::uses(layout);
        uses.push((5, BufferAccess::Write));
        let of = layout_of(device, "gradient norm", &uses);
        let mut constants = self.storage_constants(layout);
        constants.extend([
            ("WORKGROUP", measuring_workgroup(device).into()),
            ("PLANES", planes_count),
            flag("ACCUMULATES", self.options.micro_batches > 1),
            ("ACCUMULATOR", planes.moments as f64),
        ]);
        let module = shader::gradient_norm(layout, self.options.arithmetic);
        let pipeline = pipeline(device, &module, "main", &of, &constants);
        self.measuring.push((layout, key, of.clone(), pipeline.clone()));
        (of, pipeline)
    }
}
