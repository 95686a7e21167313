//! The memory available to this process.

#[cfg(feature = "files")]
mod system;

/// The bytes that are assumed where no system reports any: 1 TiB, or the address space if it is smaller.
const UNREPORTED: u64 = if usize::BITS < 64 { isize::MAX as u64 } else { 1 << 40 };

/// Returns the number of bytes that this process can still allocate: the minimum of the machine's free memory, the
/// limits of its control groups and its own limits (`ulimit -v`, `ulimit -d`). Returns 1 TiB, or the address space if
/// it is smaller, if the system reports none; without the feature `files` no system is asked.
pub fn available_memory() -> u64 {
    #[cfg(feature = "files")]
    return system::available_memory().unwrap_or(UNREPORTED);
    #[cfg(not(feature = "files"))]
    UNREPORTED
}
