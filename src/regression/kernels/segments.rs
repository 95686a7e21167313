//! The batches that are prepared for a kernel over rows: segments of rows, each within one chunk, and the uniform
//! that describes each of them.

use super::{GradientLayout, RowSource};
use crate::gpu::bindings::check_limit;
use crate::regression::Batch;
use crate::{Error, Model};
use wgpu::{BindingResource, Buffer, BufferUsages, Device, Queue};

/// Bytes from one description to the next: WebGPU's alignment of dynamic offsets.
pub const SLOT: u64 = 256;

/// Bits of `flags`.
const LAST: u32 = 1;
const SUMS_ONLY: u32 = 2;

/// `struct Segment` in `shaders/gradient/order.wgsl`.
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
    index: u32,
    padding: u32,
}

/// Rows of a prepared batch within one chunk of the data. A batch is summed segment by segment, in order; the segments are
/// the units of a [tree](crate::regression::nodes).
#[derive(Clone, Copy, Debug)]
pub struct RowSegment {
    /// The chunk.
    pub chunk: usize,
    /// Slices, recorded in order: no submission needs more than one of them.
    pub slices: usize,
    /// Bytes that the kernels read and write, approximately: the share of the segment in the time of its batch.
    pub bytes: u64,
    pub(super) rows: u32,
    /// Slices of each stage of its sums.
    pub(super) stage_slices: u32,
    /// Offset of the description of the first slice of a stage; the others follow.
    offset: u32,
}

impl RowSegment {
    /// The first of `count` items that belongs to a slice of a stage.
    pub(super) fn first(&self, slice: u32, count: u32) -> u32 {
        (u64::from(count) * u64::from(slice) / u64::from(self.stage_slices)) as u32
    }

    /// The dynamic offset of the description from which a stage takes its first slice.
    pub(super) fn offset(&self, slice: u32) -> u32 {
        self.offset + slice * SLOT as u32
    }
}

/// The purpose of sums over rows.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// The metrics of a model, instead of a gradient.
    pub metrics: bool,
    /// Whether batches may be those of a shuffled window.
    pub shuffled: bool,
    /// The most rows of a batch, and the most batches that are prepared at a time.
    pub max_batch: u64,
    pub max_batches: u32,
}

/// The batches that are prepared.
#[derive(Debug)]
pub struct PreparedBatches {
    rows: RowSource,
    model: Model,
    shape: GradientLayout,
    purpose: Purpose,
    /// Stages of the sums of a segment.
    stages: usize,
    descriptions: Buffer,
    batches: Vec<Vec<RowSegment>>,
}

impl PreparedBatches {
    /// Allocates the descriptions.
    ///
    /// # Errors
    /// [`Error::Limit`] for more than one buffer.
    pub fn new(
        device: &Device,
        rows: &RowSource,
        model: &Model,
        shape: GradientLayout,
        purpose: Purpose,
        stages: usize,
    ) -> Result<Self, Error> {
        let size = Self::bytes_of(&shape, rows.most_segments(purpose.max_batch), &purpose);
        // Offsets into the descriptions are u32. Losses have a 64th of their bytes, and fit if they do.
        let available = device.limits().max_buffer_size.min(u32::MAX.into());
        let hint = " for the descriptions of batches: prepare fewer at a time";
        check_limit("max_buffer_size", available, size, hint)?;
        let descriptions = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("batches"),
            size,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let (rows, model) = (rows.clone(), *model);
        Ok(PreparedBatches { rows, model, shape, purpose, stages, descriptions, batches: Vec::new() })
    }

    /// Bytes of the descriptions, if a batch has at most `most_segments` segments.
    pub fn bytes_of(shape: &GradientLayout, most_segments: u64, purpose: &Purpose) -> u64 {
        let rows = purpose.max_batch.min(shape.segment_rows());
        let slices = u64::from(shape.slices(rows as u32));
        u64::from(purpose.max_batches).saturating_mul(most_segments).saturating_mul(slices * SLOT)
    }

    /// Describes the batches that are recorded next; `shift` is near the mean of the targets.
    pub fn prepare(&mut self, queue: &Queue, batches: &[Batch], shift: f32) -> Result<(), Error> {
        let shape_error = |what, value, range| Err(Error::Shape { what, value, range });
        if batches.len() > self.purpose.max_batches as usize {
            let range = "no more than the gradient was made for";
            return shape_error("the number of batches", batches.len() as u64, range);
        }
        let mut bytes = Vec::new();
        let mut prepared = Vec::new();
        for (slot, batch) in (0..).zip(batches) {
            prepared.push(self.describe(batch, slot, shift, 0, &mut bytes)?);
        }
        self.write(queue, prepared, &bytes)
    }

