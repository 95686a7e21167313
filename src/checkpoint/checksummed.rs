//! Files with checksums, of a kind and version that the file names.

use super::CheckpointError;
use super::files::Files;
use super::tensor_file::{Tensor, TensorFile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub struct FileKind {
    /// Its name in messages, with an article.
    pub name: &'static str,
    /// The metadata key of its version.
    pub key: &'static str,
    /// Increased when old and new files could be misread as each other.
    pub version: u32,
}

/// A file whose checksums were verified.
#[derive(Debug)]
pub struct ChecksummedFile<'a> {
    path: PathBuf,
    kind: FileKind,
    file: TensorFile<'a>,
}

impl FileKind {
    /// Writes tensors and texts as a file of this kind, with checksums.
    pub fn write(
        &self,
        files: &dyn Files,
        path: &Path,
        mut file: TensorFile,
    ) -> Result<(), CheckpointError> {
        file.texts.insert(self.key.into(), self.version.to_string());
        file.add_checksums();
        file.write(files, path)
    }

    /// Parses the bytes of a file of this kind, and verifies checksums and version.
    pub fn read<'a>(
        &self,
        path: &Path,
        bytes: &'a [u8],
    ) -> Result<ChecksummedFile<'a>, CheckpointError> {
        let file = TensorFile::parse_checked(bytes)
            .map_err(|(part, reason)| CheckpointError::Damaged { path: path.into(), part, reason })?;
        let file = ChecksummedFile { path: path.into(), kind: *self, file };
        let version = file.text(self.key)?;
        if version.parse() != Ok(self.version) {
            let known = self.version;
            let reason = format!("its version is {version}, but this library reads version {known}");
            return Err(file.kind_error(reason));
        }
        Ok(file)
    }
}

/// A value as JSON text.
pub fn json(value: &impl Serialize) -> String {
    serde_json::json!(value).to_string()
}

impl ChecksummedFile<'_> {
    /// Returns a text of the metadata.
    pub fn text(&self, key: &str) -> Result<&str, CheckpointError> {
        let text = self.file.texts.get(key).map(String::as_str);
        text.ok_or_else(|| self.kind_error(format!("it has no `{key}`")))
    }

    /// Parses a text of the metadata as JSON.
    pub fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T, CheckpointError> {
        let value = serde_json::from_str(self.text(key)?);
        value.map_err(|error| self.kind_error(format!("{key}: {error}")))
    }

    /// Returns a tensor by name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor<'_>> {
        self.file.tensors.get(name)
    }

    /// Iterates over the names of the tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file.tensors.keys().map(String::as_str)
    }

    /// The error for an intact file of another kind or content.
    pub fn kind_error(&self, reason: String) -> CheckpointError {
        CheckpointError::Kind { path: self.path.clone(), expected: self.kind.name, reason }
    }

    /// The error for a file of another configuration.
    #[cfg(feature = "files")]
    pub fn mismatch(&self, field: &str, saved: String, current: String) -> CheckpointError {
        CheckpointError::Mismatch { path: self.path.clone(), field: field.into(), saved, current }
    }
}
