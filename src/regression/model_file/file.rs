//! The file format of models: safetensors, with everything but tensors as JSON in the metadata.

use super::{ModelFileError, Precision, SavedModel};
use crate::checkpoint::{CheckpointError, Disk, Tensor, TensorFile, Texts};
use crate::regression::Scaling;
use safetensors::Dtype;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// Increased when old and new files could be misread as each other.
const VERSION: u32 = 1;
const VERSION_KEY: &str = "wgpu_optim_model";
const CHECKSUM_KEY: &str = "checksum";

type Tensors<'a> = BTreeMap<String, Tensor<'a>>;

impl SavedModel {
    /// Writes the model to a file atomically. The output is deterministic.
    ///
    /// # Errors
    /// [`ModelFileError::Part`] if the model is inconsistent; [`ModelFileError::File`] if it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelFileError> {
        self.check().map_err(|(part, reason)| part_error(path, part, reason))?;
        let tensors = self.tensors();
        let mut metadata = self.metadata();
        metadata.insert(CHECKSUM_KEY.into(), checksum(&metadata, &tensors));
        TensorFile { texts: metadata, tensors }.write(&Disk, path).map_err(|error| match error {
            CheckpointError::File { path, error, .. } => ModelFileError::File { path, error },
            other => part_error(path, "file", other.to_string()),
        })
    }

    /// Reads a model from a file, and validates it.
    ///
    /// # Errors
    /// [`ModelFileError`], naming the file and the invalid part.
    pub fn load(path: &Path) -> Result<Self, ModelFileError> {
        let bytes = std::fs::read(path);
        let bytes = bytes.map_err(|error| ModelFileError::File { path: path.into(), error })?;
        let format = |reason| ModelFileError::Format { path: path.into(), reason };
        let TensorFile { texts, tensors } = TensorFile::parse(&bytes).map_err(format)?;
        let mut file = File { path, metadata: texts, tensors };
        let version = file.text(VERSION_KEY)?;
        if version.parse() != Ok(VERSION) {
            let (path, found) = (path.into(), version.into());
            return Err(ModelFileError::Version { path, found, known: VERSION });
        }
        let found = file.text(CHECKSUM_KEY)?.to_string();
        file.metadata.remove(CHECKSUM_KEY);
        let computed = checksum(&file.metadata, &file.tensors);
        if found != computed {
            return Err(ModelFileError::Checksum { path: path.into(), found, computed });
        }
        let (coef, precision) = file.numbers("coef")?;
        let optional =
            |name: &'static str| file.tensors.contains_key(name).then(|| file.numbers(name)).transpose();
        let (mean, scale) = (optional("mean")?, optional("scale")?);
        let saved = SavedModel {
            model: file.json("model")?,
            coef,
            intercept: optional("intercept")?.map_or(Vec::new(), |(values, _)| values),
            precision,
            names: file.json("names")?,
            target_names: file.json("target_names")?,
            classes: optional("classes")?.map(|(values, _)| values),
            class_names: file.optional_json("class_names")?,
            columns: file.optional_json("columns")?,
            scaling: match (mean, scale) {
                (None, None) => None,
                (mean, scale) => Some(Scaling {
                    mean: mean.map_or(Vec::new(), |(values, _)| values),
                    scale: scale.map_or(Vec::new(), |(values, _)| values),
                }),
            },
            training: file.json("training")?,
        };
        saved.check().map_err(|(part, reason)| part_error(path, part, reason))?;
        saved.tensors().iter().try_for_each(|(name, tensor)| file.has_shape(name, tensor))?;
        Ok(saved)
    }

    fn tensors(&self) -> Tensors<'_> {
        let double = |name: &'static str, shape: &[usize], values: &[f64]| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name.to_string(), Tensor { dtype: Dtype::F64, shape: shape.into(), bytes })
        };
        let own = |name: &'static str, shape: &[usize], values: &[f64]| match self.precision {
            Precision::Double => double(name, shape, values),
            Precision::Single => {
                let bytes = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
                (name.to_string(), Tensor { dtype: Dtype::F32, shape: shape.into(), bytes })
            }
        };
        let model = &self.model;
        let mut tensors = Tensors::from([own("coef", &[model.outputs, model.features], &self.coef)]);
        if model.intercept {
            tensors.extend([own("intercept", &[model.outputs], &self.intercept)]);
        }
        tensors.extend(self.classes.iter().map(|classes| double("classes", &[classes.len()], classes)));
        if let Some(Scaling { mean, scale }) = &self.scaling {
            tensors
                .extend([double("mean", &[mean.len()], mean), double("scale", &[scale.len()], scale)]);
        }
        tensors
    }

    fn metadata(&self) -> Texts {
        let json = |value: serde_json::Value| value.to_string();
        let optional = [
            ("class_names", self.class_names.as_ref().map(|names| serde_json::json!(names))),
            ("columns", self.columns.as_ref().map(|columns| serde_json::json!(columns))),
        ];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key, json(value?))));
        let always = [
            (VERSION_KEY, VERSION.to_string()),
            ("model", json(serde_json::json!(self.model))),
            ("names", json(serde_json::json!(self.names))),
            ("target_names", json(serde_json::json!(self.target_names))),
            ("training", json(serde_json::json!(self.training))),
        ];
        always.into_iter().chain(optional).map(|(key, value)| (key.into(), value)).collect()
    }
}

