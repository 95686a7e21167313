//! The first dispatches of a step: the decision to take or skip it, and the constants of every tensor.

use super::bindings::{BufferAccess, buffer_with, group, layout, pipeline_over};
use super::control::Control;
use super::dispatch::{self, Dispatch};
use super::shader;
use super::span::{Limits, grid};
use super::steps::{self, SLOT};
use crate::cpu::{RuleConstants, StepState};
use crate::rule::{ClipNorm, Conditioning};
use crate::{Arithmetic, Rule};
use bytemuck::{Pod, Zeroable};
use wgpu::{BindGroup, BindGroupLayout, Buffer, BufferUsages, ComputePass, Device, Queue};

/// Threads of a workgroup: up to this many tensors, one dispatch decides and advances.
const THREADS: usize = 64;

/// A parameter group on the host.
#[derive(Clone, Debug)]
pub struct ParamGroup {
    pub rule: Rule,
    pub learning_rates: Vec<f32>,
}

/// A parameter group in device memory; see `shaders/step_state.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DeviceGroup {
    rule: RuleConstants,
    position: u32,
    lr: f32,
}

/// The tensors that have a gradient in a step; see [`Optimizer::selection`](super::Optimizer::selection).
#[derive(Clone, Debug)]
pub struct Selection {
    bindings: BindGroup,
    pub(super) selected: Vec<bool>,
}

#[derive(Debug)]
pub struct StepStateKernel {
    find: Option<Dispatch>,
    decide: Option<Dispatch>,
    advance: Dispatch,
    all: Selection,
    groups: Vec<ParamGroup>,
    arithmetic: Arithmetic,
    layout: BindGroupLayout,
    selection_layout: BindGroupLayout,
    states: Buffer,
    slots: Buffer,
    device_groups: Buffer,
    control: Buffer,
    partials: Buffer,
}

/// Arguments of [`StepStateKernel`].
pub struct Parts<'a> {
    pub groups: Vec<ParamGroup>,
    /// Group of every tensor.
    pub tensors: &'a [usize],
    pub conditioning: &'a Conditioning,
    pub micro_batches: u32,
    pub arithmetic: Arithmetic,
    pub partials: Buffer,
    pub limits: &'a Limits,
}

impl StepStateKernel {
    pub fn new(device: &Device, parts: Parts) -> Self {
        let Parts { groups, tensors, conditioning, micro_batches, arithmetic, partials, limits } = parts;
        let storage = BufferUsages::STORAGE;
        let kept = storage | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let all = vec![StepState::default(); tensors.len().max(1)];
        let states = buffer_with(device, "step state", kept, bytemuck::cast_slice(&all));
        let usage = storage | BufferUsages::UNIFORM;
        let slots = buffer_with(device, "step constants", usage, &slots(&groups, tensors, arithmetic));
        let bytes = bytes_of_groups(&groups, arithmetic);
        let device_groups = buffer_with(device, "parameter groups", kept, &bytes);
        let control = Control::new(conditioning.grad_scale, arithmetic);
        let control = buffer_with(device, "control", kept, bytemuck::bytes_of(&control));

        let uses = [
            BufferAccess::Write,
            BufferAccess::Write,
            BufferAccess::Write,
            BufferAccess::Write,
            BufferAccess::Read,
            BufferAccess::Read,
        ];
        let layout = layout(device, "step state", &uses);
        let selection_layout = super::bindings::layout(device, "selection", &[BufferAccess::Read]);
        let everything = vec![true; tensors.len()];
        let all = selection(device, &selection_layout, everything);

        let constants = constants(conditioning, micro_batches, arithmetic);
        let module = shader::step_state(arithmetic);
        let layouts = [Some(&layout), Some(&selection_layout)];
        let pipeline = |entry| pipeline_over(device, &module, entry, &layouts, &constants);
        let groups_of_threads = grid(tensors.len() as u64, THREADS as u32, limits.max_groups);
        let fits = tensors.len() <= THREADS;
        let bindings = {
            let rates = rates_buffer(device, &groups, arithmetic);
            let buffers = [&states, &slots, &device_groups, &control, &rates, &partials];
            group(device, "step state", &layout, buffers.map(|b| b.as_entire_binding()).to_vec())
        };
        let dispatch =
            |entry, grid| Dispatch { pipeline: pipeline(entry), bindings: bindings.clone(), grid };
        let advance = if fits {
            dispatch("decide_and_advance", [1, 1, 1])
        } else {
            dispatch("advance", groups_of_threads)
        };
        StepStateKernel {
            find: conditioning.measures().then(|| dispatch("find", groups_of_threads)),
            decide: (!fits).then(|| dispatch("decide_alone", [1, 1, 1])),
            advance,
            all,
            groups,
            arithmetic,
            layout,
            selection_layout,
            states,
            slots,
            device_groups,
            control,
            partials,
        }
    }

    /// Records the dispatch that finds the tensors with a gradient, before gradients are measured.
    pub fn record_find(&self, pass: &mut ComputePass, selection: Option<&Selection>) {
        if let Some(find) = &self.find {
            pass.set_bind_group(1, &selection.unwrap_or(&self.all).bindings, &[]);
            find.record(pass);
        }
    }

    pub fn record(&self, pass: &mut ComputePass, selection: Option<&Selection>) {
        pass.set_bind_group(1, &selection.unwrap_or(&self.all).bindings, &[]);
        if let Some(decide) = &self.decide {
            decide.record(pass);
        }
        self.advance.record(pass);
    }

