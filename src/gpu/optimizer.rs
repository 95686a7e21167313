//! The recorded optimizer step.

use super::bindings::{Use, buffer_with, check_device, check_limit, group, layout, pipeline};
use super::shader;
use super::span::{Limits, Piece, Span, grid, pieces};
use crate::cpu::{StepConstants, StepState};
use crate::{Error, Rule};
use wgpu::{BindGroup, BindGroupLayout, Buffer, BufferUsages, ComputePass, ComputePipeline, Device};

/// Where the rule's own constants lie in the step's uniform buffer, in bytes.
const HYPER_OFFSET: usize = size_of::<StepConstants>();
/// Storage buffers that the step's state needs: itself, the constants, the learning rates.
const STATE_BUFFERS: u32 = 3;
/// The step's uniform buffer: this step's constants and the rule's own.
const STEP_BYTES: usize = 64;

/// One optimizer over any number of tensors, ready to be recorded.
///
/// The step's state lives on the device, so a step is the same recorded commands every time: any number
/// of steps may go into one submission, between the caller's own dispatches.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    advance: Dispatch,
    updates: Vec<Dispatch>,
    tensors: Vec<Tensor>,
    state: Buffer,
    state_layout: BindGroupLayout,
    step: Buffer,
}

/// What one tensor of an [`Optimizer`] consists of.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The caller's parameters, updated in place.
    pub params: Span,
    /// The caller's gradients, read.
    pub grads: Span,
    /// One span for each of [`Rule::moments`], allocated by the library with `STORAGE`, `COPY_SRC` and
    /// `COPY_DST`, zero before the first step.
    pub moments: Vec<Span>,
}

#[derive(Debug)]
struct Dispatch {
    pipeline: ComputePipeline,
    bindings: BindGroup,
    grid: [u32; 3],
}

impl Dispatch {
    fn record(&self, pass: &mut ComputePass) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}

impl Optimizer {
    /// Starts an optimizer on `device`: name its tensors, then [`build`](OptimizerBuilder::build) it.
    #[expect(clippy::new_ret_no_self, reason = "an optimizer without tensors is nothing to have")]
    pub fn new(device: &Device, rule: impl Into<Rule>) -> OptimizerBuilder<'_> {
        let rule = rule.into();
        OptimizerBuilder {
            device,
            learning_rates: vec![rule.lr() as f32],
            rule,
            limits: Limits::of(device),
            tensors: Vec::new(),
            rule_file: None,
        }
    }

    /// Records one step into `pass`: the state advances, then every tensor is updated.
    pub fn record(&self, pass: &mut ComputePass) {
        self.advance.record(pass);
        for update in &self.updates {
            update.record(pass);
        }
    }

    /// The rule and its hyper-parameters.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The tensors, in the order in which they were named.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The buffer of the step's state, one [`StepState`]: to be copied, saved and restored.
    pub fn state(&self) -> &Buffer {
        &self.state
    }

    /// Replaces the learning-rate table: one entry a step from the next step on, the last one holds.
    ///
    /// Not for every step: it makes a buffer. It takes effect with the next
    /// [`record`](Self::record); commands that are recorded and not yet submitted still read the old
    /// table, from its first entry.
    ///
    /// # Errors
    /// [`Error::LearningRates`] if the table is empty or an entry is not finite and ≥ 0;
    /// [`Error::Limit`] if it is longer than a binding.
    pub fn set_learning_rates(
        &mut self,
        device: &Device,
        queue: &wgpu::Queue,
        learning_rates: &[f32],
    ) -> Result<(), Error> {
        check_learning_rates(learning_rates, &Limits::of(device))?;
        self.advance.bindings =
            state_bindings(device, &self.state_layout, &self.state, &self.step, learning_rates);
        let position = std::mem::offset_of!(StepState, lr_position) as u64;
        queue.write_buffer(&self.state, position, bytemuck::bytes_of(&0u32));
        Ok(())
    }
}

