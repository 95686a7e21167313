//! The source of the rows that kernels sum over, and the segments of a batch in it.

use super::shader;
use super::shape::GradientLayout;
use super::synthetic::Generator;
use super::{Chunk, DeviceDataset};
use crate::gpu::bindings::{BufferAccess, check_limit, group, layout, pipeline_over};
use crate::gpu::span::Limits;
use crate::regression::Batch;
use crate::regression::reference::synthetic::Synthetic;
use crate::{Error, Model};
use wgpu::{BindGroup, BindGroupLayout, Buffer, BufferUsages, ComputePass, ComputePipeline, Device};

/// The rows that kernels sum over: those of a [`DeviceDataset`], or of a [`Synthetic`] problem, generated inside the
/// kernels.
#[derive(Clone, Debug)]
pub struct RowSource {
    shape: GradientLayout,
    rows: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Stored(DeviceDataset),
    Virtual(Box<Virtual>),
}

/// Rows that are never stored: X is generated inside the kernels that read it, the targets of a segment before it is
/// summed.
#[derive(Clone, Debug)]
struct Virtual {
    generator: Generator,
    targets: ComputePipeline,
    layout: BindGroupLayout,
    /// Of one segment.
    aux: Buffer,
    max_groups: u32,
}

/// The place of a segment of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub chunk: usize,
    /// In the chunk: the first row of the segment, or of the window of a shuffled batch.
    pub first_row: u32,
    pub rows: u32,
    /// Of the segment in the window.
    pub position: u32,
    /// The row of the problem from which rows that are not stored are counted.
    pub base: u64,
}

impl From<&DeviceDataset> for RowSource {
    fn from(samples: &DeviceDataset) -> Self {
        let source = Source::Stored(samples.clone());
        RowSource { shape: *samples.shape(), rows: samples.rows(), source }
    }
}

impl From<&RowSource> for RowSource {
    fn from(rows: &RowSource) -> Self {
        rows.clone()
    }
}

impl RowSource {
    /// The first `rows` rows of a synthetic problem, none of which is ever stored: bit for bit those that
    /// [`SyntheticRows`](super::SyntheticRows) stores.
    ///
    /// # Errors
    /// [`Error::Length`] if the features or targets of problem and shape differ, [`Error::Limit`] for what
    /// the device does not offer.
    pub fn unstored(
        device: &Device,
        shape: GradientLayout,
        problem: &Synthetic,
        rows: u64,
    ) -> Result<Self, Error> {
        same("features of the synthetic problem", problem.features(), shape.features)?;
        same("targets of the synthetic problem", problem.targets(), shape.aux_columns)?;
        let limits = Limits::of(device);
        let bytes = shape.segment_rows().min(rows.max(1)) * u64::from(shape.aux_columns) * 4;
        let (limit, hint) = ("max_storage_buffer_binding_size", " for the targets of a segment");
        check_limit(limit, limits.max_binding, bytes, hint)?;
        let generator = Generator::new(device, problem)?;
        let layout =
            layout(device, "targets of a segment", &[BufferAccess::DynamicUniform, BufferAccess::Write]);
        let layouts = [Some(&layout), Some(generator.layout())];
        let module = shader::virtual_targets();
        let mut constants = generator.target_constants();
        constants.push(("SHUFFLED", 1.0));
        let targets = pipeline_over(device, &module, "main", &layouts, &constants);
        let aux = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("targets of a segment"),
            size: bytes,
            usage: BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let max_groups = limits.max_groups;
        let source = Box::new(Virtual { generator, targets, layout, aux, max_groups });
        Ok(RowSource { shape, rows, source: Source::Virtual(source) })
    }

    /// The number of rows.
    pub fn count(&self) -> u64 {
        self.rows
    }

    /// The shape of a model's gradient over these rows.
    pub(crate) fn check(&self, model: &Model) -> Result<GradientLayout, Error> {
        let shape = GradientLayout::new(model)?;
        same("features of the model", shape.features, self.shape.features)?;
        same("auxiliary columns of the model's rows", shape.aux_columns, self.shape.aux_columns)?;
        Ok(shape)
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.samples().is_some()
    }

    /// The data set, if it is stored.
    pub fn samples(&self) -> Option<&DeviceDataset> {
        match &self.source {
            Source::Stored(samples) => Some(samples),
            Source::Virtual(_) => None,
        }
    }

    /// X, if it is stored, and the auxiliary columns of each chunk.
    pub(crate) fn buffers(&self) -> Vec<(Option<&Buffer>, &Buffer)> {
        match &self.source {
            Source::Stored(samples) => {
                samples.chunks().iter().map(|chunk| (Some(&chunk.x), &chunk.aux)).collect()
            }
            Source::Virtual(rows) => vec![(None, &rows.aux)],
        }
    }

