use super::Span;
use super::bindings::check_limit;
use crate::Error;
use bytemuck::Pod;
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use wgpu::{BufferUsages, CommandEncoder, Device, MapMode};

/// A reusable staging buffer for reading device memory.
///
/// Copies are recorded into the caller's encoder. After its submission, [`read`](Self::read) resolves when the caller
/// polls the device.
#[derive(Debug)]
pub struct ReadBack {
    staging: wgpu::Buffer,
    filled: u64,
}

impl ReadBack {
    /// Creates a staging buffer of `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] if `bytes` exceeds the device's maximum buffer size.
    pub fn new(device: &Device, bytes: u64) -> Result<Self, Error> {
        let size = bytes.max(4).checked_next_multiple_of(4).unwrap_or(u64::MAX);
        let hint = ": read back in parts";
        check_limit("max_buffer_size", device.limits().max_buffer_size, size, hint)?;
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Ok(ReadBack { staging, filled: 0 })
    }

    /// Records a copy of a span, after the copies since the last [`read`](Self::read). The span's offset need only be a
    /// multiple of 4.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if the staging buffer is full or the span ends past its buffer,
    /// [`Error::Misaligned`] and [`Error::MissingUsage`] (`COPY_SRC`) for the span.
    pub fn copy(&mut self, encoder: &mut CommandEncoder, span: &Span) -> Result<(), Error> {
        span.check(|| "read back".into(), wgpu::COPY_BUFFER_ALIGNMENT, BufferUsages::COPY_SRC)?;
        let bytes = span.len * 4;
        let (end, size) = (self.filled.saturating_add(bytes), self.staging.size());
        if end > size {
            return Err(Error::OutOfBounds { what: "read back".into(), end, size });
        }
        encoder.copy_buffer_to_buffer(&span.buffer, span.offset, &self.staging, self.filled, bytes);
        self.filled = end;
        Ok(())
    }

    /// Reads the copies since the last read, and empties the buffer.
    ///
    /// # Errors
    /// [`Error::ReadBack`] if the device was lost.
    pub async fn read<T: Pod>(&mut self) -> Result<Vec<T>, Error> {
        self.map().take().await
    }

    /// Requests the mapping of the copies, and empties the buffer. Several mappings can wait for one poll.
    pub(super) fn map(&mut self) -> Mapping<'_> {
        let filled = std::mem::take(&mut self.filled);
        let (sender, receiver) = oneshot_channel();
        if filled > 0 {
            self.staging.map_async(MapMode::Read, 0..filled, move |result| {
                // Sending fails only if the caller dropped the future.
                let _ = sender.send(result);
            });
        }
        Mapping { staging: &self.staging, filled, receiver }
    }

    /// Discards the recorded copies.
    pub(super) fn start_over(&mut self) {
        self.filled = 0;
    }
}

/// A staging buffer that is being mapped. Dropping it unmaps the buffer, because a mapped buffer cannot be copied to.
pub(super) struct Mapping<'a> {
    staging: &'a wgpu::Buffer,
    filled: u64,
    receiver: OneshotReceiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Mapping<'_> {
    pub async fn take<T: Pod>(self) -> Result<Vec<T>, Error> {
        if self.filled == 0 {
            return Ok(Vec::new());
        }
        let lost = || Error::ReadBack("the device was lost".into());
        let mapped = self.receiver.receive().await.ok_or_else(lost)?;
        mapped.map_err(|e| Error::ReadBack(e.to_string()))?;
        let view = self.staging.get_mapped_range(0..self.filled);
        let data = view.map(|view| bytemuck::pod_collect_to_vec(&view));
        data.map_err(|e| Error::ReadBack(e.to_string()))
    }
}

impl Drop for Mapping<'_> {
    fn drop(&mut self) {
        if self.filled > 0 {
            self.staging.unmap();
        }
    }
}
