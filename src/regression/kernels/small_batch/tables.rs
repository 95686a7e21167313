//! The buffers of the kernel besides rows and parameters: steps, batches, moments, and the results of updates.

use super::super::steps::USED;
use crate::gpu::bindings::{BufferAccess, buffer_with, check_limit, group, layout};
use crate::gpu::span::{Limits, Span};
use crate::gpu::steps::{self, COUNTED, SLOT};
use crate::{Arithmetic, Error, Rule};
use wgpu::{BindGroup, BindGroupLayout, Buffer, BufferUsages, Device, Queue};

/// Words of a batch's description.
pub const BATCH_WORDS: usize = 4;
/// Bytes of `struct Part` in `shaders/gradient/epochs/epochs.wgsl`.
const PART_BYTES: u64 = 16;

/// The numbers that the sizes of the buffers follow from.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Settings, and orders of the rows.
    pub settings: u64,
    pub orders: u64,
    /// Updates that are prepared at a time, and those of a dispatch.
    pub max_updates: u64,
    pub at_once: u64,
    /// Rows of a batch that are listed.
    pub listed: u64,
    /// Elements of all parameters, and planes of state.
    pub len: u64,
    pub planes: u64,
    /// Whether the parameters after every update are kept.
    pub traced: bool,
}

impl Room {
    pub fn fits(&self) -> u64 {
        self.settings * self.orders
    }

    /// Bytes of the tables: parts, steps, batches, results, state.
    pub fn sizes(&self) -> [u64; 5] {
        let Room { settings, orders, max_updates, at_once, listed, len, planes, traced } = *self;
        let traces = if traced { max_updates } else { 0 };
        [
            max_updates.div_ceil(at_once) * SLOT,
            max_updates * settings * COUNTED as u64,
            orders * max_updates * (BATCH_WORDS as u64 + listed) * 4,
            (len * (1 + traces) + settings * orders * max_updates) * 4,
            len * 4 * planes,
        ]
    }
}

/// The buffers.
#[derive(Debug)]
pub struct Tables {
    room: Room,
    parts: Buffer,
    steps: Buffer,
    settings: Buffer,
    batches: Buffer,
    results: Buffer,
    state: Buffer,
}

impl Tables {
    /// Allocates the buffers.
    ///
    /// # Errors
    /// [`Error::Limit`] if one of them is longer than a binding.
    pub fn new(device: &Device, rules: &[Rule], room: Room) -> Result<Self, Error> {
        let buffer = |label, size, usage| {
            let hint = " for this number of updates and settings at a time";
            let available = Limits::of(device).max_binding;
            check_limit("max_storage_buffer_binding_size", available, size, hint)?;
            let (label, mapped_at_creation) = (Some(label), false);
            let descriptor = wgpu::BufferDescriptor { label, size, usage, mapped_at_creation };
            Ok(device.create_buffer(&descriptor))
        };
        let (storage, uniform) = (BufferUsages::STORAGE, BufferUsages::UNIFORM);
        let (read, write) = (BufferUsages::COPY_SRC, BufferUsages::COPY_DST);
        let [parts, steps, batches, results, state] = room.sizes();
        let mut words = Vec::new();
        for rule in rules {
            let mut slot = [0; SLOT as usize];
            steps::write_rule(&mut slot, rule, 0, Arithmetic::Fast);
            words.extend_from_slice(&slot[COUNTED..USED]);
        }
        Ok(Tables {
            room,
            parts: buffer("parts", parts, uniform | write)?,
            steps: buffer("steps", steps, storage | write)?,
            settings: buffer_with(device, "settings", storage, &words),
            batches: buffer("batches", batches, storage | write)?,
            results: buffer("losses and gradients", results, storage | read)?,
            state: buffer("moments", state, storage | read | write)?,
        })
    }

    pub fn layout(device: &Device) -> BindGroupLayout {
        use BufferAccess::{DynamicUniform, Read, Write};
        layout(device, "epochs", &[DynamicUniform, Write, Write, Read, Read, Read, Write])
    }

    pub fn bindings(&self, device: &Device, layout: &BindGroupLayout, params: &Span) -> BindGroup {
        let part = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.parts,
            offset: 0,
            size: std::num::NonZeroU64::new(PART_BYTES),
        });
        let resources = vec![
            part,
            params.whole_binding(),
            self.state.as_entire_binding(),
            self.steps.as_entire_binding(),
            self.settings.as_entire_binding(),
            self.batches.as_entire_binding(),
            self.results.as_entire_binding(),
        ];
        group(device, "epochs", layout, resources)
    }

    /// Writes `updates` updates: the words of their batches, and of each update the step of every setting.
    pub fn write(&self, queue: &Queue, updates: u64, batches: &[u32], steps: &[[f32; COUNTED / 4]]) {
        let mut parts = Vec::new();
        for first in (0..updates).step_by(self.room.at_once as usize) {
            let end = (first + self.room.at_once).min(updates);
            parts.extend([first as u32, end as u32, updates as u32, 0f32.to_bits()]);
            parts.resize(parts.len().next_multiple_of(SLOT as usize / 4), 0);
        }
        queue.write_buffer(&self.parts, 0, bytemuck::cast_slice(&parts));
        queue.write_buffer(&self.batches, 0, bytemuck::cast_slice(batches));
        queue.write_buffer(&self.steps, 0, bytemuck::cast_slice(steps));
    }

    /// The dispatches of `updates` updates.
    pub fn parts(&self, updates: u64) -> u64 {
        updates.div_ceil(self.room.at_once)
    }

    /// The dynamic offset of a part's description.
    pub fn offset(part: usize) -> u32 {
        (part as u64 * SLOT) as u32
    }

    /// The last gradients, as long as the parameters.
    pub fn gradient(&self) -> Span {
        Span::new(&self.results, 0, self.room.len)
    }

    /// The losses of every update in turn.
    pub fn losses(&self) -> Span {
        let len = self.room.max_updates * self.room.fits();
        Span::new(&self.results, self.room.len * 4, len)
    }

    /// The parameters after every update in turn.
    pub fn trace(&self) -> Option<Span> {
        let before = (self.room.len + self.losses().len) * 4;
        let len = self.room.max_updates * self.room.len;
        self.room.traced.then(|| Span::new(&self.results, before, len))
    }

    /// A plane of the state.
    pub fn plane(&self, i: u64) -> Span {
        Span::new(&self.state, i * self.room.len * 4, self.room.len)
    }
}
