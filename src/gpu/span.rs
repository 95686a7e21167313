//! Spans of f32 in the caller's buffers, and their division into pieces that one dispatch can bind (pure arithmetic).

use crate::Error;
use wgpu::{BindingResource, Buffer, BufferBinding, BufferUsages};

/// Bytes of an element.
const F32: u64 = 4;
/// Elements behind an aligned region of partial sums of the gradient's norm.
const NORM_REGION: u64 = super::kernels::MEASURED * super::kernels::PARTIALS_ALIGNMENT;
/// Elements per vector of a kernel.
const VECTOR: u64 = 4;

/// `len` f32 at byte `offset` of a buffer. Cloning clones the handle, not the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The buffer.
    pub buffer: Buffer,
    /// Offset of the first element in bytes: a multiple of the device's `min_storage_buffer_offset_alignment` and of
    /// 16.
    pub offset: u64,
    /// Number of f32 elements.
    pub len: u64,
}

impl Span {
    /// Returns the span of a whole buffer.
    pub fn whole(buffer: &Buffer) -> Self {
        Span { buffer: buffer.clone(), offset: 0, len: buffer.size() / F32 }
    }

    /// Returns the span of `len` elements from byte `offset` of a buffer.
    pub fn new(buffer: &Buffer, offset: u64, len: u64) -> Self {
        Span { buffer: buffer.clone(), offset, len }
    }

    /// The end of the span in bytes; `None` if it overflows.
    fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.len.checked_mul(F32)?)
    }

    /// Checks that the span is within its buffer and aligned to `alignment` bytes, and that the buffer has the usages
    /// `needs`.
    pub(crate) fn check(
        &self,
        what: impl Fn() -> String,
        alignment: u64,
        needs: BufferUsages,
    ) -> Result<(), Error> {
        let size = self.buffer.size();
        let end = self.end().unwrap_or(u64::MAX);
        if end > size {
            return Err(Error::OutOfBounds { what: what(), end, size });
        }
        if !self.offset.is_multiple_of(alignment) {
            return Err(Error::Misaligned { what: what(), offset: self.offset, alignment });
        }
        let has = self.buffer.usage();
        if !has.contains(needs) {
            return Err(Error::MissingUsage { what: what(), has, needs });
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

    /// A piece of this span.
    pub(crate) fn part(&self, piece: Piece) -> Span {
        Span { offset: self.offset + piece.first * F32, len: piece.len, ..self.clone() }
    }

    /// The binding of this span, which must not be empty.
    pub(crate) fn whole_binding(&self) -> BindingResource<'_> {
        self.binding(Piece { first: 0, len: self.len })
    }

    /// The binding of a piece of this span, which must not be empty.
    pub(crate) fn binding(&self, piece: Piece) -> BindingResource<'_> {
        BindingResource::Buffer(BufferBinding {
            buffer: &self.buffer,
            offset: self.offset + piece.first * F32,
            size: std::num::NonZeroU64::new(piece.len * F32),
        })
    }
}

/// Device limits that determine how spans are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a binding in bytes.
    pub max_binding: u64,
    /// Alignment of the offsets of bindings in bytes, a power of two.
    pub alignment: u64,
    /// Maximum number of workgroups in one dimension of a dispatch.
    pub max_groups: u32,
}

impl Limits {
    /// Maximum size of a binding in bytes on every device: beyond 2 GiB some drivers silently compute wrong results.
    pub const MAX_BINDING: u64 = 1 << 31;

    /// The limits of a device.
    pub fn of(device: &wgpu::Device) -> Self {
        Self::from(&device.limits())
    }

    /// Returns these limits with bindings of at most `bytes`, so that tests split small data.
    pub fn capped(self, bytes: u64) -> Self {
        Limits { max_binding: self.max_binding.min(bytes), ..self }
    }

    /// Returns the stricter of each limit.
    pub(crate) fn lowered_to(self, other: &Limits) -> Self {
        Limits {
            max_binding: self.max_binding.min(other.max_binding),
            alignment: self.alignment.max(other.alignment),
            max_groups: self.max_groups.min(other.max_groups),
        }
    }

    /// The alignment of pieces in bytes: the device's alignment, but at least one vector.
    pub fn quantum(&self) -> u64 {
        self.alignment.max(VECTOR * F32)
    }

    /// The alignment of pieces in elements.
    pub(crate) fn quantum_len(&self) -> u64 {
        self.quantum() / F32
    }

    /// The maximum length of a piece in elements: as many quanta as one binding holds of all planes, but at least one.
    /// Long pieces end where a region of partial sums of the gradient's norm ends, so that their order does not depend on
    /// the limits.
    fn piece_len(&self, planes: u64) -> u64 {
        let len = (self.max_binding / (self.quantum() * planes.max(1))).max(1) * self.quantum_len();
        if len < NORM_REGION { len } else { len - len % NORM_REGION }
    }
}

impl From<&wgpu::Limits> for Limits {
    fn from(limits: &wgpu::Limits) -> Self {
        Limits {
            max_binding: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size)
                .min(Limits::MAX_BINDING),
            alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            max_groups: limits.max_compute_workgroups_per_dimension,
        }
    }
}

/// A part of a span that one binding can hold, as can its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index of its first element in the span, a multiple of the quantum.
    pub first: u64,
    /// Number of elements, a multiple of the quantum except in the last piece.
    pub len: u64,
}

