//! Gradient descent on rows in two dispatches an update: the gradient's partial sums, and their sum together
//! with the step of a rule.

use super::row_kernel::{RowKernel, SumKernel};
use super::row_sums::{RowSums, constants};
use super::segments::Purpose;
use super::shader;
use super::steps;
use super::{GradientLayout, RowSource};
use crate::cpu::StepState;
use crate::gpu::bindings::{BufferAccess, check_limit, group, layout};
use crate::gpu::dispatch::flag;
use crate::gpu::kernels::Options;
use crate::gpu::span::{Limits, Span};
use crate::gpu::steps::SLOT;
use crate::regression::Batch;
use crate::{Error, Model, Penalty, Rule};
use wgpu::{Buffer, BufferUsages, ComputePass, Device, Queue};

/// Everything that a [`Descent`] depends on but the rows and the parameters.
#[derive(Clone, Copy, Debug)]
pub struct DescentOptions {
    /// The model.
    pub model: Model,
    /// The rule of every parameter.
    pub rule: Rule,
    /// The penalty on weights; intercepts have none.
    pub penalty: Penalty,
    /// The decay of a moving average of the parameters, in [0, 1), if there is one.
    pub average: Option<f64>,
    /// The most rows of a batch.
    pub max_batch: u64,
    /// The most batches that are prepared at a time.
    pub max_batches: u32,
    /// Whether batches may be those of a [`Window`](crate::Window).
    pub shuffled: bool,
}

/// Updates of a model from batches of rows. The gradient is never in memory: the kernel that adds up its
/// partial sums applies the rule.
///
/// The constants of each step are computed on the host, bit for bit as on the device for an
/// [`Optimizer`](crate::Optimizer), and prepared together with the batches.
///
/// ```
/// use wgpu_optim::regression::kernels::{DescentOptions, Descent, DeviceDataset, GradientLayout};
/// use wgpu_optim::{Adam, Batch, Loss, Model, Penalty, Span};
/// # let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
/// # let (x, y) = (vec![0.5; 1000 * 30], vec![1.0; 1000]);
///
/// let model = Model::new(30, Loss::Logistic);
/// let shape = GradientLayout::new(&model)?;
/// let samples = DeviceDataset::new(&device, shape, 1000, 100)?;
/// samples.write(&queue, &x, &y)?; // row after row; the auxiliary column is the class
/// # let usage = wgpu::BufferUsages::STORAGE;
/// # let size = shape.padded_len() * 4;
/// # let buffer = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
/// # let params = device.create_buffer(&buffer);
/// let mut descent = Descent::new(&device, &samples, &Span::whole(&params), DescentOptions {
///     model,
///     rule: Adam::default().into(),
///     penalty: Penalty::l1(1e-3),
///     average: None,
///     max_batch: 100,
///     max_batches: 10,
///     shuffled: false,
/// })?;
///
/// let epoch: Vec<Batch> = (0..10).map(|i| Batch::new(100 * i, 100)).collect();
/// descent.prepare(&queue, &epoch, &[1e-3; 10])?;
/// let mut encoder = device.create_command_encoder(&Default::default());
/// let mut pass = encoder.begin_compute_pass(&Default::default());
/// (0..10).for_each(|update| descent.record(&mut pass, update)); // two dispatches each
/// # drop(pass);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct Descent {
    kernel: RowKernel,
    options: DescentOptions,
    steps: Buffer,
    params: Span,
    state: Span,
    step_state: StepState,
}

impl Descent {
    /// Updates of the parameters in `params`, [`GradientLayout::padded_len`] elements as [`GradientLayout::pad`] has them.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::OutOfBounds`], [`Error::Misaligned`] and [`Error::MissingUsage`] for the
    /// span; [`Error::Limit`] for the limits of the device; [`Error::HyperParameter`] for the model, the
    /// rule, the penalty or the average.
    pub fn new(
        device: &Device,
        rows: impl Into<RowSource>,
        params: &Span,
        options: DescentOptions,
    ) -> Result<Self, Error> {
        Self::with(device, rows, params, options, None, false)
    }