/// A file that is being read.
struct File<'a> {
    path: &'a Path,
    metadata: Texts,
    tensors: Tensors<'a>,
}

impl File<'_> {
    fn text(&self, key: &'static str) -> Result<&str, ModelFileError> {
        let text = self.metadata.get(key).map(String::as_str);
        text.ok_or_else(|| ModelFileError::NoModel { path: self.path.into(), key })
    }

    fn json<T: DeserializeOwned>(&self, key: &'static str) -> Result<T, ModelFileError> {
        serde_json::from_str(self.text(key)?).map_err(|error| self.error(key, error.to_string()))
    }

    fn optional_json<T: DeserializeOwned>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, ModelFileError> {
        self.metadata.contains_key(key).then(|| self.json(key)).transpose()
    }

    /// The elements of a tensor, and their precision.
    fn numbers(&self, name: &'static str) -> Result<(Vec<f64>, Precision), ModelFileError> {
        let Tensor { dtype, bytes, .. } = self.tensor(name)?;
        match dtype {
            Dtype::F64 => {
                let words = bytes.as_chunks().0.iter();
                Ok((words.map(|&word| f64::from_le_bytes(word)).collect(), Precision::Double))
            }
            Dtype::F32 => {
                let words = bytes.as_chunks().0.iter();
                Ok((words.map(|&word| f32::from_le_bytes(word).into()).collect(), Precision::Single))
            }
            other => Err(self.error(name, format!("has the type {other}, but must have F32 or F64"))),
        }
    }

    fn has_shape(&self, name: &str, expected: &Tensor) -> Result<(), ModelFileError> {
        let Some(Tensor { dtype, shape, .. }) = self.tensors.get(name) else { return Ok(()) };
        if (dtype, shape) == (&expected.dtype, &expected.shape) {
            return Ok(());
        }
        let reason =
            format!("is {dtype} {shape:?}, but must be {} {:?}", expected.dtype, expected.shape);
        Err(self.error(name, reason))
    }

    fn tensor(&self, name: &'static str) -> Result<&Tensor<'_>, ModelFileError> {
        self.tensors.get(name).ok_or_else(|| self.error(name, "the tensor is missing".into()))
    }

    fn error(&self, part: &str, reason: String) -> ModelFileError {
        part_error(self.path, part, reason)
    }
}

fn part_error(path: &Path, part: &str, reason: String) -> ModelFileError {
    ModelFileError::Part { path: path.into(), part: part.into(), reason }
}

/// The checksum of all tensors and all metadata except itself.
fn checksum(metadata: &Texts, tensors: &Tensors) -> String {
    let mut hasher = crc32fast::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (key, value) in metadata {
        add(key.as_bytes());
        add(value.as_bytes());
    }
    for (name, Tensor { dtype, shape, bytes }) in tensors {
        add(name.as_bytes());
        add(format!("{dtype} {shape:?}").as_bytes());
        add(bytes);
    }
    format!("crc32 {:08x}", hasher.finalize())
}
