//! The kernels that read rows: partial sums of batches, for a gradient or for what evaluates a model.

use super::shape::{Reduction, THREADS};
use super::{GradientLayout, Rows};
use super::{needs, shader};
use crate::gpu::bindings::{BufferAccess, check_limit, group_of, layout_of, pipeline_over};
use crate::gpu::shader::Module;
use crate::gpu::span::{Limits, Span, grid};
use crate::regression::Batch;
use crate::{Error, Model};
use std::ops::Range;
use wgpu::{BindGroup, Buffer, BufferUsages, ComputePass, ComputePipeline, Device, Queue};

/// Bytes from one run's description to the next: WebGPU's alignment of dynamic offsets.
const SLOT: u64 = 256;
/// Columns that a workgroup of `reduce.wgsl` adds up.
const SUM_COLUMNS: u32 = 4;

const FIRST_RUN: u32 = 1;
const LAST_RUN: u32 = 2;
const ODD_RUN: u32 = 4;

/// What a kernel knows of a run of rows; `struct Run` in `shaders/gradient/order.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Description {
    first_row: u32,
    rows: u32,
    partials: u32,
    flags: u32,
    gradient_scale: f32,
    loss_scale: f32,
    loss_slot: u32,
    shift: f32,
    base: u64,
    position: u32,
    window: u32,
    key: [u32; 2],
    half_bits: u32,
    zero: f32,
    first_group: u32,
    first_item: u32,
}

/// One run's place among the descriptions and in the data set.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Where it is described.
    pub offset: u32,
    chunk: usize,
    rows: u32,
    /// How many descriptions it has, each of a part.
    parts: u32,
}

impl Run {
    /// The first of `count` things that is a part's.
    fn first(&self, part: u32, count: u32) -> u32 {
        (u64::from(count) * u64::from(part) / u64::from(self.parts)) as u32
    }
}

/// What a run consists of, one behind the other, and each of them in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Targets,
    Scores,
    Derivatives,
    Reduction,
}

/// What the sums are for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// What evaluates a model, in the place of a gradient.
    pub metrics: bool,
    /// Batches may be those of a shuffled window.
    pub shuffled: bool,
    /// The most rows of a batch, and the most batches that are prepared at a time.
    pub max_batch: u64,
    pub max_batches: u32,
}

/// Bytes of what sums are made in.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub partials: u64,
    pub scores: u64,
    pub descriptions: u64,
}

