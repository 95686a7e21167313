//! The state of an optimizer as plain data on the host, and its restoration.

use super::control::Control;
use super::span::Span;
use super::{Optimizer, Tensor};
use crate::cpu::StepState;
use crate::rule::Conditioning;
use crate::{Arithmetic, Error, Rule};
use std::collections::BTreeMap;
use std::fmt::Debug;
use wgpu::{BufferUsages, Queue};

/// Maximum number of bytes per write to a queue.
const CHUNK: usize = 64 << 20;

/// The state of an [`Optimizer`], read by a [`StateSnapshot`](super::StateSnapshot) and written back by
/// [`Optimizer::restore`], to the same optimizer or to an equally built one on any device.
///
/// It is plain data: programs can hold it in memory against the loss of a device, inspect it, change it, or write it to
/// a file (`save` and `load`, with the feature `checkpoint`). It does not include the location of the tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Counters, and the measurements of the gradients accumulated so far.
    pub control: Control,
    /// Parameter groups.
    pub groups: Vec<GroupState>,
    /// Tensors, in the order of the builder's calls.
    pub tensors: Vec<TensorState>,
    /// Conditioning of the gradients. The `grad_scale` of the next step is in `control`.
    pub conditioning: Conditioning,
    /// Arithmetic of the steps.
    pub arithmetic: Arithmetic,
    /// Number of gradients accumulated for a step.
    pub micro_batches: u32,
    /// Decay of the average of the parameters; `None` without an average.
    pub average: Option<f64>,
}

/// The state of a parameter group.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupState {
    /// The rule.
    pub rule: Rule,
    /// The learning-rate table, one entry per step; further steps use the last entry.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub learning_rates: Vec<f32>,
    /// Index of the entry for the next step.
    pub position: u32,
}

/// The state of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorState {
    /// Index of the parameter group.
    pub group: usize,
    /// Step count, and whether the tensor is frozen.
    pub step: StepState,
    /// Parameters; `None` leaves the optimizer's parameters unchanged.
    pub params: Option<Vec<f32>>,
    /// Moments, by PyTorch's [names](Rule::moments).
    pub moments: BTreeMap<String, Vec<f32>>,
    /// Accumulated gradients of an incomplete step; empty without accumulation.
    pub accumulator: Vec<f32>,
    /// Average of the parameters; empty without an average.
    pub average: Vec<f32>,
}

impl Optimizer {
    /// Restores a state. From the next submission on, this optimizer continues where the other was, with the same bits
    /// on the same kind of device, and with [`Arithmetic::Strict`] on every device. (With clipping by norm, the tensors
    /// must also have the same memory layout, which determines the order in which the norm is summed.)
    ///
    /// If the state has parameters, they are written too and need the usage `COPY_DST`. Do not call it every step: the
    /// queue keeps a copy of the data until the next submission.
    ///
    /// # Errors
    /// [`Error::Mismatch`], naming the first difference: number of tensors or a length, a rule or hyper-parameter, a
    /// learning-rate table, the conditioning, the arithmetic, the micro-batches or the average; [`Error::MissingUsage`] for parameters
    /// without `COPY_DST`. On an error nothing is changed.
    pub fn restore(&self, queue: &Queue, state: &OptimizerState) -> Result<(), Error> {
        self.check_state(state)?;
        let mut steps = Vec::new();
        for (tensor, kept) in self.tensors.iter().zip(&state.tensors) {
            steps.push(kept.step);
            if let Some(params) = &kept.params {
                write(queue, &tensor.params, params);
            }
            for (name, spans) in self.rules_moments(tensor).iter().zip(&tensor.moments) {
                write(queue, spans, &kept.moments[*name]);
            }
            write(queue, &tensor.accumulator, &kept.accumulator);
            write(queue, &tensor.average, &kept.average);
        }
        queue.write_buffer(self.state(), 0, bytemuck::cast_slice(&steps));
        queue.write_buffer(self.control(), 0, bytemuck::bytes_of(&state.control));
        for (group, saved) in state.groups.iter().enumerate() {
            self.advance.set_position(queue, group, saved.position);
        }
        Ok(())
    }

