//! Files with checksums.

use super::memory::peak;
use serde_json::{Map, Value};
use std::path::Path;
use wgpu_optim::checkpoint::CheckpointError;

/// Calls `read` with these bytes, and checks its memory use and the file name in errors.
pub fn read<T>(
    bytes: &[u8],
    read: impl FnOnce(&Path) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let (read, peak) = peak(|| read(Path::new("there/file")));
    let limit = (1 << 18) + 64 * bytes.len();
    assert!(peak < limit, "{peak} bytes for {} of a file, {limit} allowed", bytes.len());
    if let Err(error) = &read {
        assert!(error.to_string().starts_with("there/file: "), "{error}");
    }
    read
}

/// Calls `read` with corrected checksums, so that later checks are reached.
pub fn with_corrected_checksums<T>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, CheckpointError>,
) -> Option<T> {
    let mut bytes = bytes.to_vec();
    // Each tensor has a checksum, and the texts have one.
    for _ in 0..20 {
        let reason = match read(&bytes) {
            Ok(value) => return Some(value),
            Err(CheckpointError::Damaged { reason, .. }) => reason,
            Err(_) => return None,
        };
        let sums = reason.strip_prefix("its checksum is ")?;
        let (found, said) = sums.split_once(", but should be ")?;
        bytes = super::replaced(&bytes, said.as_bytes(), found.as_bytes())?;
    }
    None
}

/// The texts of a file, without checksums.
pub fn texts(whole: &[u8]) -> Vec<(String, String)> {
    let header = header(whole).0;
    let texts: Map<String, Value> = header["__metadata__"].as_object().unwrap().clone();
    let texts = texts.into_iter().filter(|(key, _)| !key.starts_with("crc32"));
    texts.map(|(key, text)| (key, text.as_str().unwrap().to_string())).collect()
}

/// The file with replaced texts.
pub fn with_texts(whole: &[u8], texts: impl IntoIterator<Item = (String, String)>) -> Vec<u8> {
    let (mut header, data) = header(whole);
    texts.into_iter().for_each(|(key, text)| header["__metadata__"][key] = text.into());
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes(), &header[..], data].concat()
}

fn header(bytes: &[u8]) -> (Value, &[u8]) {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    (serde_json::from_slice(header).unwrap(), data)
}
