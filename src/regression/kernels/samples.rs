//! A data set on the device: rows of features and their targets, in one buffer or, if the device's
//! limits need it, several.

use super::GradientLayout;
use crate::Error;
use crate::gpu::bindings::check_limit;
use crate::gpu::span::Limits;
use wgpu::{Buffer, BufferUsages, Device, Queue};

/// Bytes that are written to the device at a time: the host needs this much to pad rows.
const UPLOAD: u64 = 16 << 20;

/// More than any device has: asking for it buffer by buffer would only take long to fail.
const MAX_BYTES: u128 = 1 << 44;

/// Consecutive rows in one pair of buffers.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Rows of [`GradientLayout::stride`] f32, padded to a whole vec4 at the end; usages `STORAGE`, `COPY_DST` and
    /// `COPY_SRC`.
    pub x: Buffer,
    /// The auxiliary columns of each row: [`Model::aux_columns`](crate::Model::aux_columns) f32.
    pub aux: Buffer,
    /// The first row's number in the data set.
    pub first_row: u64,
    /// How many rows there are.
    pub rows: u32,
}

/// All rows of a data set.
#[derive(Clone, Debug)]
pub struct DeviceDataset {
    pub(crate) shape: GradientLayout,
    pub(crate) chunks: Vec<Chunk>,
    rows: u64,
}

impl DeviceDataset {
    /// Allocates room for `rows` rows. Batches of `batch` rows that follow each other from row 0 on lie
    /// within a chunk each, or if they are larger, each of their segments does; so their sums do not depend on the
    /// chunks.
    ///
    /// # Errors
    /// [`Error::Limit`] if not even one row fits a binding, [`Error::OutOfMemory`] for more than any device has.
    pub fn new(device: &Device, shape: GradientLayout, rows: u64, batch: u64) -> Result<Self, Error> {
        Self::with_max_buffer(device, shape, rows, batch, u64::MAX)
    }

