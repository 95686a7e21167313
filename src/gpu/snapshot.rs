//! Copies of what an optimizer remembers, on their way to the host.

use super::advance;
use super::bindings::check_limit;
use super::optimizer_state::{GroupState, OptimizerState, TensorState};
use super::readback::ReadBack;
use super::span::{Piece, Span};
use super::{Optimizer, Tensor};
use crate::Error;
use crate::cpu::StepState;
use wgpu::{Buffer, BufferUsages, CommandEncoder, Device};

/// Bytes of a staging buffer, where they are not all of the state: what a driver finds room for.
const STAGE: u64 = 64 << 20;

/// Staging buffers for all that an [`Optimizer`] remembers, made once by [`Optimizer::snapshot`] and used again
/// and again.
///
/// Copies are recorded into the caller's encoder and are of the state at that place in it, in the middle of
/// an accumulation too. Once that is submitted, [`read`](Self::read) resolves when the device is polled, by whoever
/// polls it.
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
/// // Later, or into an optimizer that was built alike on another device:
/// optimizer.restore(&queue, &state)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StateSnapshot {
    stages: Vec<Stage>,
    /// Whose state it is.
    control: Buffer,
    with_params: bool,
    /// All but what is being copied, since that was recorded.
    recorded: Option<OptimizerState>,
}

/// A staging buffer, and what is copied to it: parts of values, by the values' number.
#[derive(Debug)]
struct Stage {
    staging: ReadBack,
    parts: Vec<(usize, Span)>,
}

impl Optimizer {
    /// Makes staging buffers for all that this optimizer remembers and for the parameters, which need the
    /// usage `COPY_SRC`.
    ///
    /// # Errors
    /// [`Error::MissingUsage`] for parameters that cannot be copied: those
    /// [can be left out](Self::snapshot_without_params).
    pub fn snapshot(&self, device: &Device) -> Result<StateSnapshot, Error> {
        StateSnapshot::new(self, device, true, STAGE)
    }

    /// [`saving`](Self::snapshot) for callers who keep their parameters themselves: in the same encoder, so that
    /// all is of one step.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device has no buffers that are worth the name.
    pub fn snapshot_without_params(&self, device: &Device) -> Result<StateSnapshot, Error> {
        StateSnapshot::new(self, device, false, STAGE)
    }

    #[doc(hidden)]
    /// [`saving`](Self::snapshot) with staging buffers of at most `stage` bytes, so that tests see several.
    pub fn snapshot_in_stages(&self, device: &Device, stage: u64) -> Result<StateSnapshot, Error> {
        StateSnapshot::new(self, device, true, stage)
    }

    /// All that is copied, value by value: the control block, the tensors' steps and the groups, and then the
    /// values of every tensor.
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

    /// Records copies of all that `optimizer` remembers at this place of the encoder, instead of what was recorded
    /// before and has not been [read](Self::read).
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another optimizer than the one that this was made by.
    pub fn record(&mut self, optimizer: &Optimizer, encoder: &mut CommandEncoder) -> Result<(), Error> {
        if *optimizer.control() != self.control {
            let [field, kept, asked] =
                ["optimizer", "the one that the buffers were made by", "another"].map(String::from);
            return Err(Error::Mismatch { field, kept, asked });
        }
        for Stage { staging, parts } in &mut self.stages {
            staging.start_over();
            parts.iter().try_for_each(|(_, span)| staging.copy(encoder, span))?;
        }
        self.recorded = Some(self.known(optimizer));
        Ok(())
    }

    /// What the host knows.
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
            micro_batches: optimizer.options.micro_batches,
            average: optimizer.options.average,
        }
    }

    /// What was copied, once that has been submitted.
    ///
    /// # Errors
    /// [`Error::ReadBack`] if the device was lost, or if nothing has been recorded since the last time.
    pub async fn read(&mut self) -> Result<OptimizerState, Error> {
        let nothing = || Error::ReadBack("no copy of the optimizer's state was recorded".into());
        let mut state = self.recorded.take().ok_or_else(nothing)?;
        let mut values: Vec<Vec<f32>> = Vec::new();
        // All are asked for before the first is waited for, so that one poll serves them all.
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
