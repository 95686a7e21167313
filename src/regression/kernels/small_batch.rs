//! Many updates of a small problem in one dispatch, for problems whose updates cost less than a dispatch.

mod batches;
mod sharing;
mod tables;

use super::descent::{DescentOptions, penalty_constants};
use super::row_sums::constants;
use super::segments::Purpose;
use super::shape::THREADS;
use super::steps::{self, USED};
use super::{DeviceDataset, GradientLayout, RowSource};
use super::{needs, shader};
use crate::cpu::{RuleConstants, StepState};
use crate::gpu::bindings::{BufferAccess, check_limit, group_of, layout_of, pipeline_over};
use crate::gpu::dispatch::flag;
use crate::gpu::kernels::{self, Options, Variant};
use crate::gpu::span::{Limits, Span};
use crate::gpu::steps::COUNTED;
use crate::regression::Batch;
use crate::{Error, Model, Penalty, Rule};
use sharing::Sharing;
use tables::{Room, Tables};
use wgpu::{BindGroup, BufferUsages, ComputePass, ComputePipeline, Device, Queue};

/// Updates of a model that is so small that one thread or one workgroup makes them all: all prepared updates in one
/// dispatch, or in several if a driver might not survive one.
///
/// The order of the sums over a batch follows from the model and [`DescentOptions::max_batch`]: the same bits on the
/// same device, however updates are divided among dispatches. They are not the bits of a
/// [`Descent`](super::Descent).
#[derive(Debug)]
pub struct SmallBatchKernel {
    options: DescentOptions,
    rules: Vec<Rule>,
    rows: RowSource,
    shape: GradientLayout,
    sharing: Sharing,
    kernel: ComputePipeline,
    data_bindings: BindGroup,
    bindings: BindGroup,
    grid: [u32; 2],
    tables: Tables,
    params: Span,
    at_once: u64,
    step_states: Vec<StepState>,
    prepared: u32,
}

impl SmallBatchKernel {
    /// Whether batches of up to `max_batch` rows are so small that this is the way: one output, up to 2044
    /// features, and up to 1024 rows of 4096 vec4 in all.
    pub fn fits(model: &Model, max_batch: u64) -> bool {
        Sharing::new(model, max_batch).is_some()
    }

    /// Updates of the parameters in `params`, [`GradientLayout::padded_len`] elements as [`GradientLayout::pad`] has them;
    /// `traced` keeps the parameters after every update. The rows must lie in one chunk.
    ///
    /// # Errors
    /// [`Error::Shape`] if the problem does not [`fit`](Self::fits) or its rows are not in one chunk;
    /// [`Error::Length`], [`Error::OutOfBounds`], [`Error::Misaligned`] and [`Error::MissingUsage`] for the
    /// span; [`Error::Limit`] for the limits of the device; [`Error::HyperParameter`] for the model,
    /// the rule, the penalty or the average.
    pub fn new(
        device: &Device,
        samples: &DeviceDataset,
        params: &Span,
        options: DescentOptions,
        traced: bool,
    ) -> Result<Self, Error> {
        let rules = vec![options.rule];
        Self::of_settings(device, samples, params, rules, 1, options, traced)
    }

    /// Bytes of all buffers for traced updates of one setting.
    pub(crate) fn bytes_of(shape: &GradientLayout, options: &DescentOptions) -> u64 {
        let DescentOptions { model, rule, average, max_batch, max_batches, shuffled, .. } = *options;
        let planes = (rule.moments().len() + usize::from(average.is_some())).max(1) as u64;
        let at_once = Sharing::new(&model, max_batch)
            .map_or(1, |sharing| sharing.updates(shape, planes, max_batch, 1));
        let room = Room {
            settings: 1,
            orders: 1,
            max_updates: max_batches.into(),
            at_once,
            listed: if shuffled { max_batch } else { 0 },
            len: shape.padded_len(),
            planes,
            traced: true,
        };
        room.sizes().iter().sum::<u64>() + (USED - COUNTED) as u64
    }