    #[doc(hidden)]
    /// [`new`](Self::new) with buffers of at most `max_buffer` bytes, so that tests meet seams in small
    /// data.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn with_max_buffer(
        device: &Device,
        shape: GradientLayout,
        rows: u64,
        batch: u64,
        max_buffer: u64,
    ) -> Result<Self, Error> {
        Self::cut(device, shape, rows, batch, max_buffer, usize::MAX)
    }

    /// Room for two chunks of at most `max_buffer` bytes (double buffering): even chunks share one pair of buffers, odd
    /// chunks the other. A chunk must be written before it is read, and again after another one has taken its place.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn in_turns(
        device: &Device,
        shape: GradientLayout,
        rows: u64,
        batch: u64,
        max_buffer: u64,
    ) -> Result<Self, Error> {
        Self::cut(device, shape, rows, batch, max_buffer, 2)
    }

    /// Chunks of at most `max_buffer` bytes, of which at most `resident` have buffers of their own.
    fn cut(
        device: &Device,
        shape: GradientLayout,
        rows: u64,
        batch: u64,
        max_buffer: u64,
        resident: usize,
    ) -> Result<Self, Error> {
        let layout = Layout::new(&device.limits(), shape, (rows, batch), max_buffer, resident)?;
        let mut chunks: Vec<Chunk> = Vec::with_capacity(layout.cuts.len());
        for (i, &(first_row, rows)) in layout.cuts.iter().enumerate() {
            let (x, aux) = match chunks.get(i.wrapping_sub(resident)) {
                Some(Chunk { x, aux, .. }) => (x.clone(), aux.clone()),
                None => {
                    let (x, aux) = layout.buffers(i);
                    (storage(device, "features", x), storage(device, "targets", aux))
                }
            };
            chunks.push(Chunk { x, aux, first_row, rows });
        }
        Ok(DeviceDataset { shape, chunks, rows })
    }

    /// The rows of the data set.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The shape of its gradient.
    pub fn shape(&self) -> &GradientLayout {
        &self.shape
    }

    /// The buffers.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Writes all rows: `x` row-major without padding, `aux` the auxiliary columns of each. It submits
    /// nothing; the queue copies them before its next submission.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` or `aux` is not as long as the data set.
    pub fn write(&self, queue: &Queue, x: &[f32], aux: &[f32]) -> Result<(), Error> {
        self.check_lengths(self.rows, x, aux)?;
        let (features, aux_columns) = (self.shape.features as usize, self.shape.aux_columns as usize);
        for (i, chunk) in self.chunks.iter().enumerate() {
            let (first, rows) = (chunk.first_row as usize, chunk.rows as usize);
            let (x, aux) = (&x[first * features..], &aux[first * aux_columns..]);
            self.write_part(queue, i, 0, &x[..rows * features], &aux[..rows * aux_columns])?;
        }
        Ok(())
    }

    /// Writes some rows of one chunk, from its `first_row` on.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` and `aux` are not of the same rows, or reach past the chunk;
    /// [`Error::Index`] for a chunk that does not exist.
    pub fn write_part(
        &self,
        queue: &Queue,
        chunk: usize,
        first_row: u32,
        x: &[f32],
        aux: &[f32],
    ) -> Result<(), Error> {
        let (what, count) = ("chunk", self.chunks.len());
        let chunk = self.chunks.get(chunk).ok_or(Error::Index { what, index: chunk, count })?;
        let (features, aux_columns) = (self.shape.features as usize, self.shape.aux_columns as usize);
        let rows = (aux.len() / aux_columns) as u64;
        self.check_lengths(rows.min(u64::from(chunk.rows.saturating_sub(first_row))), x, aux)?;
        let at = |bytes: u64| u64::from(first_row) * bytes;
        queue.write_buffer(&chunk.aux, at(aux_columns as u64 * 4), bytemuck::cast_slice(aux));
        let row_bytes = self.shape.row_bytes();
        let stride = self.shape.stride as usize;
        if stride == features {
            queue.write_buffer(&chunk.x, at(row_bytes), bytemuck::cast_slice(x));
            return Ok(());
        }
        let at_once = (UPLOAD / row_bytes).max(1) as usize;
        for (i, x) in x.chunks(at_once * features).enumerate() {
            let mut padded = vec![0.0f32; x.len() / features * stride];
            for (padded, x) in padded.chunks_mut(stride).zip(x.chunks(features)) {
                padded[..features].copy_from_slice(x);
            }
            let offset = at(row_bytes) + (i * at_once) as u64 * row_bytes;
            queue.write_buffer(&chunk.x, offset, bytemuck::cast_slice(&padded));
        }
        Ok(())
    }

    fn check_lengths(&self, rows: u64, x: &[f32], aux: &[f32]) -> Result<(), Error> {
        let length = |what: &str, actual: usize, width: u32| {
            let (what, actual, expected) = (what.into(), actual as u64, rows * u64::from(width));
            if actual == expected { Ok(()) } else { Err(Error::Length { what, actual, expected }) }
        };
        length("x", x.len(), self.shape.features)?;
        length("auxiliary columns", aux.len(), self.shape.aux_columns)
    }

    /// The rows from `first` on, cut where chunks end: chunk, first row within it, and number of rows.
    pub(crate) fn cut_rows(&self, first: u64, rows: u64) -> impl Iterator<Item = (usize, u32, u32)> {
        self.chunks.iter().enumerate().filter_map(move |(i, chunk)| {
            let from = first.max(chunk.first_row);
            let to = first.saturating_add(rows).min(chunk.first_row + u64::from(chunk.rows));
            (from < to).then(|| (i, (from - chunk.first_row) as u32, (to - from) as u32))
        })
    }
}

