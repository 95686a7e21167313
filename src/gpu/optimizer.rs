//! The recorded optimizer step.

use super::advance::{Selection, StepStateKernel};
use super::builder::OptimizerBuilder;
use super::dispatch::Dispatch;
use super::kernels::Options;
use super::span::Span;
use crate::check::{self, Check};
use crate::cpu::StepState;
use crate::{Error, Rule};
use wgpu::{Buffer, ComputePass, Device, Queue};

/// One optimizer over any number of tensors, ready to be recorded.
///
/// The step's state lives on the device, so a step is the same recorded commands every time: any number
/// of steps may go into one submission, between the caller's own dispatches.
#[derive(Debug)]
pub struct Optimizer {
    pub(super) advance: StepStateKernel,
    pub(super) measures: Vec<Dispatch>,
    pub(super) updates: Vec<Update>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) options: Options,
}

/// What one tensor of an [`Optimizer`] consists of.
///
/// Everything comes in parts that follow on one another: one where a buffer and a binding are large
/// enough, and `grads`, each of the `moments` and the `average` may be cut at other places than `params`.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The caller's parameters, updated in place.
    pub params: Vec<Span>,
    /// The caller's gradients.
    pub grads: Vec<Span>,
    /// For each of [`Rule::moments`] where it lies: allocated by the library with `STORAGE`, `COPY_SRC`
    /// and `COPY_DST`, zero before the first step.
    pub moments: Vec<Vec<Span>>,
    /// The sum of gradients that waits for the rest of its micro-batches, if gradients are accumulated.
    pub accumulator: Vec<Span>,
    /// The exponential moving average of the parameters, if there is one: zero before the tensor's first
    /// step.
    pub average: Vec<Span>,
    /// The parameter group that it belongs to.
    pub group: usize,
}

/// The update of a piece.
#[derive(Debug)]
pub(super) struct Update {
    pub dispatch: Dispatch,
    /// The only tensor that it updates, if there is only one.
    pub tensor: Option<usize>,
}