    /// Updates by several settings of one rule side by side, each once for every one of `orders` orders of
    /// the rows; the fits of the first order come first. All settings have one [`kernel`].
    pub(super) fn of_settings(
        device: &Device,
        samples: &DeviceDataset,
        params: &Span,
        rules: Vec<Rule>,
        orders: usize,
        options: DescentOptions,
        traced: bool,
    ) -> Result<Self, Error> {
        let DescentOptions { model, penalty, average, max_batch, shuffled, .. } = options;
        rules.iter().try_for_each(Rule::validate)?;
        penalty.validate()?;
        if let Some(decay) = average {
            crate::check::Check("average").decay("decay", decay)?;
        }
        let limits = Limits::of(device);
        let rows = RowSource::from(samples);
        let shape = rows.check(&model)?;
        let max_batch = max_batch.clamp(1, rows.count().max(1));
        let max_updates = u64::from(options.max_batches.max(1));
        let options = DescentOptions { max_batch, max_batches: max_updates as u32, ..options };
        let shape_error = |what, value, range| Error::Shape { what, value, range };
        let sharing = Sharing::new(&model, max_batch).ok_or_else(|| {
            let range = "as small as Epochs::fits says";
            shape_error("the number of rows in a batch", max_batch, range)
        })?;
        let [chunk] = samples.chunks() else {
            let chunks = samples.chunks().len() as u64;
            return Err(shape_error("the number of chunks of the data", chunks, "1"));
        };
        needs::EPOCHS.check(device)?;

        let fits = (rules.len() * orders) as u64;
        let len = fits * shape.padded_len();
        params.check(|| "params".into(), limits.quantum(), BufferUsages::STORAGE)?;
        if params.len != len {
            return Err(Error::Length { what: "params".into(), actual: params.len, expected: len });
        }
        let (kernel_options, variant) = kernel(device, &rules[0], average);
        let planes = kernel_options.planes(&rules[0]).count().max(1);
        let at_once = sharing.updates(&shape, planes, max_batch, fits);
        let workgroup = if kernels::is_processor(device) { 8 } else { THREADS };
        let groups = match sharing {
            Sharing::PerThread => (rules.len() as u64).div_ceil(workgroup.into()),
            Sharing::PerWorkgroup { .. } => rules.len() as u64,
        };
        let hint = " for this number of settings and orders of rows";
        let limit = "max_compute_workgroups_per_dimension";
        check_limit(limit, limits.max_groups, groups.max(orders as u64), hint)?;

        let room = Room {
            settings: rules.len() as u64,
            orders: orders as u64,
            max_updates,
            at_once,
            listed: if shuffled { max_batch } else { 0 },
            len,
            planes,
            traced,
        };
        let tables = Tables::new(device, &rules, room)?;
        let data_layout = layout_of(device, "rows", &[(1, BufferAccess::Read), (2, BufferAccess::Read)]);
        let data = [(1, chunk.x.as_entire_binding()), (2, chunk.aux.as_entire_binding())];
        let data_bindings = group_of(device, "rows", &data_layout, data);
        let tables_layout = Tables::layout(device);
        let bindings = tables.bindings(device, &tables_layout, params);

        let (packed, per_thread) = (!shape.stride.is_multiple_of(4), sharing == Sharing::PerThread);
        let name = rules[0].name();
        let module = shader::gradient_epochs(name, &model.loss, variant.file, packed, per_thread);
        let purpose = Purpose { metrics: false, shuffled, max_batch, max_batches: options.max_batches };
        let mut all = constants(&shape, &model, purpose);
        all.extend(variant.overrides);
        all.extend(penalty_constants(&penalty, &rules[0], &shape));
        all.extend([
            ("SETTINGS", rules.len() as f64),
            ("ORDERS", orders as f64),
            ("MAX_UPDATES", max_updates as f64),
            flag("TRACED", traced),
            ("WORKGROUP", workgroup.into()),
        ]);
        if let Sharing::PerWorkgroup { columns } = sharing {
            all.extend([("COLUMNS", columns.into()), ("SHARES", (THREADS / columns).into())]);
        }
        let layouts = [Some(&data_layout), Some(&tables_layout)];
        let kernel = pipeline_over(device, &module, "main", &layouts, &module.declared(all));
        Ok(SmallBatchKernel {
            step_states: vec![StepState::default(); rules.len()],
            options,
            rules,
            rows,
            shape,
            sharing,
            kernel,
            data_bindings,
            bindings,
            grid: [groups as u32, orders as u32],
            tables,
            params: params.clone(),
            at_once,
            prepared: 0,
        })
    }