/// How rows are cut into buffers.
#[derive(Clone, Debug)]
pub struct Layout {
    shape: GradientLayout,
    /// The first row of each chunk, and how many it has.
    pub cuts: Vec<(u64, u32)>,
    /// Chunks that have buffers of their own; the others take turns in them.
    resident: usize,
}

impl Layout {
    /// For `rows` rows of which `batch` belong together.
    ///
    /// # Errors
    /// Those of [`DeviceDataset::new`].
    pub fn new(
        limits: &wgpu::Limits,
        shape: GradientLayout,
        (rows, batch): (u64, u64),
        max_buffer: u64,
        resident: usize,
    ) -> Result<Self, Error> {
        let max_buffer = max_buffer.min(Limits::from(limits).max_binding);
        let hint = " for one row of features";
        check_limit("max_storage_buffer_binding_size", max_buffer, shape.x_bytes(1), hint)?;
        let aux_columns = u64::from(shape.aux_columns) * 4;
        let hint = " for the auxiliary columns of a row";
        check_limit("max_storage_buffer_binding_size", max_buffer, aux_columns, hint)?;
        let bytes = u128::from(shape.row_bytes()) * u128::from(rows);
        if bytes > MAX_BYTES {
            let reason = format!("{rows} rows need {:.0} GB", bytes as f64 / 1e9);
            return Err(Error::OutOfMemory { what: "the rows on the device", reason });
        }
        // The padding of the last vec4 must fit too.
        let most = (max_buffer / shape.row_bytes().max(aux_columns))
            .min(max_buffer / 16 * 16 / shape.row_bytes());
        Ok(Layout { shape, cuts: chunk_rows(most, rows, batch, shape.segment_rows()), resident })
    }

    /// Bytes of a chunk's features, and of its auxiliary columns.
    fn buffers(&self, chunk: usize) -> (u64, u64) {
        let rows = match self.cuts.len() > self.resident {
            true => self.cuts.iter().map(|&(_, rows)| rows).max().unwrap_or(0),
            false => self.cuts[chunk].1,
        };
        (self.shape.x_bytes(rows.into()), u64::from(rows) * u64::from(self.shape.aux_columns) * 4)
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        let buffers = (0..self.cuts.len().min(self.resident)).map(|chunk| self.buffers(chunk));
        buffers.map(|(x, aux)| x + aux).sum()
    }
}

/// Cuts `rows` into chunks of at most `most` rows: in whole batches where one fits, else in whole segments
/// of batches.
fn chunk_rows(most: u64, rows: u64, batch: u64, segment: u64) -> Vec<(u64, u32)> {
    let batch = batch.clamp(1, rows.max(1));
    let most = most.clamp(1, u32::MAX.into());
    if batch <= most {
        let step = most / batch * batch;
        return (0..rows).step_by(step as usize).map(|at| (at, step.min(rows - at) as u32)).collect();
    }
    let step = if segment <= most { most / segment * segment } else { most };
    let within = |first: u64| {
        let end = rows.min(first + batch);
        (first..end).step_by(step as usize).map(move |at| (at, step.min(end - at) as u32))
    };
    (0..rows).step_by(batch as usize).flat_map(within).collect()
}

fn storage(device: &Device, label: &str, size: u64) -> Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_whole_batches_where_one_fits_and_whole_segments_where_not() {
        assert_eq!(chunk_rows(25, 60, 10, 1), [(0, 20), (20, 20), (40, 20)]);
        assert_eq!(chunk_rows(25, 45, 10, 1), [(0, 20), (20, 20), (40, 5)]);
        assert_eq!(chunk_rows(25, 60, 30, 10), [(0, 20), (20, 10), (30, 20), (50, 10)]);
        assert_eq!(chunk_rows(100, 60, 10, 1), [(0, 60)]);
        assert_eq!(chunk_rows(1, 3, 1, 1), [(0, 1), (1, 1), (2, 1)]);
        assert_eq!(chunk_rows(5, 0, 10, 1), []);
    }
}