impl Sizes {
    /// Where a batch comes in at most so many runs.
    pub fn new(shape: &GradientLayout, most_runs: u64, purpose: &Purpose) -> Self {
        let run_rows = purpose.max_batch.min(shape.run_rows());
        let groups = u64::from(shape.groups(run_rows as u32));
        let two = shape.sums == Reduction::TwoPasses;
        let parts = u64::from(shape.parts(run_rows as u32));
        Sizes {
            partials: groups * u64::from(shape.partial_vectors(purpose.metrics)) * 16,
            scores: if two { run_rows * u64::from(shape.outputs) * 4 } else { 4 },
            descriptions: u64::from(purpose.max_batches)
                .saturating_mul(most_runs)
                .saturating_mul(parts * SLOT),
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.partials + self.scores + self.descriptions
    }
}

/// Kernels over the rows of a data set, and the batches that are prepared for them.
#[derive(Debug)]
pub struct RowSums {
    rows: Rows,
    model: Model,
    shape: GradientLayout,
    purpose: Purpose,
    kernels: Kernels,
    bindings: Vec<BindGroup>,
    target_bindings: Option<BindGroup>,
    descriptions: Buffer,
    /// Partial sums of one run.
    pub partials: Buffer,
    max_groups: u32,
    prepared: Vec<Vec<Run>>,
}

#[derive(Debug)]
enum Kernels {
    OnePass(ComputePipeline),
    TwoPasses { scores: ComputePipeline, derivatives: ComputePipeline, columns: ComputePipeline },
}

impl RowSums {
    pub fn new(
        device: &Device,
        rows: &Rows,
        model: &Model,
        params: &Span,
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let limits = Limits::of(device);
        let shape = rows.check(model)?;
        let max_batch = purpose.max_batch.clamp(1, rows.count().max(1));
        let purpose = Purpose { max_batch, max_batches: purpose.max_batches.max(1), ..purpose };
        let needs = if rows.is_stored() { needs::SUMS } else { needs::VIRTUAL_SUMS };
        needs.check(device)?;
        check_params("params", &shape, params, &limits)?;

        let two = shape.sums == Reduction::TwoPasses;
        let sizes = Sizes::new(&shape, rows.most_runs(max_batch), &purpose);
        let hint = " for a batch's scores and partial sums";
        let (limit, available) = ("max_storage_buffer_binding_size", limits.max_binding);
        check_limit(limit, available, sizes.partials.max(sizes.scores), hint)?;
        // Offsets into the descriptions are u32. Losses are a sixty-fourth of them, and fit where they do.
        let available = device.limits().max_buffer_size.min(u32::MAX.into());
        let hint = " for the descriptions of batches: prepare fewer at a time";
        check_limit("max_buffer_size", available, sizes.descriptions, hint)?;

        let buffer = |label, size, usage| {
            let label = Some(label);
            device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let partials = buffer("partial sums", sizes.partials, BufferUsages::STORAGE);
        let scores = buffer("scores", sizes.scores, BufferUsages::STORAGE);
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let descriptions = buffer("batches", sizes.descriptions, usage);

        use BufferAccess::{DynamicUniform, Read, Write};
        let mut uses = vec![(0, DynamicUniform), (2, Read), (3, Read), (4, Write)];
        uses.extend(rows.is_stored().then_some((1, Read)));
        uses.extend(two.then_some((5, Write)));
        let layout = layout_of(device, "gradient", &uses);
        let bindings = rows.buffers().into_iter().map(|(x, sides)| {
            let mut resources = vec![
                (0, run_binding(&descriptions)),
                (2, sides.as_entire_binding()),
                (3, params.whole_binding()),
                (4, partials.as_entire_binding()),
            ];
            resources.extend(x.map(|x| (1, x.as_entire_binding())));
            resources.extend(two.then(|| (5, scores.as_entire_binding())));
            group_of(device, "gradient", &layout, resources)
        });
        let bindings = bindings.collect();

        let constants = constants(&shape, model, purpose);
        let generator = rows.generator();
        let target_bindings = rows.target_bindings(device, run_binding(&descriptions));
        let mut layouts = vec![Some(&layout)];
        let made = generator.map_or(vec![], |generator| generator.constants());
        layouts.extend(generator.map(|generator| Some(generator.layout())));
        let make = |module: Module, more: &[(&'static str, f64)]| {
            let constants = module.declared([&constants[..], &made, more].concat());
            pipeline_over(device, &module, "main", &layouts, &constants)
        };
        let stored = rows.is_stored();
        let kernels = match shape.sums {
            Reduction::Teams { lanes, blocks, rows } => {
                let more =
                    [("LANES", lanes.into()), ("BLOCKS", blocks.into()), ("ROWS", f64::from(rows))];
                Kernels::OnePass(make(shader::gradient_one_pass(&model.loss, stored), &more))
            }
            Reduction::Tiles { rows } => {
                let module = shader::gradient_tiles(&model.loss, stored);
                Kernels::OnePass(make(module, &[("ROWS", rows.into())]))
            }
            Reduction::TwoPasses => Kernels::TwoPasses {
                scores: make(shader::gradient_scores(stored), &[]),
                derivatives: make(shader::gradient_derivatives(&model.loss, stored), &[]),
                columns: make(shader::gradient_columns(stored), &[]),
            },
        };
        Ok(RowSums {
            rows: rows.clone(),
            model: *model,
            shape,
            purpose,
            kernels,
            bindings,
            target_bindings,
            descriptions,
            partials,
            max_groups: limits.max_groups,
            prepared: Vec::new(),
        })
    }

    /// Describes the batches that are to be recorded next; `shift` is near the targets' mean.
    pub fn prepare(&mut self, queue: &Queue, batches: &[Batch], shift: f32) -> Result<(), Error> {
        let shape_error = |what, value, range| Err(Error::Shape { what, value, range });
        if batches.len() > self.purpose.max_batches as usize {
            let range = "no more than the gradient was made for";
            return shape_error("the number of batches", batches.len() as u64, range);
        }
        let mut bytes = Vec::new();
        let mut prepared = Vec::new();
        for (slot, batch) in batches.iter().enumerate() {
            if batch.rows == 0 || batch.rows > self.purpose.max_batch {
                let range = "at least 1 and no more than the gradient was made for";
                return shape_error("the number of rows in a batch", batch.rows, range);
            }
            let end = batch.first.saturating_add(batch.rows);
            if end > self.rows.count() {
                return shape_error("the end of a batch", end, "within the data");
            }
            let places = self.rows.places(batch, self.purpose.shuffled)?;
            let (of_loss, of_gradient) = self.model.loss.factors();
            let over = if self.model.weighted { 1.0 } else { batch.rows as f64 };
            let last = places.len().saturating_sub(1);
            let mut runs = Vec::new();
            for (i, place) in places.iter().enumerate() {
                let (offset, parts) = (bytes.len() as u32, self.shape.parts(place.rows));
                let run = Run { offset, chunk: place.chunk, rows: place.rows, parts };
                let flag = |set: bool, flag: u32| if set { flag } else { 0 };
                let description = Description {
                    first_row: place.first_row,
                    rows: place.rows,
                    partials: self.shape.groups(place.rows),
                    flags: flag(i == 0, FIRST_RUN)
                        | flag(i == last, LAST_RUN)
                        | flag(i % 2 == 1, ODD_RUN),
                    gradient_scale: (of_gradient / over) as f32,
                    loss_scale: (of_loss / over) as f32,
                    loss_slot: slot as u32,
                    shift,
                    base: place.base,
                    position: place.position,
                    window: batch.window.map_or(0, |window| window.rows),
                    key: batch.window.map_or([0; 2], |window| window.key),
                    half_bits: batch.window.map_or(0, |window| window.half_bits()),
                    zero: 0.0,
                    first_group: 0,
                    first_item: 0,
                };
                let groups = description.partials;
                for part in 0..parts {
                    let first_group = run.first(part, groups);
                    let first_item = run.first(part, run.rows);
                    let description = Description { first_group, first_item, ..description };
                    bytes.extend_from_slice(bytemuck::bytes_of(&description));
                    bytes.resize(bytes.len().next_multiple_of(SLOT as usize), 0);
                }
                runs.push(run);
            }
            prepared.push(runs);
        }
        if bytes.len() as u64 > self.descriptions.size() {
            let range = "fewer: the data are cut where they are not aligned with the batches";
            return shape_error("the number of batches", batches.len() as u64, range);
        }
        queue.write_buffer(&self.descriptions, 0, &bytes);
        self.prepared = prepared;
        Ok(())
    }

    /// The runs of the `index`-th prepared batch; none if there is none.
    pub fn runs(&self, index: usize) -> &[Run] {
        self.prepared.get(index).map_or(&[], Vec::as_slice)
    }

    /// The chunk of the data that a run of a prepared batch lies in; 0 if there is none.
    pub fn chunk(&self, index: usize, run: usize) -> usize {
        self.runs(index).get(run).map_or(0, |run| run.chunk)
    }

    fn stages(&self) -> &'static [Stage] {
        use Stage::{Derivatives, Reduction, Scores, Targets};
        match (&self.kernels, self.rows.is_stored(), self.purpose.metrics) {
            (Kernels::OnePass(_), true, _) => &[Reduction],
            (Kernels::OnePass(_), false, _) => &[Targets, Reduction],
            (Kernels::TwoPasses { .. }, true, false) => &[Scores, Derivatives, Reduction],
            (Kernels::TwoPasses { .. }, false, false) => &[Targets, Scores, Derivatives, Reduction],
            (Kernels::TwoPasses { .. }, true, true) => &[Scores, Derivatives],
            (Kernels::TwoPasses { .. }, false, true) => &[Targets, Scores, Derivatives],
        }
    }

    /// How many steps the partial sums of a run can be made in; 0 if there is no such run.
    pub fn steps(&self, index: usize, run: usize) -> usize {
        self.runs(index).get(run).map_or(0, |run| self.stages().len() * run.parts as usize)
    }

    /// Records some of the steps that the partial sums of a run are made in. Those of a stage that are recorded
    /// together are one dispatch.
    pub fn record_steps(&self, pass: &mut ComputePass, run: &Run, steps: Range<usize>) {
        let parts = run.parts as usize;
        for (i, &stage) in self.stages().iter().enumerate() {
            let first = steps.start.max(i * parts);
            let end = steps.end.min((i + 1) * parts);
            if first < end {
                self.record_stage(
                    pass,
                    run,
                    stage,
                    (first - i * parts) as u32..(end - i * parts) as u32,
                );
            }
        }
    }

    fn record_stage(&self, pass: &mut ComputePass, run: &Run, stage: Stage, parts: Range<u32>) {
        let shape = &self.shape;
        let offset = run.offset + parts.start * SLOT as u32;
        let share = |count| run.first(parts.end, count) - run.first(parts.start, count);
        let rows = share(run.rows);
        if stage == Stage::Targets {
            self.rows.record_targets(pass, self.target_bindings.as_ref(), offset, rows);
            return;
        }
        pass.set_bind_group(0, &self.bindings[run.chunk], &[offset]);
        if let Some(generator) = self.rows.generator() {
            pass.set_bind_group(1, generator.bind_group(), &[]);
        }
        let groups = share(shape.groups(run.rows));
        match (&self.kernels, stage) {
            (Kernels::OnePass(kernel), _) => {
                pass.set_pipeline(kernel);
                pass.dispatch_workgroups(groups, 1, 1);
            }
            (Kernels::TwoPasses { scores, .. }, Stage::Scores) => {
                pass.set_pipeline(scores);
                let [x, y, _] = grid(u64::from(rows), 1, self.max_groups);
                pass.dispatch_workgroups(x, y, shape.outputs.div_ceil(4));
            }
            (Kernels::TwoPasses { derivatives, .. }, Stage::Derivatives) => {
                pass.set_pipeline(derivatives);
                pass.dispatch_workgroups(groups, 1, 1);
            }
            (Kernels::TwoPasses { columns, .. }, _) => {
                pass.set_pipeline(columns);
                let tiles = shape.outputs.div_ceil(8);
                pass.dispatch_workgroups(groups, shape.vectors.div_ceil(THREADS), tiles);
            }
        }
    }

    /// About how many bytes a run of a prepared batch is read from and written to, its sums included; 0 if there
    /// is none.
    pub fn bytes(&self, index: usize, run: usize) -> u64 {
        let Some(run) = self.runs(index).get(run) else { return 0 };
        let shape = &self.shape;
        let rows = u64::from(run.rows)
            * (u64::from(shape.passes()) * shape.row_bytes() + 4 * u64::from(shape.side));
        let sums = 2 * u64::from(shape.groups(run.rows)) + 4;
        rows + sums * u64::from(shape.partial_vectors(self.purpose.metrics)) * 16
    }

    /// The workgroups that add up the partial sums of a run.
    pub fn sum_grid(&self) -> [u32; 3] {
        let columns = u64::from(self.shape.partial_vectors(self.purpose.metrics));
        grid(columns, SUM_COLUMNS, self.max_groups)
    }

    pub fn shape(&self) -> &GradientLayout {
        &self.shape
    }

    /// The most runs that a batch comes in.
    pub fn most_runs(&self) -> u64 {
        self.rows.most_runs(self.purpose.max_batch)
    }

    /// Where runs are described.
    pub fn run_binding(&self) -> wgpu::BindingResource<'_> {
        run_binding(&self.descriptions)
    }