/// An [`Optimizer`] in the making.
#[derive(Debug)]
pub struct OptimizerBuilder<'a> {
    device: &'a Device,
    rule: Rule,
    learning_rates: Vec<f32>,
    limits: Limits,
    tensors: Vec<(Span, Span)>,
    rule_file: Option<&'static str>,
}

impl OptimizerBuilder<'_> {
    /// Adds a tensor: parameters (usage `STORAGE`, updated in place) and as many gradients (usage
    /// `STORAGE`, read). They may lie in one buffer if they do not overlap.
    pub fn tensor(mut self, params: Span, grads: Span) -> Self {
        self.tensors.push((params, grads));
        self
    }

    /// A learning rate for every step instead of the rule's one; the last entry holds.
    pub fn learning_rates(mut self, learning_rates: Vec<f32>) -> Self {
        self.learning_rates = learning_rates;
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
    /// [`Error::HyperParameter`] and [`Error::LearningRates`] for the rule; [`Error::Length`],
    /// [`Error::OutOfBounds`], [`Error::Misaligned`], [`Error::MissingUsage`] and [`Error::Overlap`] for
    /// the spans; [`Error::Limit`] for what the device does not offer.
    pub fn build(self) -> Result<Optimizer, Error> {
        self.rule.validate()?;
        check_learning_rates(&self.learning_rates, &self.limits)?;
        let buffers = 2 + self.rule.moments().len() as u32;
        check_device(self.device, workgroup(self.device), buffers.max(STATE_BUFFERS))?;
        self.check_spans()?;

        let Self { device, rule, limits, .. } = self;
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let state = buffer_with(device, "step state", usage, bytemuck::bytes_of(&StepState::new(&rule)));
        let mut step_bytes = [0; STEP_BYTES];
        let hyper = hyper(&rule);
        step_bytes[HYPER_OFFSET..][..hyper.len()].copy_from_slice(&hyper);
        let usage = BufferUsages::STORAGE | BufferUsages::UNIFORM;
        let step = buffer_with(device, "step constants", usage, &step_bytes);

        let uses = [Use::Write, Use::Write, Use::Read];
        let state_layout = layout(device, "step state", &uses);
        let advance = Dispatch {
            pipeline: pipeline(device, &shader::step_state(), "main", &state_layout, &[]),
            bindings: state_bindings(device, &state_layout, &state, &step, &self.learning_rates),
            grid: [1, 1, 1],
        };

        let moments = rule.moments();
        let mut uses = vec![Use::Uniform, Use::Write, Use::Write];
        uses.resize(uses.len() + moments.len(), Use::Write);
        let layout = layout(device, rule.name(), &uses);
        let workgroup = workgroup(device);
        let constants = [("WORKGROUP", f64::from(workgroup))];
        let modules = match self.rule_file {
            Some(file) => shader::update_with(rule.name(), file),
            None => shader::update(&rule),
        };
        let [vectors, tail] =
            modules.map(|module| pipeline(device, &module, "main", &layout, &constants));

        let mut tensors = Vec::new();
        let mut updates = Vec::new();
        for (params, grads) in self.tensors {
            let moments: Vec<_> = moments.iter().map(|name| moment(device, name, params.len)).collect();
            let tensor = Tensor { params, grads, moments };
            for piece in pieces(tensor.params.len, &limits) {
                updates.push(Dispatch {
                    pipeline: if piece.tail { tail.clone() } else { vectors.clone() },
                    bindings: tensor.bindings(device, &layout, &step, piece),
                    grid: grid(piece.threads(), workgroup, limits.max_groups),
                });
            }
            tensors.push(tensor);
        }
        Ok(Optimizer { rule, advance, updates, tensors, state, state_layout, step })
    }

    fn check_spans(&self) -> Result<(), Error> {
        let needs = BufferUsages::STORAGE;
        let mut named = Vec::new();
        for (i, (params, grads)) in self.tensors.iter().enumerate() {
            let [p, g] = [format!("params of tensor {i}"), format!("grads of tensor {i}")];
            params.check(&p, self.limits.quantum(), needs)?;
            grads.check(&g, self.limits.quantum(), needs)?;
            if grads.len != params.len {
                return Err(Error::Length { what: g, actual: grads.len, expected: params.len });
            }
            if !self.rule.moments().is_empty() {
                let hint = ": a tensor's moments are one buffer each; give the tensor as several spans";
                let available = self.device.limits().max_buffer_size;
                check_limit("max_buffer_size", available, params.len * 4, hint)?;
            }
            named.push((p, params, true));
            named.push((g, grads, false));
        }
        for (i, (first, a, a_written)) in named.iter().enumerate() {
            for (second, b, b_written) in &named[i + 1..] {
                if (*a_written || *b_written) && a.overlaps(b) {
                    let (first, second) = (first.clone(), second.clone());
                    return Err(Error::Overlap { first, second });
                }
            }
        }
        Ok(())
    }
}

