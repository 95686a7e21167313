//! Properties of readers for every file content: no panic, memory in proportion to the file, errors that name the file,
//! and round trips of what was read. The tests check them with generated files, the programs in `fuzz` with a search.

#![allow(dead_code, reason = "every test and every program uses its own part of this")]

pub mod checkpoint;
pub mod checksummed;
pub mod data;
pub mod memory;
pub mod model;
pub mod state;

use std::path::Path;

/// Calls `f` with the path of a temporary file with these bytes.
fn with_file<T>(name: &str, bytes: &[u8], f: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    f(&path)
}

/// Replaces a part of the bytes by another part of the same length.
fn replaced(bytes: &[u8], part: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.windows(part.len().max(1)).position(|window| window == part)?;
    (part.len() == other.len()).then(|| [&bytes[..at], other, &bytes[at + part.len()..]].concat())
}
