//! Safetensors files.

use crate::command::Failure;
use crate::command::output::AtomicFile;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use wgpu_optim::cpu::Real;

/// A safetensors file in memory.
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Offset of the first byte after the header.
    data: usize,
    header: Metadata,
}

/// Element type of tensors that rules step.
pub trait Element: Real {
    const DTYPE: Dtype;

    /// Whether elements of this type convert to `Self` without loss.
    fn holds(dtype: Dtype) -> bool;
    /// Converts the bytes of a tensor of this type; `None` if the type does not convert without loss.
    fn read(dtype: Dtype, bytes: &[u8]) -> Option<Vec<Self>>;
    fn bytes(values: &[Self]) -> &[u8];
}

fn words<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&word| of(word)).collect()
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;

    fn holds(dtype: Dtype) -> bool {
        dtype == Dtype::F32
    }

    fn read(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
        (dtype == Dtype::F32).then(|| words(bytes, f32::from_le_bytes))
    }

    fn bytes(values: &[f32]) -> &[u8] {
        bytemuck::cast_slice(values)
    }
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;

    fn holds(dtype: Dtype) -> bool {
        matches!(dtype, Dtype::F32 | Dtype::F64)
    }

    fn read(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
        match dtype {
            Dtype::F64 => Some(words(bytes, f64::from_le_bytes)),
            Dtype::F32 => Some(words(bytes, |word| f64::from(f32::from_le_bytes(word)))),
            _ => None,
        }
    }

    fn bytes(values: &[f64]) -> &[u8] {
        bytemuck::cast_slice(values)
    }
}

impl TensorFile {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let error = |why: String| Failure::Input(format!("{}: {why}", path.display()));
        let bytes = std::fs::read(path).map_err(|e| error(e.to_string()))?;
        let header = SafeTensors::read_metadata(&bytes);
        let (length, header) = header.map_err(|e| error(format!("is not a safetensors file: {e}")))?;
        Ok(TensorFile { path: path.into(), bytes, data: 8 + length, header })
    }

    /// The names of the tensors, in file order.
    pub fn names(&self) -> Vec<String> {
        let mut tensors: Vec<_> = self.header.tensors().into_iter().collect();
        tensors.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));
        tensors.into_iter().map(|(name, _)| name).collect()
    }

    /// The metadata of the file.
    pub fn metadata(&self) -> Option<&HashMap<String, String>> {
        self.header.metadata().as_ref()
    }

    pub fn has(&self, name: &str) -> bool {
        self.header.info(name).is_some()
    }

    pub fn shape(&self, name: &str) -> Result<&[usize], Failure> {
        Ok(&self.info(name)?.shape)
    }

    /// The elements of a tensor.
    pub fn elements<R: Element>(&self, name: &str) -> Result<Vec<R>, Failure> {
        let info = self.info(name)?;
        let mismatch = || self.error(name, &needed::<R>(info.dtype));
        R::read(info.dtype, self.bytes(info)).ok_or_else(mismatch)
    }

    pub fn dtype(&self, name: &str) -> Result<Dtype, Failure> {
        Ok(self.info(name)?.dtype)
    }

    /// The bytes of a tensor, with its type and shape.
    pub fn raw(&self, name: &str) -> Result<Raw, Failure> {
        let info = self.info(name)?;
        let (shape, bytes) = (info.shape.clone(), self.bytes(info).to_vec());
        Ok(Raw { name: name.into(), dtype: info.dtype, shape, bytes })
    }

    /// The elements of a tensor that must have this shape.
    pub fn elements_of<R: Element>(&self, name: &str, shape: &[usize]) -> Result<Vec<R>, Failure> {
        let found = self.shape(name)?;
        if found != shape {
            let why = format!("has the shape {found:?}, but its parameter has {shape:?}");
            return Err(self.error(name, &why));
        }
        self.elements(name)
    }

    /// Reads a count: one number, of any type.
    pub fn count(&self, name: &str) -> Result<u64, Failure> {
        let info = self.info(name)?;
        let bytes = self.bytes(info);
        let number = match info.dtype {
            Dtype::F32 => one(bytes, |word| f32::from_le_bytes(word).into()),
            Dtype::F64 => one(bytes, f64::from_le_bytes),
            Dtype::I32 => one(bytes, |word| i32::from_le_bytes(word).into()),
            Dtype::U32 => one(bytes, |word| u32::from_le_bytes(word).into()),
            Dtype::I64 => one(bytes, |word| i64::from_le_bytes(word) as f64),
            Dtype::U64 => one(bytes, |word| u64::from_le_bytes(word) as f64),
            other => {
                return Err(self
                    .error(name, &format!("has the type {other}, which is not supported for a step")));
            }
        };
        let Some(number) = number else {
            return Err(
                self.error(name, &format!("has the shape {:?}, but must be one number", info.shape))
            );
        };
        // f64 represents every step up to this one exactly.
        if number.fract() == 0.0 && (0.0..=2f64.powi(53)).contains(&number) {
            return Ok(number as u64);
        }
        Err(self.error(name, &format!("is {number}, but must be a whole number from 0 to 2⁵³")))
    }

    /// An error about a tensor of this file.
    pub fn error(&self, tensor: &str, why: &str) -> Failure {
        Failure::Input(format!("{}: `{tensor}` {why}", self.path.display()))
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, Failure> {
        self.header.info(name).ok_or_else(|| self.error(name, "is missing"))
    }

    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        let (start, end) = info.data_offsets;
        &self.bytes[self.data + start..self.data + end]
    }
}

/// The message for elements of a type that does not convert to `R`.
pub fn needed<R: Element>(dtype: Dtype) -> String {
    let hint = match (dtype, R::DTYPE) {
        (Dtype::F64, Dtype::F32) => " (--device f64 accepts F64)",
        _ => "",
    };
    format!("has the type {dtype}, but {} is required{hint}", R::DTYPE)
}

/// A tensor of any type, as uninterpreted bytes.
pub struct Raw {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Raw {
    pub fn output(&self) -> Output<'_> {
        let (name, bytes) = (self.name.clone(), std::borrow::Cow::Borrowed(&self.bytes[..]));
        Output { name, dtype: self.dtype, shape: &self.shape, bytes }
    }
}

fn one<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Option<f64> {
    bytes.try_into().ok().map(number)
}

/// A tensor to write.
pub struct Output<'a> {
    pub name: String,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub bytes: std::borrow::Cow<'a, [u8]>,
}

/// Writes tensors in order, wider elements first so that all are aligned. The output is deterministic; the crate's own
/// writer does not guarantee that for metadata.
pub fn write<'a>(
    path: &'a Path,
    metadata: Option<&HashMap<String, String>>,
    mut tensors: Vec<Output>,
) -> Result<AtomicFile<'a>, Failure> {
    tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.bitsize()));
    let mut header = serde_json::Map::new();
    if let Some(metadata) = metadata {
        let sorted: BTreeMap<_, _> = metadata.iter().collect();
        header.insert("__metadata__".into(), serde_json::json!(sorted));
    }
    let mut end = 0;
    for tensor in &tensors {
        let start = end;
        end += tensor.bytes.len();
        let (dtype, shape) = (tensor.dtype, tensor.shape.to_vec());
        let info = TensorInfo { dtype, shape, data_offsets: (start, end) };
        header.insert(tensor.name.clone(), serde_json::json!(info));
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    AtomicFile::write(path, |file: &mut dyn Write| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| file.write_all(&tensor.bytes))
    })
}
