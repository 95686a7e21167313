//! What holds of files whatever is in them: nothing panics, memory is in proportion to the file, an error says
//! which file, and what is read can be written and read again. The tests try it on files that they make up, the
//! programs in `fuzz` on those that they search for.

#![allow(dead_code, reason = "every test and every program uses its own part of this")]

pub mod checkpoint;
pub mod data;
pub mod memory;
pub mod model;
pub mod sealed;
pub mod state;

use std::path::Path;

/// Calls `f` with the path of a file of these bytes, which is gone afterwards.
fn with_file<T>(name: &str, bytes: &[u8], f: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    f(&path)
}

/// The bytes with another part in the place of one as long.
fn replaced(bytes: &[u8], part: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.windows(part.len().max(1)).position(|window| window == part)?;
    (part.len() == other.len()).then(|| [&bytes[..at], other, &bytes[at + part.len()..]].concat())
}
