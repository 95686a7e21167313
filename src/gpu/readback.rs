use super::Span;
use super::bindings::check_limit;
use crate::Error;
use bytemuck::Pod;
use futures_intrusive::channel::shared::oneshot_channel;
use wgpu::{BufferUsages, CommandEncoder, Device, MapMode};

/// A staging buffer that device memory is copied to and read from, again and again.
///
/// Copies are recorded into the caller's encoder; after that is submitted, [`read`](Self::read) resolves
/// once the device is polled, by whoever polls it.
#[derive(Debug)]
pub struct ReadBack {
    staging: wgpu::Buffer,
    filled: u64,
}

impl ReadBack {
    /// Room for `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Limit`] if that is more than one buffer of the device may have.
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

    /// Records a copy of a span, behind what has been copied since the last [`read`](Self::read). Its
    /// offset need only be a multiple of 4.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if there is no room for it or the span ends past its buffer,
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

    /// What has been copied, and starts over.
    ///
    /// # Errors
    /// [`Error::ReadBack`] if the device was lost.
    pub async fn read<T: Pod>(&mut self) -> Result<Vec<T>, Error> {
        let filled = std::mem::take(&mut self.filled);
        if filled == 0 {
            return Ok(Vec::new());
        }
        // Also if this future is dropped half-way: a mapped buffer cannot be copied to.
        let _unmap = Unmap(&self.staging);
        let (sender, receiver) = oneshot_channel();
        self.staging.map_async(MapMode::Read, 0..filled, move |result| {
            // The receiver is gone only if the caller dropped the future.
            let _ = sender.send(result);
        });
        let lost = || Error::ReadBack("the device went away".into());
        receiver.receive().await.ok_or_else(lost)?.map_err(|e| Error::ReadBack(e.to_string()))?;
        let view = self.staging.get_mapped_range(0..filled);
        let data = view.map(|view| bytemuck::pod_collect_to_vec(&view));
        data.map_err(|e| Error::ReadBack(e.to_string()))
    }
}

struct Unmap<'a>(&'a wgpu::Buffer);

impl Drop for Unmap<'_> {
    fn drop(&mut self) {
        self.0.unmap();
    }
}
