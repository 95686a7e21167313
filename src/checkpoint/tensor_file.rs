//! Safetensors files: named tensors and named texts (the metadata).
//!
//! The format has no checksums. This module stores one of every tensor among the texts, and one of the texts.

use super::CheckpointError;
use super::files::{Files, atomic_write};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorInfo};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Metadata keys of the checksums: a prefix for those of tensors, and the key for the texts.
const OF_TENSOR: &str = "crc32:";
const OF_TEXTS: &str = "crc32";

/// Texts by name; the order makes the file deterministic.
pub type Texts = BTreeMap<String, String>;

/// A tensor: type, shape and bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Cow<'a, [u8]>,
}

/// The content of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorFile<'a> {
    pub texts: Texts,
    pub tensors: BTreeMap<String, Tensor<'a>>,
}

impl<'a> Tensor<'a> {
    /// A vector of f32.
    pub fn single(values: &'a [f32]) -> Self {
        Tensor { dtype: Dtype::F32, shape: vec![values.len()], bytes: little_endian(values, 4) }
    }

    /// A vector of f64.
    #[cfg(feature = "files")]
    pub fn double(values: &'a [f64]) -> Self {
        Tensor { dtype: Dtype::F64, shape: vec![values.len()], bytes: little_endian(values, 8) }
    }

    /// The elements of a tensor of f32.
    pub fn singles(&self) -> Result<Vec<f32>, String> {
        self.numbers(Dtype::F32, f32::from_le_bytes)
    }

    /// The elements of a tensor of f64.
    #[cfg(feature = "files")]
    pub fn doubles(&self) -> Result<Vec<f64>, String> {
        self.numbers(Dtype::F64, f64::from_le_bytes)
    }

    fn numbers<T, const N: usize>(
        &self,
        dtype: Dtype,
        number: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, String> {
        if self.dtype != dtype {
            return Err(format!("is {}, but must be {dtype}", self.dtype));
        }
        Ok(self.bytes.as_chunks().0.iter().map(|&bytes| number(bytes)).collect())
    }
}

/// The little-endian bytes of numbers, borrowed on little-endian hosts.
fn little_endian<T: bytemuck::NoUninit>(values: &[T], size: usize) -> Cow<'_, [u8]> {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    if cfg!(target_endian = "little") {
        return bytes.into();
    }
    bytes.chunks(size).flat_map(|number| number.iter().rev().copied()).collect()
}

impl<'a> TensorFile<'a> {
    /// The bytes of the header, and the tensors in file order.
    fn header(&self) -> (Vec<u8>, Vec<&Tensor<'a>>) {
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".into(), serde_json::json!(self.texts));
        // Wider elements first, so that every tensor is aligned.
        let mut sorted: Vec<_> = self.tensors.iter().collect();
        sorted.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype.bitsize()));
        let mut end = 0;
        for (name, Tensor { dtype, shape, bytes }) in &sorted {
            let start = end;
            end += bytes.len();
            let info = TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (start, end) };
            header.insert(name.to_string(), serde_json::json!(info));
        }
        let header = serde_json::Value::Object(header).to_string().into_bytes();
        let mut bytes = (header.len().next_multiple_of(8) as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        (bytes, sorted.into_iter().map(|(_, tensor)| tensor).collect())
    }

    /// Writes the file atomically. The output is deterministic.
    pub fn write(&self, files: &dyn Files, path: &Path) -> Result<(), CheckpointError> {
        let (header, tensors) = self.header();
        let tensors = tensors.into_iter().map(|tensor| &tensor.bytes[..]);
        atomic_write(files, path, std::iter::once(&header[..]).chain(tensors))
    }

    /// Parses a safetensors file, without verifying checksums.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let error = |error: safetensors::SafeTensorError| error.to_string();
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(error)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(error)?.tensors().into_iter();
        let tensors = tensors.map(|(name, view)| {
            let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().into());
            (name, Tensor { dtype, shape, bytes })
        });
        let texts = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(TensorFile { texts, tensors: tensors.collect() })
    }

    /// Adds a checksum of every tensor, and one of the texts.
    pub fn add_checksums(&mut self) {
        let sums = self.tensors.iter().map(|(name, tensor)| (format!("{OF_TENSOR}{name}"), sum(tensor)));
        self.texts.extend(sums.collect::<Vec<_>>());
        self.texts.insert(OF_TEXTS.into(), sum_of(&self.texts));
    }

    /// Parses a file with checksums. Any changed bit is an error: the damaged part and the reason.
    pub fn parse_checked(bytes: &'a [u8]) -> Result<Self, (String, String)> {
        let header = |reason: &str| ("the header".to_string(), reason.to_string());
        let mut file = Self::parse(bytes).map_err(|reason| header(&reason))?;
        let (written, _) = file.header();
        let expected = file.texts.remove(OF_TEXTS).ok_or_else(|| header("it has no checksum"))?;
        let computed = sum_of(&file.texts);
        if expected != computed {
            return Err(header(&format!("its checksum is {computed}, but should be {expected}")));
        }
        for (name, tensor) in &file.tensors {
            let computed = sum(tensor);
            match file.texts.remove(&format!("{OF_TENSOR}{name}")) {
                Some(expected) if expected == computed => {}
                Some(expected) => {
                    let reason = format!("its checksum is {computed}, but should be {expected}");
                    return Err((name.clone(), reason));
                }
                None => return Err(header(&format!("it has no checksum of `{name}`"))),
            }
        }
        if let Some(name) = file.texts.keys().find_map(|key| key.strip_prefix(OF_TENSOR)) {
            return Err((name.into(), "the tensor is missing".into()));
        }
        // Changes that no checksum covers, such as white space between two parts.
        if !bytes.starts_with(&written) {
            return Err(header("it differs from the header that was written"));
        }
        Ok(file)
    }
}

/// The checksum of a tensor's type, shape and bytes.
fn sum(Tensor { dtype, shape, bytes }: &Tensor) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(format!("{dtype} {shape:?} ").as_bytes());
    hasher.update(bytes);
    format!("{:08x}", hasher.finalize())
}

fn sum_of(texts: &Texts) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for part in texts.iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    format!("{:08x}", hasher.finalize())
}