    /// Group 1 of kernels over rows that are not stored.
    pub(crate) fn generator(&self) -> Option<&Generator> {
        match &self.source {
            Source::Stored(_) => None,
            Source::Virtual(rows) => Some(&rows.generator),
        }
    }

    /// The bindings of the kernel that generates the targets of a segment.
    pub(crate) fn target_bindings(
        &self,
        device: &Device,
        segment: wgpu::BindingResource,
    ) -> Option<BindGroup> {
        let Source::Virtual(rows) = &self.source else { return None };
        let resources = vec![segment, rows.aux.as_entire_binding()];
        Some(group(device, "targets of a segment", &rows.layout, resources))
    }

    /// Generates the targets of `rows` rows of a segment that is not stored.
    pub(crate) fn record_targets(
        &self,
        pass: &mut ComputePass,
        bindings: Option<&BindGroup>,
        offset: u32,
        rows: u32,
    ) {
        let (Source::Virtual(source), Some(bindings)) = (&self.source, bindings) else { return };
        pass.set_pipeline(&source.targets);
        pass.set_bind_group(0, bindings, &[offset]);
        pass.set_bind_group(1, source.generator.bind_group(), &[]);
        let [x, y, z] = source.generator.target_grid(rows, source.max_groups);
        pass.dispatch_workgroups(x, y, z);
    }

    /// The most segments of a batch of at most `max_batch` rows, wherever it starts.
    pub(crate) fn most_segments(&self, max_batch: u64) -> u64 {
        let first = self.samples().and_then(|samples| match samples.chunks() {
            [] | [_] => None,
            [first, ..] => Some(first.rows),
        });
        most_segments(&self.shape, max_batch, first)
    }

    /// The places of the segments of a batch, in order. They begin at fixed rows of the batch. One that lies across chunks
    /// is cut, and its bits depend on the chunks; those of a [`DeviceDataset`] cut no segment of the batches that it is
    /// made for.
    ///
    /// # Errors
    /// [`Error::Shape`] for a shuffled batch unless `shuffled`, or for a window in several chunks.
    pub(crate) fn places(&self, batch: &Batch, shuffled: bool) -> Result<Vec<Place>, Error> {
        let most = self.shape.segment_rows();
        let starts = (0..batch.rows).step_by(most as usize);
        let segments = starts.map(|at| (at, most.min(batch.rows - at)));
        let error = |what, value, range| Err(Error::Shape { what, value, range });
        let Some(window) = batch.window else {
            return Ok(match &self.source {
                Source::Stored(samples) => {
                    let cut = segments.flat_map(|(at, rows)| samples.cut_rows(batch.first + at, rows));
                    cut.map(|(chunk, first_row, rows)| Place::of(chunk, first_row, rows, 0, 0)).collect()
                }
                Source::Virtual(_) => segments
                    .map(|(at, rows)| Place::of(0, 0, rows as u32, 0, batch.first + at))
                    .collect(),
            });
        };
        if !shuffled {
            let range = "not in a window where shuffling was not asked for";
            return error("the first row of a batch", batch.first, range);
        }
        let (first, end) = (batch.first, batch.first.saturating_add(batch.rows));
        let window_end = window.first.saturating_add(window.rows.into());
        if first < window.first || end > window_end {
            return error("the end of a batch", end, "within its window");
        }
        let holds = |chunk: &Chunk| {
            chunk.first_row <= window.first && window_end <= chunk.first_row + u64::from(chunk.rows)
        };
        let (chunk, first_row, base) = match &self.source {
            Source::Virtual(_) => (0, 0, window.first),
            Source::Stored(samples) => {
                let Some(chunk) = samples.chunks().iter().position(holds) else {
                    return error("the end of a window", window_end, "within one chunk of the data");
                };
                (chunk, (window.first - samples.chunks()[chunk].first_row) as u32, 0)
            }
        };
        let place = |(at, rows): (u64, u64)| {
            let position = (first - window.first + at) as u32;
            Place::of(chunk, first_row, rows as u32, position, base)
        };
        Ok(segments.map(place).collect())
    }
}

/// The most segments of a batch of at most `max_batch` rows, wherever it starts in chunks of `cut` rows.
pub(crate) fn most_segments(shape: &GradientLayout, max_batch: u64, cut: Option<u32>) -> u64 {
    max_batch.div_ceil(shape.segment_rows()) + cut.map_or(0, |rows| max_batch / u64::from(rows) + 2)
}

impl Place {
    fn of(chunk: usize, first_row: u32, rows: u32, position: u32, base: u64) -> Self {
        Place { chunk, first_row, rows, position, base }
    }
}

fn same(what: &str, actual: u32, expected: u32) -> Result<(), Error> {
    let (what, actual, expected) = (what.into(), actual.into(), expected.into());
    if actual == expected { Ok(()) } else { Err(Error::Length { what, actual, expected }) }
}