    /// Describes the share of a batch: its sums are not scaled.
    pub fn prepare_sums(&mut self, queue: &Queue, share: &Batch) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let segments = self.describe(share, 0, 0.0, SUMS_ONLY, &mut bytes)?;
        self.write(queue, vec![segments], &bytes)
    }

    /// Describes a batch of `rows` rows whose sums are in the first plane: a second segment without rows.
    pub fn prepare_total(&mut self, queue: &Queue, rows: u64) {
        let description = Description { flags: LAST, index: 1, ..self.scales(rows) };
        queue.write_buffer(&self.descriptions, 0, bytemuck::bytes_of(&description));
        let segment = RowSegment { chunk: 0, slices: 0, bytes: 0, rows: 0, stage_slices: 1, offset: 0 };
        self.batches = vec![vec![segment]];
    }

    /// Writes the descriptions of prepared batches.
    fn write(
        &mut self,
        queue: &Queue,
        prepared: Vec<Vec<RowSegment>>,
        bytes: &[u8],
    ) -> Result<(), Error> {
        if bytes.len() as u64 > self.descriptions.size() {
            let range = "fewer: the data are cut where they are not aligned with the batches";
            let (what, value) = ("the number of batches", prepared.len() as u64);
            return Err(Error::Shape { what, value, range });
        }
        queue.write_buffer(&self.descriptions, 0, bytes);
        self.batches = prepared;
        Ok(())
    }

    /// The scales of the sums over a number of rows.
    fn scales(&self, rows: u64) -> Description {
        let (of_loss, of_gradient) = self.model.loss.factors();
        let over = if self.model.weighted { 1.0 } else { rows as f64 };
        Description {
            gradient_scale: (of_gradient / over) as f32,
            loss_scale: (of_loss / over) as f32,
            ..Description::default()
        }
    }

    /// Appends the descriptions of a batch to `bytes`, and returns its segments; all of them have the `flags`.
    fn describe(
        &self,
        batch: &Batch,
        loss_slot: u32,
        shift: f32,
        flags: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<Vec<RowSegment>, Error> {
        let shape_error = |what, value, range| Err(Error::Shape { what, value, range });
        if batch.rows == 0 || batch.rows > self.purpose.max_batch {
            let range = "at least 1 and no more than the gradient was made for";
            return shape_error("the number of rows in a batch", batch.rows, range);
        }
        let end = batch.first.saturating_add(batch.rows);
        if end > self.rows.count() {
            return shape_error("the end of a batch", end, "within the data");
        }
        let places = self.rows.places(batch, self.purpose.shuffled)?;
        let mut segments = Vec::new();
        for (index, place) in (0..).zip(&places) {
            let stage_slices = self.shape.slices(place.rows);
            let segment = RowSegment {
                chunk: place.chunk,
                slices: self.stages * stage_slices as usize,
                bytes: self.bytes(place.rows),
                rows: place.rows,
                stage_slices,
                offset: bytes.len() as u32,
            };
            let groups = self.shape.groups(place.rows);
            let description = Description {
                first_row: place.first_row,
                rows: place.rows,
                partials: groups,
                flags: flags | if index as usize + 1 == places.len() { LAST } else { 0 },
                loss_slot,
                shift,
                base: place.base,
                position: place.position,
                window: batch.window.map_or(0, |window| window.rows),
                key: batch.window.map_or([0; 2], |window| window.key),
                half_bits: batch.window.map_or(0, |window| window.half_bits()),
                index,
                ..self.scales(batch.rows)
            };
            for slice in 0..stage_slices {
                let first_group = segment.first(slice, groups);
                let first_item = segment.first(slice, place.rows);
                let description = Description { first_group, first_item, ..description };
                bytes.extend_from_slice(bytemuck::bytes_of(&description));
                bytes.resize(bytes.len().next_multiple_of(SLOT as usize), 0);
            }
            segments.push(segment);
        }
        Ok(segments)
    }

    /// Bytes that the kernels read and write for a segment of `rows` rows, approximately, with its sums.
    fn bytes(&self, rows: u32) -> u64 {
        let shape = &self.shape;
        let row_bytes = u64::from(shape.passes()) * shape.row_bytes() + 4 * u64::from(shape.aux_columns);
        let sums = 2 * u64::from(shape.groups(rows)) + 4;
        u64::from(rows) * row_bytes + sums * u64::from(shape.partial_vectors(self.purpose.metrics)) * 16
    }

    /// The segments of the `index`-th prepared batch; none if there is no such batch.
    pub fn segments(&self, index: usize) -> &[RowSegment] {
        self.batches.get(index).map_or(&[], Vec::as_slice)
    }

    /// The binding of one description, with a dynamic offset.
    pub fn binding(&self) -> BindingResource<'_> {
        BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.descriptions,
            offset: 0,
            size: std::num::NonZeroU64::new(size_of::<Description>() as u64),
        })
    }

    /// The most segments of a batch.
    pub fn most_segments(&self) -> u64 {
        self.rows.most_segments(self.purpose.max_batch)
    }

    /// The rows of each segment of a batch, as far as it lies within the data.
    pub fn segment_rows(&self, batch: &Batch) -> Vec<u32> {
        let rows = batch.rows.min(self.rows.count().saturating_sub(batch.first));
        let places = self.rows.places(&Batch { rows, ..*batch }, true).unwrap_or_default();
        places.iter().map(|place| place.rows).collect()
    }
}
