//! Runs of f32 in the caller's buffers, and the arithmetic that cuts them into what one dispatch can
//! bind: no device is needed for it.

use crate::Error;
use wgpu::{BindingResource, Buffer, BufferBinding, BufferUsages};

/// Bytes of an element.
const F32: u64 = 4;
/// Elements that one thread updates at once.
const VECTOR: u64 = 4;

/// `len` f32 at byte `offset` of a buffer. Cloning clones the handle, not the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Where the elements lie.
    pub buffer: Buffer,
    /// The first element's place, in bytes: a multiple of the device's
    /// `min_storage_buffer_offset_alignment`.
    pub offset: u64,
    /// How many f32 there are.
    pub len: u64,
}

impl Span {
    /// All of a buffer.
    pub fn whole(buffer: &Buffer) -> Self {
        Span { buffer: buffer.clone(), offset: 0, len: buffer.size() / F32 }
    }

    /// A part of a buffer: `len` elements from byte `offset` on.
    pub fn new(buffer: &Buffer, offset: u64, len: u64) -> Self {
        Span { buffer: buffer.clone(), offset, len }
    }

    /// Where the span ends, in bytes; `None` past the end of all numbers.
    fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.len.checked_mul(F32)?)
    }

    /// Checks that the span lies within its buffer, at a multiple of `alignment`, with the usages that
    /// are needed.
    pub(crate) fn check(&self, what: &str, alignment: u64, needs: BufferUsages) -> Result<(), Error> {
        let size = self.buffer.size();
        let end = self.end().unwrap_or(u64::MAX);
        if end > size {
            return Err(Error::OutOfBounds { what: what.into(), end, size });
        }
        if !self.offset.is_multiple_of(alignment) {
            return Err(Error::Misaligned { what: what.into(), offset: self.offset, alignment });
        }
        let has = self.buffer.usage();
        if !has.contains(needs) {
            return Err(Error::MissingUsage { what: what.into(), has, needs });
        }
        Ok(())
    }

    /// Whether two checked spans have a byte in common.
    pub(crate) fn overlaps(&self, other: &Span) -> bool {
        let before = |a: &Span, b: &Span| a.end().is_some_and(|end| end <= b.offset);
        self.len > 0
            && other.len > 0
            && self.buffer == other.buffer
            && !before(self, other)
            && !before(other, self)
    }

    /// All bytes of this span, to bind. The span is not empty.
    pub(crate) fn whole_binding(&self) -> BindingResource<'_> {
        self.binding(Piece { first: 0, len: self.len, tail: false })
    }

    /// The bytes of a piece of this span, to bind. The piece is not empty.
    pub(crate) fn binding(&self, piece: Piece) -> BindingResource<'_> {
        BindingResource::Buffer(BufferBinding {
            buffer: &self.buffer,
            offset: self.offset + piece.first * F32,
            size: std::num::NonZeroU64::new(piece.len * F32),
        })
    }
}

/// What the cutting depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that one binding may have.
    pub max_binding: u64,
    /// Every binding's offset is a multiple of this many bytes; a power of two.
    pub alignment: u64,
    /// The most workgroups in one dimension of a dispatch.
    pub max_groups: u32,
}

impl Limits {
    /// No binding is longer, whatever a device says: past 2 GiB drivers compute wrong in silence.
    pub const MAX_BINDING: u64 = 1 << 31;

    /// The limits of a device.
    pub fn of(device: &wgpu::Device) -> Self {
        let limits = device.limits();
        Limits {
            max_binding: limits.max_storage_buffer_binding_size.min(Self::MAX_BINDING),
            alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            max_groups: limits.max_compute_workgroups_per_dimension,
        }
    }

    /// These limits with bindings of at most `bytes`: puts seams into small data, for tests.
    pub fn capped(self, bytes: u64) -> Self {
        Limits { max_binding: self.max_binding.min(bytes), ..self }
    }

    /// The stricter of each limit.
    pub(crate) fn lowered_to(self, other: &Limits) -> Self {
        Limits {
            max_binding: self.max_binding.min(other.max_binding),
            alignment: self.alignment.max(other.alignment),
            max_groups: self.max_groups.min(other.max_groups),
        }
    }

    /// Bindings start at multiples of this: of the device's alignment, and of a vector.
    pub(crate) fn quantum(&self) -> u64 {
        self.alignment.max(VECTOR * F32)
    }

    /// The most elements in a piece: as many whole quanta as a binding takes, and at least one.
    fn piece_len(&self) -> u64 {
        (self.max_binding / self.quantum()).max(1) * self.quantum() / F32
    }
}

