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

/// An optimizer of any number of tensors, which records steps into compute passes.
///
/// The state of the step is on the device, so every step records the same commands. One submission may contain any
/// number of steps, between the caller's own dispatches.
#[derive(Debug)]
pub struct Optimizer {
    pub(super) advance: StepStateKernel,
    pub(super) measures: Vec<Dispatch>,
    pub(super) updates: Vec<Update>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) options: Options,
}

/// The location of a tensor of an [`Optimizer`] and of its state.
///
/// Every field is a list of consecutive spans: one if a buffer and a binding are large enough. `grads`, `moments` and
/// `average` may be split at other places than `params`.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The caller's parameters, updated in place.
    pub params: Vec<Span>,
    /// The caller's gradients.
    pub grads: Vec<Span>,
    /// The moments, in the order of [`Rule::moments`]: allocated by the library with `STORAGE`, `COPY_SRC` and
    /// `COPY_DST`, zero before the first step.
    pub moments: Vec<Vec<Span>>,
    /// The accumulated gradients of an incomplete step; empty without accumulation.
    pub accumulator: Vec<Span>,
    /// The exponential moving average of the parameters, zero before the tensor's first step; empty without an average.
    pub average: Vec<Span>,
    /// Index of the parameter group.
    pub group: usize,
}

/// The update of a piece.
#[derive(Debug)]
pub(super) struct Update {
    pub dispatch: Dispatch,
    /// The updated tensor, if it is only one.
    pub tensor: Option<usize>,
}