impl Piece {
    /// The elements that fill whole vectors.
    pub fn vectors(&self) -> Option<Piece> {
        let len = self.len - self.len % VECTOR;
        (len > 0).then_some(Piece { len, ..*self })
    }

    /// The binding for the last one to three elements, which fill no vector: it begins at the last quantum.
    pub fn tail(&self, limits: &Limits) -> Option<Piece> {
        let skipped = self.len - self.len % limits.quantum_len();
        let bound = Piece { first: self.first + skipped, len: self.len - skipped };
        (!self.len.is_multiple_of(VECTOR)).then_some(bound)
    }
}

/// Splits `len` elements into pieces of maximum length. The state of a piece has `planes` planes of the piece's length.
pub fn pieces(len: u64, planes: u64, limits: &Limits) -> impl Iterator<Item = Piece> + use<> {
    let step = limits.piece_len(planes);
    (0..len.div_ceil(step)).map(move |i| {
        let first = i * step;
        Piece { first, len: step.min(len - first) }
    })
}

/// Finds two overlapping spans of which at least one is written (`true`), and returns their indices.
pub(crate) fn overlapping(spans: &[(&Span, bool)]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..spans.len()).filter(|&i| spans[i].0.len > 0).collect();
    order.sort_by_key(|&i| (&spans[i].0.buffer, spans[i].0.offset));
    // The spans with the furthest end so far: of all, and of those that are written.
    let (mut any, mut written) = (None::<usize>, None::<usize>);
    for i in order {
        let (span, writes) = spans[i];
        let met = if writes { any } else { written };
        if let Some(other) = met.filter(|&other| spans[other].0.overlaps(span)) {
            return Some((other.min(i), other.max(i)));
        }
        let reaches = |other: Option<usize>| {
            other.is_some_and(|o| spans[o].0.buffer == span.buffer && spans[o].0.end() >= span.end())
        };
        if !reaches(any) {
            any = Some(i);
        }
        if writes && !reaches(written) {
            written = Some(i);
        }
    }
    None
}

/// The grid of workgroups that covers `threads`. Beyond the limit of one dimension it extends in y; the index of a
/// thread is `id.y * (num_workgroups.x * workgroup) + id.x`.
pub fn grid(threads: u64, workgroup: u32, max_groups: u32) -> [u32; 3] {
    let groups = threads.div_ceil(u64::from(workgroup));
    let x = groups.clamp(1, u64::from(max_groups.max(1)));
    // A piece has at most 2 GiB, so there are at most 2²⁷ workgroups of one vector.
    [x as u32, groups.div_ceil(x) as u32, 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(max_binding: u64, alignment: u64) -> Limits {
        Limits { max_binding, alignment, max_groups: 65_535 }
    }

    /// Checks a division: every element once, in order, within the limits of bindings.
    fn check(len: u64, planes: u64, limits: &Limits) {
        let most = limits.max_binding.max(limits.quantum() * planes.max(1));
        let mut next = 0;
        for piece in pieces(len, planes, limits) {
            assert!((piece.first * F32).is_multiple_of(limits.alignment), "{piece:?} is misaligned");
            assert!(piece.len.next_multiple_of(limits.quantum_len()) * F32 * planes <= most);
            assert_eq!(piece.first, next, "{piece:?} leaves a gap");
            next += piece.len;
            let vectors = piece.vectors().map_or(0, |vectors| vectors.len);
            let rest = piece.tail(limits).map_or(0, |tail| {
                assert!((tail.first * F32).is_multiple_of(limits.alignment));
                assert_eq!(tail.first + tail.len, piece.first + piece.len);
                assert!(tail.len < limits.quantum_len());
                tail.len % VECTOR
            });
            assert_eq!(vectors + rest, piece.len);
            let threads = vectors / VECTOR;
            let [x, y, _] = grid(threads, 64, limits.max_groups);
            let groups = u64::from(x) * u64::from(y);
            assert!(x <= limits.max_groups && y <= limits.max_groups);
            assert!(groups * 64 >= threads);
            assert!(threads == 0 || (groups - u64::from(x)) * 64 < threads, "a row of groups is idle");
        }
        assert_eq!(next, len);
    }

    #[test]
    fn every_length_around_vector_workgroup_and_binding_is_covered_once() {
        for alignment in [1, 4, 16, 32, 256] {
            for max_binding in [16, 256, 512, 1_000, 4_096] {
                let limits = limits(max_binding, alignment);
                (0..=2_200).for_each(|len| check(len, len % 6, &limits));
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
                    (edge - 70..edge + 70).for_each(|len| check(len, len % 6, &limits));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_length_is_covered_once(
            len in 0u64..1 << 40,
            planes in 0u64..6,
            max_binding in 1u64 << 20..1 << 31,
            shift in 0u32..=8,
            max_groups in 1_500u32..=65_535,
        ) {
            let limits = Limits { max_groups, ..limits(max_binding, 1 << shift) };
            check(len, planes, &limits);
        }
    }

    #[test]
    fn a_cap_only_lowers_the_limit() {
        assert_eq!(limits(1_000, 4).capped(256).max_binding, 256);
        assert_eq!(limits(1_000, 4).capped(4_096).max_binding, 1_000);
    }
}
