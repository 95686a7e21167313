use super::bindings::check_limit;
use super::span::{Limits, Span};
use crate::Error;
use wgpu::{Buffer, BufferUsages, Device};

/// Elements of a block, which belongs to one tensor: 256 bytes, the largest alignment of binding offsets that a device
/// may require.
pub(crate) const BLOCK: u64 = 64;

/// Maximum number of buffers of a tensor; a tensor with more has a mistaken shape.
const MAX_BUFFERS: u64 = 1024;

/// Parameters and gradients of many tensors in as few buffers as possible.
///
/// An [`Optimizer`](super::Optimizer) updates an arena with one dispatch per binding instead of one per tensor: see
/// [`OptimizerBuilder::arena`](super::OptimizerBuilder::arena). Each tensor starts at a multiple of 256 bytes, so that
/// the caller's kernels can bind its spans. The padding after a tensor has no defined content and may change.
#[derive(Clone, Debug)]
pub struct Arena {
    tensors: Vec<ArenaTensor>,
}

/// A tensor of an [`Arena`].
#[derive(Clone, Debug)]
pub struct ArenaTensor {
    /// Name, unique in the arena.
    pub name: String,
    /// Extents; an empty shape is one element.
    pub shape: Vec<u64>,
    /// Parameters, initially zero: one span, or several consecutive ones if the tensor exceeds the maximum buffer size.
    /// Usages `STORAGE`, `COPY_SRC`, `COPY_DST`, and those given to [`Arena::new`].
    pub params: Vec<Span>,
    /// Gradients, split like the parameters.
    pub grads: Vec<Span>,
}

impl Arena {
    /// Allocates parameters and gradients, all zero, for tensors with these names and shapes (in f32 elements). The
    /// buffers have the usages `STORAGE`, `COPY_SRC`, `COPY_DST` and `usage`.
    ///
    /// # Errors
    /// [`Error::MissingUsage`] if `usage` includes mapping, which devices do not allow for storage;
    /// [`Error::Duplicate`] for a repeated name; [`Error::Limit`] if a buffer cannot hold one block, or a tensor needs
    /// more than 1024 buffers.
    pub fn new<'a>(
        device: &Device,
        usage: BufferUsages,
        shapes: impl IntoIterator<Item = (&'a str, &'a [u64])>,
    ) -> Result<Self, Error> {
        let max = device.limits().max_buffer_size.min(Limits::MAX_BINDING);
        Self::with_max_buffer(device, usage, shapes, max)
    }

    #[doc(hidden)]
    /// Calls [`new`](Self::new) with buffers of at most `max` bytes, so that tests need several.
    pub fn with_max_buffer<'a>(
        device: &Device,
        usage: BufferUsages,
        shapes: impl IntoIterator<Item = (&'a str, &'a [u64])>,
        max: u64,
    ) -> Result<Self, Error> {
        check_limit("max_buffer_size", max, BLOCK * 4, " for an arena")?;
        let mapped = usage & (BufferUsages::MAP_READ | BufferUsages::MAP_WRITE);
        let mappable = device.features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS);
        if !mapped.is_empty() && !mappable {
            let (what, needs) = ("an arena that can be mapped".into(), BufferUsages::STORAGE);
            return Err(Error::MissingUsage { what, has: usage, needs });
        }
        let capacity = max / (BLOCK * 4) * BLOCK;
        let mut names = std::collections::HashSet::new();
        let mut plan = Plan { capacity, buffers: Vec::new() };
        let mut planned = Vec::new();
        for (name, shape) in shapes {
            if !names.insert(name) {
                return Err(Error::Duplicate { name: name.into() });
            }
            let len = shape.iter().fold(1u64, |len, &extent| len.saturating_mul(extent));
            let most = capacity.saturating_mul(MAX_BUFFERS);
            let hint = ": no tensor takes more than 1024 buffers";
            check_limit("number of elements of a tensor", most, len, hint)?;
            planned.push((name, shape, plan.place(len)));
        }
        let usage = usage | BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let allocate = |label| -> Vec<Buffer> {
            let buffer = |&len: &u64| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size: len * 4,
                    usage,
                    mapped_at_creation: false,
                })
            };
            plan.buffers.iter().map(buffer).collect()
        };
        let (params, grads) = (allocate("params"), allocate("grads"));
        let spans = |buffers: &[Buffer], places: &[Place]| {
            let span = |place: &Place| Span::new(&buffers[place.buffer], place.first * 4, place.len);
            places.iter().map(span).collect()
        };
        let tensor = |(name, shape, places): (&str, &[u64], Vec<Place>)| ArenaTensor {
            name: name.into(),
            shape: shape.to_vec(),
            params: spans(&params, &places),
            grads: spans(&grads, &places),
        };
        Ok(Arena { tensors: planned.into_iter().map(tensor).collect() })
    }

    /// Returns the tensors, in the order of `new`'s arguments.
    pub fn tensors(&self) -> &[ArenaTensor] {
        &self.tensors
    }

    /// Returns the tensor with this name.
    pub fn get(&self, name: &str) -> Option<&ArenaTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// The location of some elements of a tensor.
struct Place {
    buffer: usize,
    first: u64,
    len: u64,
}

/// The lengths of the buffers, in elements.
struct Plan {
    capacity: u64,
    buffers: Vec<u64>,
}

impl Plan {
    /// Places a tensor in one buffer if possible, else in as many as needed.
    fn place(&mut self, len: u64) -> Vec<Place> {
        let mut places = Vec::new();
        let mut rest = len;
        while rest > 0 {
            let used = self.buffers.last().copied().unwrap_or(self.capacity);
            if used == self.capacity || (rest <= self.capacity && rest > self.capacity - used) {
                self.buffers.push(0);
                continue;
            }
            let len = rest.min(self.capacity - used);
            let buffer = self.buffers.len() - 1;
            places.push(Place { buffer, first: used, len });
            self.buffers[buffer] = used + len.next_multiple_of(BLOCK);
            rest -= len;
        }
        places
    }
}
