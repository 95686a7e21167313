//! Snapshots of an optimizer's state.

use super::advance;
use super::bindings::check_limit;
use super::optimizer_state::{GroupState, OptimizerState, TensorState};
use super::readback::ReadBack;
use super::span::{Piece, Span};
use super::{Optimizer, Tensor};
use crate::Error;
use crate::cpu::StepState;
use wgpu::{Buffer, BufferUsages, CommandEncoder, Device};

/// Maximum size of a staging buffer in bytes: drivers may fail to allocate larger ones.
const STAGE: u64 = 64 << 20;

/// Reusable staging buffers for the state of an [`Optimizer`], created by [`Optimizer::snapshot`].
///
/// [`record`](Self::record) copies the state at that place of the caller's encoder, also in the middle of an
/// accumulation. After the submission, [`read`](Self::read) resolves when the caller polls the device.
///
/// ```no_run
/// # async fn f(device: wgpu::Device, queue: wgpu::Queue, optimizer: wgpu_optim::Optimizer)
/// # -> Result<(), wgpu_optim::Error> {
/// let mut snapshot = optimizer.snapshot(&device)?; // buffers: once
///
/// let mut encoder = device.create_command_encoder(&Default::default());
/// optimizer.record(&mut encoder.begin_compute_pass(&Default::default()));
/// snapshot.record(&optimizer, &mut encoder)?; // the state after this step
/// queue.submit([encoder.finish()]);
/// let state = snapshot.read().await?;
///
/// // Later, or into an equally built optimizer on another device:
/// optimizer.restore(&queue, &state)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StateSnapshot {
    stages: Vec<Stage>,
    /// The control buffer of the optimizer, which identifies it.
    control: Buffer,
    with_params: bool,
    /// The host's part of the recorded state; the copies complete it.
    recorded: Option<OptimizerState>,
}

/// A staging buffer and the spans copied to it, each with the index of its value.
#[derive(Debug)]
struct Stage {
    staging: ReadBack,
    parts: Vec<(usize, Span)>,
}

impl Optimizer {
    /// Creates staging buffers for this optimizer's state and the parameters, which need the usage `COPY_SRC`.
    ///
    /// # Errors
    /// [`Error::MissingUsage`] for parameters without `COPY_SRC`: see
    /// [`snapshot_without_params`](Self::snapshot_without_params).
    pub fn snapshot(&self, device: &Device) -> Result<StateSnapshot, Error> {
        StateSnapshot::new(self, device, true, STAGE)
    }

    /// Creates a [`snapshot`](Self::snapshot) without the parameters, for callers who copy them themselves. Copy them
    /// in the same encoder, so that both are of the same step.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device's `max_buffer_size` is below 4 bytes.
    pub fn snapshot_without_params(&self, device: &Device) -> Result<StateSnapshot, Error> {
        StateSnapshot::new(self, device, false, STAGE)
    }

    #[doc(hidden)]
    /// Creates a [`snapshot`](Self::snapshot) with staging buffers of at most `stage` bytes, so that tests need several.
    pub fn snapshot_in_stages(&self, device: &Device, stage: u64) -> Result<StateSnapshot, Error> {
        StateSnapshot::new(self, device, true, stage)
    }

    /// The copied values in order: the control block, the tensors' steps, the groups, then the values of every tensor.
    fn values(&self, with_params: bool) -> Vec<Vec<Span>> {
        let whole = [self.control(), self.state(), self.advance.device_groups()];
        let mut values = whole.map(|buffer| vec![Span::whole(buffer)]).to_vec();
        for tensor in &self.tensors {
            values.extend(with_params.then(|| tensor.params.clone()));
            values.extend(tensor.moments.iter().cloned());
            values.extend([tensor.accumulator.clone(), tensor.average.clone()]);
        }
        values
    }
}