    /// Describes the updates that are to be recorded next, all of them and in order, and takes their steps:
    /// a batch each, and the learning rate of it. The queue copies them before its next submission, so the
    /// last ones must have been submitted.
    ///
    /// # Errors
    /// [`Error::Shape`] for too many batches, or for one that is empty, too long, past the data's end, or
    /// in a window that was not asked for; [`Error::Length`] for another number of learning rates. Nothing
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
        self.prepare_orders(queue, &[batches], |_, update| learning_rates[update])
    }

    /// [`prepare`](Self::prepare) for the batches of each order, with the learning rate of a setting's update.
    pub(super) fn prepare_orders(
        &mut self,
        queue: &Queue,
        orders: &[&[Batch]],
        learning_rate: impl Fn(usize, usize) -> f32,
    ) -> Result<(), Error> {
        let updates = orders.first().map_or(0, |batches| batches.len());
        let words = batches::words(&self.options, &self.rows, orders, updates)?;
        let settings = self.rules.len();
        let mut steps = vec![[0f32; COUNTED / 4]; updates * settings];
        for (setting, (rule, state)) in self.rules.iter().zip(&mut self.step_states).enumerate() {
            let constants = RuleConstants::new(rule);
            for update in 0..updates {
                let step = state.advance(&constants, learning_rate(setting, update));
                steps[update * settings + setting] = steps::counted(&step);
            }
        }
        self.tables.write(queue, updates as u64, &words, &steps);
        self.prepared = updates as u32;
        Ok(())
    }

    /// Records all prepared updates; nothing if there are none.
    pub fn record(&self, pass: &mut ComputePass) {
        (0..self.parts()).for_each(|part| self.record_part(pass, part));
    }

    /// The dispatches of all prepared updates.
    pub fn parts(&self) -> usize {
        self.tables.parts(self.prepared.into()) as usize
    }

    /// Records one of them. All are recorded in order, in any number of submissions.
    pub fn record_part(&self, pass: &mut ComputePass, part: usize) {
        if part >= self.parts() {
            return;
        }
        pass.set_pipeline(&self.kernel);
        pass.set_bind_group(0, &self.data_bindings, &[]);
        pass.set_bind_group(1, &self.bindings, &[Tables::offset(part)]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }

    /// The loss of each prepared batch before its update, one f32 each; usage `COPY_SRC`.
    pub fn losses(&self) -> Span {
        self.tables.losses()
    }

    /// The gradient of the last update, as long as the parameters; usage `COPY_SRC`.
    pub fn gradient(&self) -> Span {
        self.tables.gradient()
    }

    /// The parameters after each prepared update in turn, if they are traced; usage `COPY_SRC`.
    pub fn trace(&self) -> Option<Span> {
        self.tables.trace()
    }

    /// The parameters.
    pub fn params(&self) -> &Span {
        &self.params
    }

    /// The moments, in the order of [`Rule::moments`], and then the average, if there is one; each as
    /// long as the parameters, usages `COPY_SRC` and `COPY_DST`.
    pub fn state(&self) -> Vec<Span> {
        let planes = self.rules[0].moments().len() + usize::from(self.options.average.is_some());
        (0..planes as u64).map(|i| self.tables.plane(i)).collect()
    }

    /// The place of one of several fits.
    pub(super) fn fit(&self, fit: u64) -> Fit {
        let len = self.shape.padded_len();
        let of = |all: &Span| Span::new(&all.buffer, all.offset + fit * len * 4, len);
        Fit {
            params: of(&self.params),
            moments: self.state().iter().map(of).collect(),
            gradient: of(&self.gradient()),
            loss: Span { offset: self.losses().offset + fit * 4, len: 1, ..self.losses() },
        }
    }

    /// Steps taken, and the powers that correct the moments' bias.
    pub fn step_state(&self) -> StepState {
        self.step_states[0]
    }

    /// Sets them, as when parameters and [`state`](Self::state) are restored: the next prepared update is step
    /// `t + 1`.
    pub fn set_step_state(&mut self, state: StepState) {
        self.step_states.fill(state);
    }

    /// The most updates of one dispatch.
    pub fn updates_at_once(&self) -> u64 {
        self.at_once
    }

    /// The longest chains of additions behind an element of the gradient of `batch` and behind a score, for
    /// error bounds.
    pub fn depths(&self, batch: Batch) -> (u32, u32) {
        self.sharing.depths(&self.shape, batch.rows)
    }

    /// The layout of rows and parameters.
    pub fn shape(&self) -> &GradientLayout {
        &self.shape
    }
}

/// The place of a setting's model in one order of the rows on the device, in the order of [`GradientLayout::pad`];
/// usage `COPY_SRC`.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The parameters.
    pub params: Span,
    /// One for each of [`Rule::moments`].
    pub moments: Vec<Span>,
    /// The gradient of the last update.
    pub gradient: Span,
    /// The loss before the first update that was prepared.
    pub loss: Span,
}

/// The variant of a rule's kernel: settings of equal variant and equal [`Penalty::proximal_factor`] share one.
pub(super) fn kernel(device: &Device, rule: &Rule, average: Option<f64>) -> (Options, Variant) {
    let options = Options { average, ..Options::new(Limits::of(device)) };
    let variant = options.variant(rule);
    (options, variant)
}

/// Whether settings of a rule differ in nothing but numbers that the kernel reads.
pub(super) fn share_a_kernel(device: &Device, penalty: &Penalty, a: &Rule, b: &Rule) -> bool {
    let variant = |rule| kernel(device, rule, None).1;
    a.name() == b.name()
        && variant(a) == variant(b)
        && penalty.proximal_factor(a) == penalty.proximal_factor(b)
}