    /// The lengths of the runs that a batch is summed by.
    pub fn run_lengths(&self, batch: &Batch) -> Vec<u32> {
        // Of what lies within the data.
        let rows = batch.rows.min(self.rows.count().saturating_sub(batch.first));
        let places = self.rows.places(&Batch { rows, ..*batch }, true).unwrap_or_default();
        places.iter().map(|place| place.rows).collect()
    }
}

fn run_binding(descriptions: &Buffer) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: descriptions,
        offset: 0,
        size: std::num::NonZeroU64::new(size_of::<Description>() as u64),
    })
}

/// The overrides of `batch.wgsl` and of the loss.
pub fn constants(shape: &GradientLayout, model: &Model, purpose: Purpose) -> Vec<(&'static str, f64)> {
    let at = |at: Option<usize>| at.unwrap_or(0) as f64;
    let mut constants = vec![
        ("FEATURES", shape.features.into()),
        ("VECTORS", shape.vectors.into()),
        ("STRIDE", shape.stride.into()),
        ("OUTPUTS", shape.outputs.into()),
        ("INTERCEPTS", shape.intercepts.into()),
        ("SIDE", shape.side.into()),
        ("WEIGHTED", f64::from(u8::from(model.weighted))),
        ("WEIGHT_AT", at(model.weight_at())),
        ("OFFSET", f64::from(u8::from(model.offset))),
        ("OFFSET_AT", at(model.offset_at())),
        ("SHUFFLED", f64::from(u8::from(purpose.shuffled))),
        ("METRICS", f64::from(u8::from(purpose.metrics))),
        ("PARTIAL", shape.partial_vectors(purpose.metrics).into()),
    ];
    constants.extend(model.loss.overrides());
    constants
}

/// Parameters, or their gradient, as they lie on the device.
pub fn check_params(
    what: &str,
    shape: &GradientLayout,
    span: &Span,
    limits: &Limits,
) -> Result<(), Error> {
    span.check(|| what.into(), limits.quantum(), BufferUsages::STORAGE)?;
    let expected = shape.padded_len();
    if span.len != expected {
        return Err(Error::Length { what: what.into(), actual: span.len, expected });
    }
    let (limit, hint) = ("max_storage_buffer_binding_size", " for the model's parameters");
    check_limit(limit, limits.max_binding, expected * 4, hint)
}