impl Tensor {
    fn bindings(
        &self,
        device: &Device,
        layout: &BindGroupLayout,
        step: &Buffer,
        piece: Piece,
    ) -> BindGroup {
        let mut resources = vec![step.as_entire_binding()];
        resources.push(self.params.binding(piece));
        resources.push(self.grads.binding(piece));
        resources.extend(self.moments.iter().map(|moment| moment.binding(piece)));
        group(device, "update", layout, resources)
    }
}

/// Threads in a workgroup of an update. On a processor small groups are faster; on hardware large ones
/// hide more latency. Elements are independent, so the bits are the same.
fn workgroup(device: &Device) -> u32 {
    if device.adapter_info().device_type == wgpu::DeviceType::Cpu { 64 } else { 256 }
}

fn moment(device: &Device, name: &str, len: u64) -> Span {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(name),
        size: (len * 4).max(4),
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    Span { buffer, offset: 0, len }
}

fn state_bindings(
    device: &Device,
    layout: &BindGroupLayout,
    state: &Buffer,
    step: &Buffer,
    learning_rates: &[f32],
) -> BindGroup {
    let bytes = bytemuck::cast_slice(learning_rates);
    let table = buffer_with(device, "learning rates", BufferUsages::STORAGE, bytes);
    let resources = vec![state.as_entire_binding(), step.as_entire_binding(), table.as_entire_binding()];
    group(device, "step state", layout, resources)
}

fn check_learning_rates(table: &[f32], limits: &Limits) -> Result<(), Error> {
    let error = |index, value| Error::LearningRates { index, length: table.len(), value };
    if table.is_empty() {
        return Err(error(0, None));
    }
    if let Some(index) = table.iter().position(|lr| !(lr.is_finite() && *lr >= 0.0)) {
        return Err(error(index, Some(table[index])));
    }
    let hint = " for the learning-rate table";
    let bytes = table.len() as u64 * 4;
    check_limit("max_storage_buffer_binding_size", limits.max_binding, bytes, hint)
}

/// The `Hyper` struct of the rule's shader, byte for byte.
fn hyper(rule: &Rule) -> Vec<u8> {
    let floats =
        |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|&x| (x as f32).to_ne_bytes()).collect() };
    match rule {
        Rule::Sgd(sgd) => {
            let mut bytes = floats(&[sgd.momentum, 1.0 - sgd.dampening]);
            bytes.extend(u32::from(sgd.nesterov).to_ne_bytes());
            bytes
        }
        Rule::RmsProp(rule) => floats(&[rule.alpha, 1.0 - rule.alpha, rule.eps]),
        Rule::Adam(rule) => {
            let (beta1, beta2) = rule.betas;
            floats(&[beta1, 1.0 - beta1, beta2, 1.0 - beta2, rule.eps])
        }
    }
}
