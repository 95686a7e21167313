//! What an optimizer remembers, as plain data of the host, and how it is put back.

use super::control::Control;
use super::span::Span;
use super::{Optimizer, Tensor};
use crate::cpu::StepState;
use crate::rule::Conditioning;
use crate::{Error, Rule};
use std::collections::BTreeMap;
use std::fmt::Debug;
use wgpu::{BufferUsages, Queue};

/// The most bytes that are handed to a queue at once.
const CHUNK: usize = 64 << 20;

/// All that an [`Optimizer`] remembers, read by a [`StateSnapshot`](super::StateSnapshot) and put back by
/// [`Optimizer::restore`], into the same optimizer or into one that was built alike, on any device.
///
/// It is plain data: to be kept in memory against the loss of a device, to be looked at, to be changed by
/// who knows how, or to be written to a file (`save` and `load`, with the feature `checkpoint`). Where its
/// tensors lie on a device is no part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// The counters, and what is known of the gradients that have been gathered so far.
    pub control: Control,
    /// The parameter groups.
    pub groups: Vec<GroupState>,
    /// The tensors, in the order in which they were named.
    pub tensors: Vec<TensorState>,
    /// What was done to gradients ahead of the rules. The `grad_scale` of the next step is in `control`.
    pub conditioning: Conditioning,
    /// How many gradients were gathered for a step.
    pub micro_batches: u32,
    /// The decay of the parameters' average, where there is one.
    pub average: Option<f64>,
}

/// What an optimizer remembers of a parameter group.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupState {
    /// Its rule.
    pub rule: Rule,
    /// Its learning rates, an entry a step, of which the last one holds.
    #[cfg_attr(feature = "checkpoint", serde(skip))]
    pub learning_rates: Vec<f32>,
    /// The entry that the next step takes.
    pub position: u32,
}

/// What an optimizer remembers of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorState {
    /// The parameter group that it belongs to.
    pub group: usize,
    /// Its steps, and whether it is frozen.
    pub step: StepState,
    /// Its parameters. Where there are none here the optimizer's stay as they are.
    pub params: Option<Vec<f32>>,
    /// What its rule keeps, by PyTorch's [names](Rule::moments).
    pub moments: BTreeMap<String, Vec<f32>>,
    /// The gradients that wait for the rest of their micro-batches, where they are accumulated.
    pub accumulator: Vec<f32>,
    /// The average of its parameters, where there is one.
    pub average: Vec<f32>,
}

impl Optimizer {
    /// Puts back what an optimizer remembers. From the next submission on this one goes on where that one was, with
    /// the same bits on the same kind of device. (A norm is summed in the order in which tensors lie: where gradients
    /// are clipped by it they must lie alike, too.)
    ///
    /// The parameters are written too, where the state has them, and need the usage `COPY_DST` then. Not for every
    /// step: until its next submission the queue keeps a copy of all that is written.
    ///
    /// # Errors
    /// [`Error::Mismatch`], naming the first thing that is not as it is here: the number of tensors or a length, a
    /// rule or one of its hyper-parameters, a table of learning rates, the conditioning, the micro-batches or the
    /// average; [`Error::MissingUsage`] for parameters that cannot be written. Nothing has changed then.
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
        for (group, kept) in state.groups.iter().enumerate() {
            self.advance.set_position(queue, group, kept.position);
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
            let kept = state.control.micro_batch.to_string();
            return Err(differs("micro-batch", kept, format!("less than {micro_batches}")));
        }
        same("decay of the average", &state.average, &self.options.average)?;
        // The scale is among what is restored.
        let grad_scale = self.options.conditioning.grad_scale;
        let conditioning = Conditioning { grad_scale, ..state.conditioning };
        if let Some((field, kept, asked)) = conditioning.difference(&self.options.conditioning) {
            return Err(differs(field, kept, asked));
        }
        same("number of parameter groups", &state.groups.len(), &self.advance.groups().len())?;
        for (i, (kept, group)) in state.groups.iter().zip(self.advance.groups()).enumerate() {
            if let Some((field, kept, asked)) = kept.rule.difference(&group.rule) {
                return Err(differs(format!("{field} of group {i}"), kept, asked));
            }
            let (kept, asked) = (&kept.learning_rates, &group.learning_rates);
            let what = format!("number of learning rates of group {i}");
            same(what, &kept.len(), &asked.len())?;
            for (step, (kept, asked)) in kept.iter().zip(asked).enumerate() {
                same(format!("learning rate {step} of group {i}"), kept, asked)?;
            }
        }
        same("number of tensors", &state.tensors.len(), &self.tensors.len())?;
        let mut both = self.tensors.iter().zip(&state.tensors).enumerate();
        both.try_for_each(|(i, (tensor, kept))| self.check_tensor(i, tensor, kept))
    }

    fn check_tensor(&self, i: usize, tensor: &Tensor, kept: &TensorState) -> Result<(), Error> {
        same(format!("group of tensor {i}"), &kept.group, &tensor.group)?;
        let length = |what: &str, kept: &[f32], spans: &[Span]| {
            let asked = spans.iter().map(|span| span.len).sum::<u64>();
            same(format!("length of {what} of tensor {i}"), &(kept.len() as u64), &asked)
        };
        if let Some(params) = &kept.params {
            length("params", params, &tensor.params)?;
            for span in &tensor.params {
                let (what, needs) = (|| format!("params of tensor {i}"), BufferUsages::COPY_DST);
                span.check(what, wgpu::COPY_BUFFER_ALIGNMENT, needs)?;
            }
        }
        let mut names = self.rules_moments(tensor).to_vec();
        names.sort_unstable();
        let kept_names: Vec<&str> = kept.moments.keys().map(String::as_str).collect();
        same(format!("moments of tensor {i}"), &kept_names, &names)?;
        for (name, spans) in self.rules_moments(tensor).iter().zip(&tensor.moments) {
            length(name, &kept.moments[*name], spans)?;
        }
        length("accumulator", &kept.accumulator, &tensor.accumulator)?;
        length("average", &kept.average, &tensor.average)
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

fn same<T: PartialEq + Debug>(field: impl Into<String>, kept: &T, asked: &T) -> Result<(), Error> {
    if kept == asked {
        return Ok(());
    }
    Err(differs(field, format!("{kept:?}"), format!("{asked:?}")))
}

fn differs(field: impl Into<String>, kept: String, asked: String) -> Error {
    Error::Mismatch { field: field.into(), kept, asked }
}