impl StateSnapshot {
    fn new(
        optimizer: &Optimizer,
        device: &Device,
        with_params: bool,
        stage: u64,
    ) -> Result<Self, Error> {
        if with_params {
            for (i, tensor) in optimizer.tensors.iter().enumerate() {
                for span in &tensor.params {
                    let (what, needs) = (|| format!("params of tensor {i}"), BufferUsages::COPY_SRC);
                    span.check(what, wgpu::COPY_BUFFER_ALIGNMENT, needs)?;
                }
            }
        }
        let most = stage.min(device.limits().max_buffer_size) / 4;
        check_limit("max_buffer_size", most * 4, 4u64, " for a staging buffer")?;
        let mut plan: Vec<Vec<(usize, Span)>> = vec![Vec::new()];
        let mut room = most;
        let of = |(value, spans): (usize, Vec<Span>)| spans.into_iter().map(move |span| (value, span));
        for (value, span) in optimizer.values(with_params).into_iter().enumerate().flat_map(of) {
            let mut first = 0;
            while first < span.len {
                if room == 0 {
                    plan.push(Vec::new());
                    room = most;
                }
                let len = room.min(span.len - first);
                let last = plan.len() - 1;
                plan[last].push((value, span.part(Piece { first, len })));
                (first, room) = (first + len, room - len);
            }
        }
        let stage = |parts: Vec<(usize, Span)>| {
            let bytes = parts.iter().map(|(_, span)| span.len * 4).sum();
            Ok(Stage { staging: ReadBack::new(device, bytes)?, parts })
        };
        let stages = plan.into_iter().map(stage).collect::<Result<_, Error>>()?;
        Ok(StateSnapshot { stages, control: optimizer.control().clone(), with_params, recorded: None })
    }

    /// Records copies of the state of `optimizer` at this place of the encoder. Replaces an earlier recording that was
    /// not [read](Self::read).
    ///
    /// # Errors
    /// [`Error::Mismatch`] if another optimizer created this snapshot.
    pub fn record(&mut self, optimizer: &Optimizer, encoder: &mut CommandEncoder) -> Result<(), Error> {
        if *optimizer.control() != self.control {
            let [field, saved, current] = ["optimizer", "its creator", "another"].map(String::from);
            return Err(Error::Mismatch { field, saved, current });
        }
        for Stage { staging, parts } in &mut self.stages {
            staging.start_over();
            parts.iter().try_for_each(|(_, span)| staging.copy(encoder, span))?;
        }
        self.recorded = Some(self.known(optimizer));
        Ok(())
    }

    /// The part of the state that the host knows.
    fn known(&self, optimizer: &Optimizer) -> OptimizerState {
        let group = |group: &advance::ParamGroup| GroupState {
            rule: group.rule,
            learning_rates: group.learning_rates.clone(),
            position: 0,
        };
        let tensor = |tensor: &Tensor| {
            let names = optimizer.rules_moments(tensor).iter();
            TensorState {
                group: tensor.group,
                step: StepState::default(),
                params: self.with_params.then(Vec::new),
                moments: names.map(|&name| (name.into(), Vec::new())).collect(),
                accumulator: Vec::new(),
                average: Vec::new(),
            }
        };
        OptimizerState {
            control: bytemuck::Zeroable::zeroed(),
            groups: optimizer.advance.groups().iter().map(group).collect(),
            tensors: optimizer.tensors.iter().map(tensor).collect(),
            conditioning: optimizer.options.conditioning,
            arithmetic: optimizer.options.arithmetic,
            micro_batches: optimizer.options.micro_batches,
            average: optimizer.options.average,
        }
    }

    /// Reads the recorded state, after the submission.
    ///
    /// # Errors
    /// [`Error::ReadBack`] if the device was lost, or if nothing was recorded since the last call.
    pub async fn read(&mut self) -> Result<OptimizerState, Error> {
        let nothing = || Error::ReadBack("no copy of the optimizer's state was recorded".into());
        let mut state = self.recorded.take().ok_or_else(nothing)?;
        let mut values: Vec<Vec<f32>> = Vec::new();
        // All buffers are mapped before the first wait, so that one poll serves them all.
        let stages = self.stages.iter_mut().map(|stage| (stage.staging.map(), &stage.parts));
        for (mapping, parts) in stages.collect::<Vec<_>>() {
            let copied: Vec<f32> = mapping.take().await?;
            let mut rest = copied.as_slice();
            for (value, span) in parts {
                let (now, behind) = rest.split_at(span.len as usize);
                values.resize(values.len().max(value + 1), Vec::new());
                values[*value].extend_from_slice(now);
                rest = behind;
            }
        }
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        state.control = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&next()));
        let steps: Vec<StepState> = bytemuck::pod_collect_to_vec(&next());
        for (group, position) in state.groups.iter_mut().zip(advance::positions(&next())) {
            group.position = position;
        }
        for (tensor, step) in state.tensors.iter_mut().zip(steps) {
            tensor.step = step;
            tensor.params = tensor.params.as_ref().map(|_| next());
            for name in state.groups[tensor.group].rule.moments() {
                tensor.moments.insert(name.to_string(), next());
            }
            (tensor.accumulator, tensor.average) = (next(), next());
        }
        Ok(state)
    }
}