    pub(super) fn rules_moments(&self, tensor: &Tensor) -> &'static [&'static str] {
        self.advance.groups()[tensor.group].rule.moments()
    }

    fn check_state(&self, state: &OptimizerState) -> Result<(), Error> {
        let micro_batches = self.options.micro_batches;
        same("number of micro-batches", &state.micro_batches, &micro_batches)?;
        if state.control.micro_batch >= micro_batches {
            let saved = state.control.micro_batch.to_string();
            return Err(mismatch("micro-batch", saved, format!("less than {micro_batches}")));
        }
        // Strict and exact arithmetic have the same bits.
        if state.arithmetic.is_reproducible() != self.options.arithmetic.is_reproducible() {
            same("arithmetic", &state.arithmetic, &self.options.arithmetic)?;
        }
        same("decay of the average", &state.average, &self.options.average)?;
        // The scale is restored, so it may differ.
        let grad_scale = self.options.conditioning.grad_scale;
        let conditioning = Conditioning { grad_scale, ..state.conditioning };
        if let Some((field, saved, current)) = conditioning.difference(&self.options.conditioning) {
            return Err(mismatch(field, saved, current));
        }
        same("number of parameter groups", &state.groups.len(), &self.advance.groups().len())?;
        for (i, (saved, group)) in state.groups.iter().zip(self.advance.groups()).enumerate() {
            if let Some((field, saved, current)) = saved.rule.difference(&group.rule) {
                return Err(mismatch(format!("{field} of group {i}"), saved, current));
            }
            let (saved, current) = (&saved.learning_rates, &group.learning_rates);
            let what = format!("number of learning rates of group {i}");
            same(what, &saved.len(), &current.len())?;
            for (step, (saved, current)) in saved.iter().zip(current).enumerate() {
                same(format!("learning rate {step} of group {i}"), saved, current)?;
            }
        }
        same("number of tensors", &state.tensors.len(), &self.tensors.len())?;
        let mut both = self.tensors.iter().zip(&state.tensors).enumerate();
        both.try_for_each(|(i, (tensor, saved))| self.check_tensor(i, tensor, saved))
    }

    fn check_tensor(&self, i: usize, tensor: &Tensor, saved: &TensorState) -> Result<(), Error> {
        same(format!("group of tensor {i}"), &saved.group, &tensor.group)?;
        let length = |what: &str, saved: &[f32], spans: &[Span]| {
            let current = spans.iter().map(|span| span.len).sum::<u64>();
            same(format!("length of {what} of tensor {i}"), &(saved.len() as u64), &current)
        };
        if let Some(params) = &saved.params {
            length("params", params, &tensor.params)?;
            for span in &tensor.params {
                let (what, needs) = (|| format!("params of tensor {i}"), BufferUsages::COPY_DST);
                span.check(what, wgpu::COPY_BUFFER_ALIGNMENT, needs)?;
            }
        }
        let mut names = self.rules_moments(tensor).to_vec();
        names.sort_unstable();
        let saved_names: Vec<&str> = saved.moments.keys().map(String::as_str).collect();
        same(format!("moments of tensor {i}"), &saved_names, &names)?;
        for (name, spans) in self.rules_moments(tensor).iter().zip(&tensor.moments) {
            length(name, &saved.moments[*name], spans)?;
        }
        length("accumulator", &saved.accumulator, &tensor.accumulator)?;
        length("average", &saved.average, &tensor.average)
    }
}

fn write(queue: &Queue, spans: &[Span], values: &[f32]) {
    let mut rest: &[u8] = bytemuck::cast_slice(values);
    for span in spans {
        let (now, behind) = rest.split_at(span.len as usize * 4);
        for (at, bytes) in (0..).step_by(CHUNK).zip(now.chunks(CHUNK)) {
            queue.write_buffer(&span.buffer, span.offset + at, bytes);
        }
        rest = behind;
    }
}

fn same<T: PartialEq + Debug>(field: impl Into<String>, saved: &T, current: &T) -> Result<(), Error> {
    if saved == current {
        return Ok(());
    }
    Err(mismatch(field, format!("{saved:?}"), format!("{current:?}")))
}

fn mismatch(field: impl Into<String>, saved: String, current: String) -> Error {
    Error::Mismatch { field: field.into(), saved, current }
}