impl Optimizer {
    /// Returns a builder for an optimizer on `device` with a first parameter group: add tensors, then call
    /// [`build`](OptimizerBuilder::build).
    #[expect(clippy::new_ret_no_self, reason = "an optimizer needs tensors, which the builder adds")]
    pub fn new(device: &Device, rule: impl Into<Rule>) -> OptimizerBuilder<'_> {
        OptimizerBuilder::new(device, rule.into())
    }

    /// Records one step into `pass`: advances the step state, then updates every tensor. With accumulation it records
    /// one micro-batch, and the last micro-batch takes the step.
    ///
    /// It changes the pipeline and the bind groups 0 and 1 of the pass: set yours again.
    pub fn record(&self, pass: &mut ComputePass) {
        self.record_all(pass, None);
    }

    /// Records one step of the selected tensors, by a [`selection`](Self::selection) of this optimizer. The others have
    /// no gradient in this step: they are not changed, and their step counts stay. It changes the state of the pass as
    /// [`record`](Self::record) does.
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
        // With accumulation, a tensor without a gradient in this micro-batch may still have to take the step.
        let accumulates = self.options.micro_batches > 1;
        let works = |tensor: usize| accumulates || selected(tensor);
        for update in &self.updates {
            if update.tensor.is_none_or(works) {
                update.dispatch.record(pass);
            }
        }
    }

    /// Creates a selection of the tensors whose index satisfies `has_gradient`, for any number of calls of
    /// [`record_selected`](Self::record_selected).
    pub fn selection(&self, device: &Device, has_gradient: impl FnMut(usize) -> bool) -> Selection {
        self.advance.selection(device, (0..self.tensors.len()).map(has_gradient).collect())
    }

    /// Freezes a tensor: from the next submission on, steps do not change it.
    ///
    /// # Errors
    /// [`Error::Index`] if the tensor does not exist.
    pub fn freeze(&self, queue: &Queue, tensor: usize) -> Result<(), Error> {
        self.set_frozen(queue, tensor, 1)
    }

    /// Reverts a [`freeze`](Self::freeze): the tensor continues from its last step.
    ///
    /// # Errors
    /// [`Error::Index`] if the tensor does not exist.
    pub fn thaw(&self, queue: &Queue, tensor: usize) -> Result<(), Error> {
        self.set_frozen(queue, tensor, 0)
    }

    fn set_frozen(&self, queue: &Queue, tensor: usize, frozen: u32) -> Result<(), Error> {
        self.check_index("tensor", tensor, self.tensors.len())?;
        let at = tensor * size_of::<StepState>() + std::mem::offset_of!(StepState, frozen);
        queue.write_buffer(self.advance.states(), at as u64, bytemuck::bytes_of(&frozen));
        Ok(())
    }

    /// Sets the number of steps that a tensor has taken, for example after restoring its moments: the next step is
    /// `t + 1`. Thaws the tensor and discards accumulated gradients. Restore the [`average`](Tensor::average) too,
    /// because only the first step initializes it. See [`StepState::after`] for the cost of a large `t`.
    ///
    /// # Errors
    /// [`Error::Index`] if the tensor does not exist.
    pub fn set_step(&self, queue: &Queue, tensor: usize, t: u64) -> Result<(), Error> {
        self.check_index("tensor", tensor, self.tensors.len())?;
        let state = StepState::after(self.rule_of(tensor), t);
        let at = tensor * size_of::<StepState>();
        queue.write_buffer(self.advance.states(), at as u64, bytemuck::bytes_of(&state));
        Ok(())
    }

    /// Sets the index, from 0, of the learning-rate table entry that a group's next step uses, for example after
    /// restoring a run. Past the end of the table, steps use the last entry.
    ///
    /// # Errors
    /// [`Error::Index`] if the group does not exist.
    pub fn set_schedule_step(&self, queue: &Queue, group: usize, step: u64) -> Result<(), Error> {
        self.check_index("parameter group", group, self.advance.groups().len())?;
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        self.advance.set_position(queue, group, step);
        Ok(())
    }

    /// Sets the divisor of the gradients (the loss scale), from the next submission on.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] if the scale is outside 1.18e-38 … 8.5e37.
    pub fn set_grad_scale(&self, queue: &Queue, grad_scale: f64) -> Result<(), Error> {
        Check("optimizer").divisor("grad_scale", grad_scale)?;
        let at = std::mem::offset_of!(super::Control, inv_grad_scale) as u64;
        let inverse = self.options.arithmetic.constant((1.0 / grad_scale) as f32);
        queue.write_buffer(self.advance.control(), at, bytemuck::bytes_of(&inverse));
        Ok(())
    }

    /// Replaces the learning-rate table of a parameter group: one entry per step from the next step on; further steps
    /// use the last entry.
    ///
    /// Do not call it every step: it creates a buffer. It takes effect with the next [`record`](Self::record). Commands
    /// that are recorded and not yet submitted still read the old tables, this group's from its first entry.
    ///
    /// # Errors
    /// [`Error::LearningRates`] if the table is empty or an entry is not finite and ≥ 0;
    /// [`Error::Limit`] if all tables together exceed the size of a binding; [`Error::Index`] if the group does not
    /// exist.
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

    /// Returns the rule of the first parameter group.
    pub fn rule(&self) -> &Rule {
        &self.advance.groups()[0].rule
    }

    /// Returns the rule of a tensor's parameter group.
    ///
    /// # Panics
    /// If the tensor does not exist.
    pub fn rule_of(&self, tensor: usize) -> &Rule {
        &self.advance.groups()[self.tensors[tensor].group].rule
    }

    /// Returns the tensors, in the order of the builder's calls.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns the number of dispatches that a step of all tensors records.
    pub fn dispatches(&self) -> usize {
        self.advance.dispatches() + self.measures.len() + self.updates.len()
    }

    /// Returns the buffer of the step state, one [`StepState`] per tensor, which callers may copy and read at any time.
    /// [`snapshot`](Self::snapshot) copies the whole state of the optimizer.
    pub fn state(&self) -> &Buffer {
        self.advance.states()
    }

    /// Returns the buffer of the optimizer's counters, one [`Control`](super::Control), which callers may copy and read
    /// at any time.
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