impl Optimizer {
    /// Starts an optimizer on `device` with a first parameter group: name its tensors, then
    /// [`build`](OptimizerBuilder::build) it.
    #[expect(clippy::new_ret_no_self, reason = "an optimizer without tensors is nothing to have")]
    pub fn new(device: &Device, rule: impl Into<Rule>) -> OptimizerBuilder<'_> {
        OptimizerBuilder::new(device, rule.into())
    }

    /// Records one step into `pass`: the state advances, then every tensor is updated. Where gradients
    /// are accumulated this is one micro-batch, and the last of them is the step.
    ///
    /// It leaves the pass with another pipeline and other bind groups 0 and 1: set yours again.
    pub fn record(&self, pass: &mut ComputePass) {
        self.record_all(pass, None);
    }

    /// Records one step of the tensors that are selected, by a [`selection`](Self::selection) of this
    /// optimizer's: the others have no gradient this time. They are not touched, and their steps are not
    /// counted. It leaves the pass as [`record`](Self::record) does.
    pub fn record_selected(&self, pass: &mut ComputePass, selection: &Selection) {
        self.record_all(pass, Some(selection));
    }

    fn record_all(&self, pass: &mut ComputePass, selection: Option<&Selection>) {
        self.advance.record_find(pass, selection);
        for measure in &self.measures {
            measure.record(pass);
        }
        self.advance.record(pass, selection);
        let selected = |tensor: usize| match selection {
            Some(selection) => selection.selected.get(tensor).is_some_and(|&selected| selected),
            None => true,
        };
        // What has been accumulated is for a tensor without a gradient to do.
        let accumulates = self.options.micro_batches > 1;
        let works = |tensor: usize| accumulates || selected(tensor);
        for update in &self.updates {
            if update.tensor.is_none_or(works) {
                update.dispatch.record(pass);
            }
        }
    }

    /// Which tensors have a gradient, by their number, for any number of steps:
    /// see [`record_selected`](Self::record_selected).
    pub fn selection(&self, device: &Device, has_gradient: impl FnMut(usize) -> bool) -> Selection {
        self.advance.selection(device, (0..self.tensors.len()).map(has_gradient).collect())
    }

    /// Freezes a tensor: from the next submission on it has no gradient, whatever is recorded.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no such tensor.
    pub fn freeze(&self, queue: &Queue, tensor: usize) -> Result<(), Error> {
        self.set_frozen(queue, tensor, 1)
    }

    /// Takes a [`freeze`](Self::freeze) back: the tensor goes on at the step where it was.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no such tensor.
    pub fn thaw(&self, queue: &Queue, tensor: usize) -> Result<(), Error> {
        self.set_frozen(queue, tensor, 0)
    }

    fn set_frozen(&self, queue: &Queue, tensor: usize, frozen: u32) -> Result<(), Error> {
        self.check_index("tensor", tensor, self.tensors.len())?;
        let at = tensor * size_of::<StepState>() + std::mem::offset_of!(StepState, frozen);
        queue.write_buffer(self.advance.states(), at as u64, bytemuck::bytes_of(&frozen));
        Ok(())
    }

    /// Sets how many steps a tensor has taken, as when its moments are restored: the next one is `t + 1`.
    /// It is thawed, and nothing waits in its accumulator. Its [`average`](Tensor::average) is begun by
    /// its first step: restore that too. See [`StepState::after`] for what a large `t` costs.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no such tensor.
    pub fn set_step(&self, queue: &Queue, tensor: usize, t: u64) -> Result<(), Error> {
        self.check_index("tensor", tensor, self.tensors.len())?;
        let state = StepState::after(self.rule_of(tensor), t);
        let at = tensor * size_of::<StepState>();
        queue.write_buffer(self.advance.states(), at as u64, bytemuck::bytes_of(&state));
        Ok(())
    }

    /// Sets the entry of a group's learning-rate table that its next step takes, from 0, as when a run
    /// is restored that had taken as many steps with it. Past the table's end the last entry holds.
    ///
    /// # Errors
    /// [`Error::Index`] if there is no such group.
    pub fn set_schedule_step(&self, queue: &Queue, group: usize, step: u64) -> Result<(), Error> {
        self.check_index("parameter group", group, self.advance.groups().len())?;
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        self.advance.set_position(queue, group, step);
        Ok(())
    }

    /// Sets what the gradients are divided by, from the next submission on.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] if the scale is outside of 1.18e-38 … 8.5e37.
    pub fn set_grad_scale(&self, queue: &Queue, grad_scale: f64) -> Result<(), Error> {
        Check("optimizer").divisor("grad_scale", grad_scale)?;
        let at = std::mem::offset_of!(super::Control, inv_grad_scale) as u64;
        let inverse = (1.0 / grad_scale) as f32;
        queue.write_buffer(self.advance.control(), at, bytemuck::bytes_of(&inverse));
        Ok(())
    }

    /// Replaces the learning-rate table of a parameter group: one entry a step from the next step on, the
    /// last one holds.
    ///
    /// Not for every step: it makes a buffer. It takes effect with the next
    /// [`record`](Self::record); commands that are recorded and not yet submitted still read the old
    /// tables, but this group's from its first entry.
    ///
    /// # Errors
    /// [`Error::LearningRates`] if the table is empty or an entry is not finite and ≥ 0;
    /// [`Error::Limit`] if all tables together are longer than a binding; [`Error::Index`] if there is no
    /// such group.
    pub fn set_learning_rates(
        &mut self,
        device: &Device,
        queue: &Queue,
        group: usize,
        learning_rates: &[f32],
    ) -> Result<(), Error> {
        let groups = self.advance.groups();
        self.check_index("parameter group", group, groups.len())?;
        check::learning_rates(learning_rates)?;
        let others = groups.iter().enumerate().filter(|(i, _)| *i != group);
        let entries = others.map(|(_, g)| g.learning_rates.len()).sum::<usize>() + learning_rates.len();
        super::builder::check_rates_fit(device, groups.len(), entries)?;
        self.advance.set_learning_rates(device, queue, group, learning_rates);
        Ok(())
    }

    /// The rule of the first parameter group, with its hyper-parameters.
    pub fn rule(&self) -> &Rule {
        &self.advance.groups()[0].rule
    }

    /// The rule of a tensor's parameter group.
    ///
    /// # Panics
    /// If there is no such tensor.
    pub fn rule_of(&self, tensor: usize) -> &Rule {
        &self.advance.groups()[self.tensors[tensor].group].rule
    }

    /// The tensors, in the order in which they were named.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// How many dispatches a step of all tensors records.
    pub fn dispatches(&self) -> usize {
        self.advance.dispatches() + self.measures.len() + self.updates.len()
    }

    /// The buffer of the step's state, a [`StepState`] for every tensor: to be copied and read whenever the
    /// caller likes. [`saving`](Self::snapshot) copies all that an optimizer remembers.
    pub fn state(&self) -> &Buffer {
        self.advance.states()
    }

    /// The buffer of the optimizer's counters, one [`Control`](super::Control): to be copied and read
    /// whenever the caller likes.
    pub fn control(&self) -> &Buffer {
        self.advance.control()
    }

    fn check_index(&self, what: &'static str, index: usize, count: usize) -> Result<(), Error> {
        if index < count {
            return Ok(());
        }
        Err(Error::Index { what, index, count })
    }
}
