//! Prefetching.

/// f32 in a line of the processor's caches.
pub const LINE: usize = 16;
/// Elements that are prefetched together, and the distance to them.
pub const BLOCK: usize = 4 * LINE;
pub const AHEAD: usize = 512;

/// Prefetches the cache line of `x[at]`, which may be past the end.
///
/// Processors fetch ahead by themselves, but not across a page's end, and not while dividers and roots fill
/// their look-ahead. `benches/NOTES.md` has the measured gain.
#[inline(always)]
pub fn prefetch<T>(x: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction reads nothing and cannot fault, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (x, at);
}

/// Asks for the block of a stream that is [`AHEAD`] of this one.
#[inline(always)]
pub fn ahead<T>(block: &[T; BLOCK]) {
    (AHEAD..AHEAD + BLOCK).step_by(LINE).for_each(|line| prefetch(block, line));
}