    /// [`new`](Self::new) with another shader file in the place of the rule's, or with updates in two halves:
    /// [`prepare_sums`](Self::prepare_sums) and [`prepare_step`](Self::prepare_step).
    pub(crate) fn with(
        device: &Device,
        rows: impl Into<RowSource>,
        params: &Span,
        options: DescentOptions,
        rule_file: Option<&'static str>,
        split: bool,
    ) -> Result<Self, Error> {
        let DescentOptions { model, rule, penalty, average, max_batch, max_batches, shuffled } = options;
        rule.validate()?;
        penalty.validate()?;
        if let Some(decay) = average {
            crate::check::Check("average").decay("decay", decay)?;
        }
        let limits = Limits::of(device);
        let rows = rows.into();
        let shape = rows.check(&model)?;
        let purpose = Purpose { metrics: false, shuffled, max_batch, max_batches };
        let sums = RowSums::new(device, &rows, &model, params, purpose)?;

        let kernel_options = Options { average, rule_file, ..Options::new(limits) };
        let planes = kernel_options.planes(&rule).count().max(1);
        let state_bytes = planes * shape.padded_len() * 4;
        let (limit, hint) = ("max_storage_buffer_binding_size", " for the rule's state");
        check_limit(limit, limits.max_binding, state_bytes, hint)?;
        let step_bytes = u64::from(max_batches.max(1)) * SLOT;
        let hint = " for the steps of batches: prepare fewer at a time";
        let available = device.limits().max_buffer_size.min(u32::MAX.into());
        check_limit("max_buffer_size", available, step_bytes, hint)?;

        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        // wgpu's buffers are zero from the start.
        let buffer = |label, size, usage| {
            let (label, mapped_at_creation) = (Some(label), false);
            let descriptor = wgpu::BufferDescriptor { label, size, usage, mapped_at_creation };
            device.create_buffer(&descriptor)
        };
        let state = buffer("moments", state_bytes, usage);
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let steps = buffer("steps", step_bytes, usage);
        let step_layout = {
            use BufferAccess::{DynamicUniform, Write};
            layout(device, "descent", &[DynamicUniform, Write, Write])
        };
        let step = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &steps,
            offset: 0,
            size: std::num::NonZeroU64::new(SLOT),
        });
        let resources = vec![step, params.whole_binding(), state.as_entire_binding()];
        let step_bindings = group(device, "descent", &step_layout, resources);

        let variant = kernel_options.variant(&rule);
        let mut constants = constants(&shape, &model, purpose);
        constants.extend(variant.overrides);
        constants.extend(penalty_constants(&penalty, &rule, &shape));
        let sum = SumKernel {
            label: "gradient sum",
            module: shader::gradient_descend(rule.name(), variant.file),
            constants,
            grads: None,
            step: Some((&step_layout, step_bindings)),
            split,
        };
        Ok(Descent {
            kernel: RowKernel::new(device, sums, sum)?,
            options,
            steps,
            params: params.clone(),
            state: Span::whole(&state),
            step_state: StepState::default(),
        })
    }

    /// Bytes of all buffers, if a batch has at most `most_segments` segments; `split` as for [`with`](Self::with).
    pub(crate) fn bytes_of(
        shape: &GradientLayout,
        most_segments: u64,
        options: &DescentOptions,
        split: bool,
    ) -> u64 {
        let DescentOptions { rule, average, max_batch, max_batches, shuffled, .. } = *options;
        let purpose = Purpose { metrics: false, shuffled, max_batch, max_batches };
        let planes = (rule.moments().len() + usize::from(average.is_some())).max(1) as u64;
        planes * shape.padded_len() * 4
            + RowKernel::bytes_of(shape, most_segments, &purpose, split)
            + u64::from(max_batches) * SLOT
    }

    /// Describes the updates that are to be recorded next, all of them and in order, and takes their steps:
    /// a batch each, and the learning rate of it. The queue copies them before its next submission, so the
    /// last ones must have been submitted.
    ///
    /// # Errors
    /// [`Error::Shape`] for too many batches, or for one that is empty, too long, past the data's end, or in
    /// a window that is not within one chunk; [`Error::Length`] for another number of learning rates. Nothing
    /// has changed then.
    pub fn prepare(
        &mut self,
        queue: &Queue,
        batches: &[Batch],
        learning_rates: &[f32],
    ) -> Result<(), Error> {
        if batches.len() != learning_rates.len() {
            let (what, actual) = ("learning rates".into(), learning_rates.len() as u64);
            return Err(Error::Length { what, actual, expected: batches.len() as u64 });
        }
        self.kernel.prepare(queue, batches, 0.0)?;
        let mut bytes = vec![0; batches.len() * SLOT as usize];
        for (slot, &lr) in bytes.chunks_mut(SLOT as usize).zip(learning_rates) {
            steps::advance(slot, &self.options.rule, &mut self.step_state, lr);
        }
        queue.write_buffer(&self.steps, 0, &bytes);
        Ok(())
    }

    /// Describes the first half of an update: recorded next, a share of its batch leaves its [`sums`](Self::sums).
    pub(crate) fn prepare_sums(&mut self, queue: &Queue, share: &Batch) -> Result<(), Error> {
        self.kernel.prepare_sums(queue, share)
    }

    /// The sums of the recorded share: padded parameters, then loss and weight in a vector.
    pub(crate) fn sums(&self) -> Option<Span> {
        self.kernel.sums(0)
    }

    /// Describes the second half of an update, from the sums over all `rows` rows of its batch.
    pub(crate) fn prepare_step(&mut self, queue: &Queue, rows: u64, sums: &[f32], lr: f32) {
        self.kernel.prepare_total(queue, rows, sums);
        let mut slot = vec![0; SLOT as usize];
        steps::advance(&mut slot, &self.options.rule, &mut self.step_state, lr);
        queue.write_buffer(&self.steps, 0, &slot);
    }

    /// Records the `index`-th prepared update; nothing if there is none.
    pub fn record(&self, pass: &mut ComputePass, index: usize) {
        self.kernel.record(pass, index);
    }

    /// The segments of each update, which can be recorded by themselves.
    pub fn kernel(&self) -> &RowKernel {
        &self.kernel
    }

    /// The loss of each prepared batch ahead of its update, one f32 each; usage `COPY_SRC`.
    pub fn losses(&self) -> &Buffer {
        self.kernel.losses()
    }

    /// The parameters.
    pub fn params(&self) -> &Span {
        &self.params
    }

    /// The moments, in the order of [`Rule::moments`], and then the average, if there is one; each as long
    /// as the parameters, usages `COPY_SRC` and `COPY_DST`.
    pub fn state(&self) -> Vec<Span> {
        let len = self.params.len;
        let planes = self.options.rule.moments().len() + usize::from(self.options.average.is_some());
        (0..planes as u64).map(|i| Span::new(&self.state.buffer, i * len * 4, len)).collect()
    }

    /// Steps taken, and the powers that correct the moments' bias.
    pub fn step_state(&self) -> StepState {
        self.step_state
    }

    /// Sets them, as when parameters and [`state`](Self::state) are restored: the next prepared update is step
    /// `t + 1`.
    pub fn set_step_state(&mut self, state: StepState) {
        self.step_state = state;
    }

    /// How its sums are shared out among threads.
    pub fn shape(&self) -> &GradientLayout {
        self.kernel.shape()
    }
}

/// The overrides by which `update.wgsl` penalizes weights.
pub(super) fn penalty_constants(
    penalty: &Penalty,
    rule: &Rule,
    shape: &GradientLayout,
) -> [(&'static str, f64); 4] {
    let l1_factor = penalty.proximal_factor(rule);
    [
        ("PENALIZED", f64::from(shape.outputs * shape.vectors)),
        ("L2_FACTOR", penalty.l2_factor()),
        ("L1_FACTOR", l1_factor),
        flag("HAS_L1", l1_factor != 0.0),
    ]
}