/// A part of a span that one dispatch updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first element that is bound, counted from the span's start.
    pub first: u64,
    /// How many elements are bound.
    pub len: u64,
    /// Whether only the last `len % 4` elements are updated, one a thread, rather than all of them as
    /// vectors of four.
    pub tail: bool,
}

impl Piece {
    /// How many threads the piece takes.
    pub fn threads(&self) -> u64 {
        if self.tail { self.len % VECTOR } else { self.len / VECTOR }
    }
}

/// Cuts `len` elements into pieces: vectors of four as far as they go, in bindings as long as the
/// limits allow, and what is left in a tail that is bound from the last quantum on.
pub fn pieces(len: u64, limits: &Limits) -> impl Iterator<Item = Piece> {
    let vectors = len - len % VECTOR;
    let step = limits.piece_len();
    let whole = (0..vectors.div_ceil(step)).map(move |i| {
        let first = i * step;
        Piece { first, len: step.min(vectors - first), tail: false }
    });
    let quantum = limits.quantum() / F32;
    let first = vectors / quantum * quantum;
    let tail = (vectors < len).then_some(Piece { first, len: len - first, tail: true });
    whole.chain(tail)
}

/// The grid of workgroups that covers `threads`: past the limit of one dimension it goes on in y,
/// where a shader's index is `id.y * (num_workgroups.x * workgroup) + id.x`.
pub fn grid(threads: u64, workgroup: u32, max_groups: u32) -> [u32; 3] {
    let groups = threads.div_ceil(u64::from(workgroup));
    let x = groups.clamp(1, u64::from(max_groups.max(1)));
    // A piece is at most 2 GiB, so there are at most 2²⁷ groups of one vector.
    [x as u32, groups.div_ceil(x) as u32, 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(max_binding: u64, alignment: u64) -> Limits {
        Limits { max_binding, alignment, max_groups: 65_535 }
    }

    /// What every cut must be: each element updated once, in order, within what can be bound.
    fn check(len: u64, limits: &Limits) {
        let mut next = 0;
        for piece in pieces(len, limits) {
            let bytes = piece.len * F32;
            assert!((piece.first * F32).is_multiple_of(limits.alignment), "{piece:?} is misaligned");
            assert!(bytes <= limits.max_binding.max(limits.quantum() + 12), "{piece:?} too long");
            assert!(piece.threads() > 0, "{piece:?} is empty");
            let updated = if piece.tail { piece.len % 4 } else { piece.len };
            assert_eq!(piece.first + piece.len - updated, next, "{piece:?} leaves a gap");
            next += updated;
            let [x, y, _] = grid(piece.threads(), 64, limits.max_groups);
            let groups = u64::from(x) * u64::from(y);
            assert!(x <= limits.max_groups && y <= limits.max_groups);
            assert!(groups * 64 >= piece.threads());
            assert!((groups - u64::from(x)) * 64 < piece.threads(), "a row of groups is idle");
        }
        assert_eq!(next, len);
    }

    #[test]
    fn every_length_around_vector_workgroup_and_binding_is_covered_once() {
        for alignment in [1, 4, 16, 32, 256] {
            for max_binding in [16, 256, 512, 1_000, 4_096] {
                let limits = limits(max_binding, alignment);
                (0..=2_200).for_each(|len| check(len, &limits));
            }
        }
    }

    #[test]
    fn lengths_around_the_limits_of_real_devices_are_covered_once() {
        for max_binding in [128 << 20, (1 << 31) - 4, 1 << 31] {
            for alignment in [16, 32, 256] {
                let limits = limits(max_binding, alignment);
                let groups = 65_535 * 64 * 4;
                for edge in [groups, 2 * groups, max_binding / 4, max_binding / 2, 1 << 33] {
                    (edge - 70..edge + 70).for_each(|len| check(len, &limits));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_length_is_covered_once(
            len in 0u64..1 << 40,
            max_binding in 1u64 << 20..1 << 31,
            shift in 0u32..=8,
            max_groups in 1_500u32..=65_535,
        ) {
            let limits = Limits { max_groups, ..limits(max_binding, 1 << shift) };
            check(len, &limits);
        }
    }

    #[test]
    fn a_cap_only_lowers_the_limit() {
        assert_eq!(limits(1_000, 4).capped(256).max_binding, 256);
        assert_eq!(limits(1_000, 4).capped(4_096).max_binding, 1_000);
    }
}