    pub fn dispatches(&self) -> usize {
        1 + usize::from(self.decide.is_some()) + usize::from(self.find.is_some())
    }

    pub fn selection(&self, device: &Device, selected: Vec<bool>) -> Selection {
        selection(device, &self.selection_layout, selected)
    }

    pub fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    pub fn states(&self) -> &Buffer {
        &self.states
    }

    pub fn slots(&self) -> &Buffer {
        &self.slots
    }

    pub fn control(&self) -> &Buffer {
        &self.control
    }

    /// The buffer of groups, with their positions in the learning-rate tables: see [`positions`].
    pub fn device_groups(&self) -> &Buffer {
        &self.device_groups
    }

    /// Replaces the learning rates of an existing group by a valid table.
    pub fn set_learning_rates(&mut self, device: &Device, queue: &Queue, group: usize, rates: &[f32]) {
        self.groups[group].learning_rates = rates.to_vec();
        let table = rates_buffer(device, &self.groups, self.arithmetic);
        let buffers =
            [&self.states, &self.slots, &self.device_groups, &self.control, &table, &self.partials];
        let resources = buffers.map(|buffer| buffer.as_entire_binding()).to_vec();
        let bindings = super::bindings::group(device, "step state", &self.layout, resources);
        let dispatches = [self.find.as_mut(), self.decide.as_mut(), Some(&mut self.advance)];
        for dispatch in dispatches.into_iter().flatten() {
            dispatch.bindings = bindings.clone();
        }
        self.set_position(queue, group, 0);
    }

    /// Sets the next table entry of an existing group.
    pub fn set_position(&self, queue: &Queue, group: usize, position: u32) {
        let at = group * size_of::<DeviceGroup>() + std::mem::offset_of!(DeviceGroup, position);
        queue.write_buffer(&self.device_groups, at as u64, bytemuck::bytes_of(&position));
    }
}

/// Extracts the next table entry of each group from the content of the buffer of groups.
pub fn positions(groups: &[f32]) -> Vec<u32> {
    let groups: Vec<DeviceGroup> = bytemuck::pod_collect_to_vec(groups);
    groups.iter().map(|group| group.position).collect()
}

fn selection(device: &Device, layout: &BindGroupLayout, selected: Vec<bool>) -> Selection {
    let mut words: Vec<u32> = selected.iter().map(|&s| u32::from(s)).collect();
    words.resize(words.len().max(1), 0);
    let usage = BufferUsages::STORAGE;
    let buffer = buffer_with(device, "selection", usage, bytemuck::cast_slice(&words));
    let bindings = group(device, "selection", layout, vec![buffer.as_entire_binding()]);
    Selection { bindings, selected }
}

/// Size of the buffer of learning rates in words.
pub fn rates_words(groups: usize, rates: usize) -> u64 {
    (2 * groups + rates) as u64
}

/// Creates the buffer of learning rates: start and length of every group's table, then the tables. Everything is in one
/// buffer, so that recorded commands remain valid when a new buffer replaces it.
fn rates_buffer(device: &Device, groups: &[ParamGroup], arithmetic: Arithmetic) -> Buffer {
    let mut words = Vec::new();
    let mut first = 2 * groups.len();
    for group in groups {
        words.extend([first as u32, group.learning_rates.len() as u32]);
        first += group.learning_rates.len();
    }
    let rates = groups.iter().flat_map(|group| &group.learning_rates);
    words.extend(rates.map(|&rate| arithmetic.constant(rate).to_bits()));
    buffer_with(device, "learning rates", BufferUsages::STORAGE, bytemuck::cast_slice(&words))
}

fn bytes_of_groups(groups: &[ParamGroup], arithmetic: Arithmetic) -> Vec<u8> {
    let device_group = |group: &ParamGroup| {
        let rule = RuleConstants::new(&group.rule).in_arithmetic(arithmetic);
        DeviceGroup { rule, position: 0, lr: 0.0 }
    };
    bytemuck::cast_slice(&groups.iter().map(device_group).collect::<Vec<_>>()).to_vec()
}

/// The constants that the host writes once into the slots of all tensors.
fn slots(groups: &[ParamGroup], tensors: &[usize], arithmetic: Arithmetic) -> Vec<u8> {
    let mut bytes = vec![0; tensors.len().max(1) * SLOT as usize];
    for (slot, &group) in bytes.chunks_mut(SLOT as usize).zip(tensors) {
        steps::write_rule(slot, &groups[group].rule, group as u32, arithmetic);
    }
    bytes
}

fn constants(
    conditioning: &Conditioning,
    micro_batches: u32,
    arithmetic: Arithmetic,
) -> Vec<(&'static str, f64)> {
    let (clip, max_norm) = match conditioning.clip_norm {
        None => (0.0, 1.0),
        // An infinite limit only measures the norm; WGSL has no infinite constant.
        Some(clip) if clip.max_norm() == f64::INFINITY => (0.0, 1.0),
        Some(ClipNorm::Torch(max)) => (1.0, max),
        Some(ClipNorm::Optax(max)) => (2.0, max),
    };
    vec![
        dispatch::flag("MEASURES", conditioning.measures()),
        dispatch::flag("SKIPS", conditioning.skip_nonfinite),
        ("CLIP", clip),
        ("MAX_NORM", arithmetic.constant(max_norm as f32).into()),
        ("MICRO_BATCHES", micro_batches.into()),
        ("INV_MICRO_BATCHES", 1.0 / f64::from(micro_batches)),
    ]
}
