//! Partial sums over the rows of prepared batches: one pass over X or two, and before them the targets of rows that
//! are generated.

use super::segments::{PreparedBatches, Purpose, RowSegment};
use super::shape::{Reduction, THREADS};
use super::{GradientLayout, RowSource};
use super::{needs, shader};
use crate::gpu::bindings::{BufferAccess, check_limit, group_of, layout_of, pipeline_over};
use crate::gpu::shader::Module;
use crate::gpu::span::{Limits, Span, grid};
use crate::{Error, Model};
use std::ops::Range;
use wgpu::{BindGroup, Buffer, BufferUsages, ComputePass, ComputePipeline, Device};

/// Columns that a workgroup of `reduce.wgsl` adds up.
const SUM_COLUMNS: u32 = 4;

/// The stages of the sums of a segment, in order. Each consists of slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Targets,
    Scores,
    Derivatives,
    Reduction,
}

impl Stage {
    fn all(sums: Reduction, stored: bool, metrics: bool) -> &'static [Stage] {
        use Stage::{Derivatives, Reduction as Reduce, Scores, Targets};
        match (sums == Reduction::TwoPasses, stored, metrics) {
            (false, true, _) => &[Reduce],
            (false, false, _) => &[Targets, Reduce],
            (true, true, false) => &[Scores, Derivatives, Reduce],
            (true, false, false) => &[Targets, Scores, Derivatives, Reduce],
            (true, true, true) => &[Scores, Derivatives],
            (true, false, true) => &[Targets, Scores, Derivatives],
        }
    }
}

/// Bytes of the partial sums of a segment, and of its scores.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub partials: u64,
    pub scores: u64,
}

impl Sizes {
    pub fn new(shape: &GradientLayout, purpose: &Purpose) -> Self {
        let rows = purpose.max_batch.min(shape.segment_rows());
        let groups = u64::from(shape.groups(rows as u32));
        let two = shape.sums == Reduction::TwoPasses;
        Sizes {
            partials: groups * u64::from(shape.partial_vectors(purpose.metrics)) * 16,
            scores: if two { rows * u64::from(shape.outputs) * 4 } else { 4 },
        }
    }
}

/// The kernels that sum, and the batches that are prepared for them.
#[derive(Debug)]
pub struct RowSums {
    rows: RowSource,
    shape: GradientLayout,
    purpose: Purpose,
    kernels: Kernels,
    stages: &'static [Stage],
    bindings: Vec<BindGroup>,
    target_bindings: Option<BindGroup>,
    pub batches: PreparedBatches,
    /// The partial sums of one segment.
    pub partials: Buffer,
    max_groups: u32,
}

#[derive(Debug)]
enum Kernels {
    OnePass(ComputePipeline),
    TwoPasses { scores: ComputePipeline, derivatives: ComputePipeline, columns: ComputePipeline },
}

impl RowSums {
    pub fn new(
        device: &Device,
        rows: &RowSource,
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
        let sizes = Sizes::new(&shape, &purpose);
        let hint = " for a batch's scores and partial sums";
        let (limit, available) = ("max_storage_buffer_binding_size", limits.max_binding);
        check_limit(limit, available, sizes.partials.max(sizes.scores), hint)?;
        let stages = Stage::all(shape.sums, rows.is_stored(), purpose.metrics);
        let batches = PreparedBatches::new(device, rows, model, shape, purpose, stages.len())?;

        let buffer = |label, size| {
            let (label, usage) = (Some(label), BufferUsages::STORAGE);
            device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let partials = buffer("partial sums", sizes.partials);
        let scores = buffer("scores", sizes.scores);

        use BufferAccess::{DynamicUniform, Read, Write};
        let mut uses = vec![(0, DynamicUniform), (2, Read), (3, Read), (4, Write)];
        uses.extend(rows.is_stored().then_some((1, Read)));
        uses.extend(two.then_some((5, Write)));
        let layout = layout_of(device, "gradient", &uses);
        let bindings = rows.buffers().into_iter().map(|(x, aux)| {
            let mut resources = vec![
                (0, batches.binding()),
                (2, aux.as_entire_binding()),
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
        let target_bindings = rows.target_bindings(device, batches.binding());
        let mut layouts = vec![Some(&layout)];
        let generated = generator.map_or(vec![], |generator| generator.constants());
        layouts.extend(generator.map(|generator| Some(generator.layout())));
        let make = |module: Module, more: &[(&'static str, f64)]| {
            let constants = module.declared([&constants[..], &generated, more].concat());
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
            shape,
            purpose,
            kernels,
            stages,
            bindings,
            target_bindings,
            batches,
            partials,
            max_groups: limits.max_groups,
        })
    }

    /// Records slices of a segment. Those of one stage are one dispatch.
    pub fn record_slices(&self, pass: &mut ComputePass, segment: &RowSegment, slices: Range<usize>) {
        let each = segment.stage_slices as usize;
        for (i, &stage) in self.stages.iter().enumerate() {
            let first = slices.start.max(i * each);
            let end = slices.end.min((i + 1) * each);
            if first < end {
                let slices = (first - i * each) as u32..(end - i * each) as u32;
                self.record_stage(pass, segment, stage, slices);
            }
        }
    }

    fn record_stage(
        &self,
        pass: &mut ComputePass,
        segment: &RowSegment,
        stage: Stage,
        slices: Range<u32>,
    ) {
        let shape = &self.shape;
        let offset = segment.offset(slices.start);
        let share = |count| segment.first(slices.end, count) - segment.first(slices.start, count);
        let rows = share(segment.rows);
        if stage == Stage::Targets {
            self.rows.record_targets(pass, self.target_bindings.as_ref(), offset, rows);
            return;
        }
        pass.set_bind_group(0, &self.bindings[segment.chunk], &[offset]);
        if let Some(generator) = self.rows.generator() {
            pass.set_bind_group(1, generator.bind_group(), &[]);
        }
        let groups = share(shape.groups(segment.rows));
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

    /// The workgroups that add up the partial sums of a segment.
    pub fn sum_grid(&self) -> [u32; 3] {
        let columns = u64::from(self.shape.partial_vectors(self.purpose.metrics));
        grid(columns, SUM_COLUMNS, self.max_groups)
    }

    pub fn shape(&self) -> &GradientLayout {
        &self.shape
    }

    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }
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
        ("AUX_COLUMNS", shape.aux_columns.into()),
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

/// Checks a span of parameters, or of their gradient.
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
