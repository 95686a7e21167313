//! A data set on the device: rows of features and their targets, in as many buffers as the device's
//! limits make necessary.

use super::bindings::check_limit;
use super::{Shape, span::Limits};
use crate::Error;
use wgpu::{Buffer, BufferUsages, Device, Queue};

/// Bytes that are written to the device at a time: the host needs this much to pad rows.
const UPLOAD: u64 = 16 << 20;

/// More than any device has: asking for it buffer by buffer would only take long to fail.
const MAX_BYTES: u128 = 1 << 44;

/// Consecutive rows in one pair of buffers.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Rows of [`Shape::vectors`] vec4 f32; usages `STORAGE`, `COPY_DST` and `COPY_SRC`.
    pub x: Buffer,
    /// One f32 a row.
    pub y: Buffer,
    /// The first row's number in the data set.
    pub first_row: u64,
    /// How many rows there are.
    pub rows: u32,
}

/// All rows of a data set.
#[derive(Clone, Debug)]
pub struct Samples {
    pub(crate) shape: Shape,
    pub(crate) chunks: Vec<Chunk>,
    rows: u64,
}

impl Samples {
    /// Allocates room for `rows` rows. A chunk holds whole batches of `batch` rows if even one fits the
    /// device's limits.
    ///
    /// # Errors
    /// [`Error::Limit`] if not
    /// even one row fits a binding, [`Error::OutOfMemory`] for more than any device has.
    pub fn new(device: &Device, shape: Shape, rows: u64, batch: u64) -> Result<Self, Error> {
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
        shape: Shape,
        rows: u64,
        batch: u64,
        max_buffer: u64,
    ) -> Result<Self, Error> {
        let max_buffer =
            max_buffer.min(device.limits().max_buffer_size).min(Limits::of(device).max_binding);
        let hint = " for one row of features";
        check_limit("max_storage_buffer_binding_size", max_buffer, shape.row_bytes(), hint)?;
        let bytes = u128::from(shape.row_bytes()) * u128::from(rows);
        if bytes > MAX_BYTES {
            let reason = format!("{rows} rows need {:.0} GB", bytes as f64 / 1e9);
            return Err(Error::OutOfMemory { what: "the rows on the device", reason });
        }
        let chunks = chunk_rows(max_buffer / shape.row_bytes(), rows, batch)
            .map(|(first_row, rows)| Chunk {
                x: storage(device, "features", u64::from(rows) * shape.row_bytes()),
                y: storage(device, "targets", u64::from(rows) * 4),
                first_row,
                rows,
            })
            .collect();
        Ok(Samples { shape, chunks, rows })
    }

    /// The rows of the data set.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The shape of its gradient.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The buffers.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Writes all rows: `x` row-major without padding, `y` one value a row. It submits nothing itself;
    /// the queue makes the copies ahead of its next submission.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` or `y` is not as long as the data set.
    pub fn write(&self, queue: &Queue, x: &[f32], y: &[f32]) -> Result<(), Error> {
        let features = self.shape.features as usize;
        let length = |what: &str, actual: usize, expected: u64| {
            let (what, actual) = (what.into(), actual as u64);
            if actual == expected { Ok(()) } else { Err(Error::Length { what, actual, expected }) }
        };
        length("x", x.len(), self.rows * features as u64)?;
        length("y", y.len(), self.rows)?;
        let stride = self.shape.vectors as usize * 4;
        let at_once = (UPLOAD / self.shape.row_bytes()).max(1) as usize;
        for chunk in &self.chunks {
            let first = chunk.first_row as usize;
            let y = &y[first..][..chunk.rows as usize];
            queue.write_buffer(&chunk.y, 0, bytemuck::cast_slice(y));
            let x = &x[first * features..][..y.len() * features];
            for (i, x) in x.chunks(at_once * features).enumerate() {
                let mut padded = vec![0.0f32; x.len() / features * stride];
                for (padded, x) in padded.chunks_mut(stride).zip(x.chunks(features)) {
                    padded[..features].copy_from_slice(x);
                }
                let offset = (i * at_once) as u64 * self.shape.row_bytes();
                queue.write_buffer(&chunk.x, offset, bytemuck::cast_slice(&padded));
            }
        }
        Ok(())
    }

    /// The runs of rows, each within one chunk, that the rows from `first` on consist of: chunk, first
    /// row within it, and number of rows.
    pub(crate) fn runs(&self, first: u64, rows: u64) -> impl Iterator<Item = (usize, u32, u32)> {
        self.chunks.iter().enumerate().filter_map(move |(i, chunk)| {
            let from = first.max(chunk.first_row);
            let to = first.saturating_add(rows).min(chunk.first_row + u64::from(chunk.rows));
            (from < to).then(|| (i, (from - chunk.first_row) as u32, (to - from) as u32))
        })
    }
}

/// Cuts `rows` into chunks of at most `most` rows, in whole batches where one fits.
fn chunk_rows(most: u64, rows: u64, batch: u64) -> impl Iterator<Item = (u64, u32)> {
    let batch = batch.clamp(1, rows.max(1));
    let whole = if batch <= most { most / batch * batch } else { most };
    let step = whole.min(u64::from(u32::MAX));
    (0..rows.div_ceil(step)).map(move |i| (i * step, step.min(rows - i * step) as u32))
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
    fn chunks_hold_whole_batches_where_one_fits() {
        let cut = |most, rows, batch| chunk_rows(most, rows, batch).collect::<Vec<_>>();
        assert_eq!(cut(25, 60, 10), [(0, 20), (20, 20), (40, 20)]);
        assert_eq!(cut(25, 45, 10), [(0, 20), (20, 20), (40, 5)]);
        assert_eq!(cut(25, 60, 30), [(0, 25), (25, 25), (50, 10)]);
        assert_eq!(cut(100, 60, 10), [(0, 60)]);
        assert_eq!(cut(1, 3, 1), [(0, 1), (1, 1), (2, 1)]);
        assert_eq!(cut(5, 0, 10), []);
    }
}
