//! A sealed file of a kind: what it is, and of which version, stands in it.

use super::CheckpointError;
use super::files::Files;
use super::tensor_file::{Tensor, TensorFile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What it is called in messages.
    pub name: &'static str,
    /// The text that holds its version.
    pub key: &'static str,
    /// Changes when a file could be read as something else than was meant.
    pub version: u32,
}

/// A file that was read, all of it, and is what was written.
#[derive(Debug)]
pub struct ChecksummedFile<'a> {
    path: PathBuf,
    kind: Kind,
    file: TensorFile<'a>,
}

impl Kind {
    /// Writes tensors and texts as a file of this kind.
    pub fn write(
        &self,
        files: &dyn Files,
        path: &Path,
        mut file: TensorFile,
    ) -> Result<(), CheckpointError> {
        file.texts.insert(self.key.into(), self.version.to_string());
        file.seal();
        file.write(files, path)
    }

    /// What the bytes of a file of this kind say.
    pub fn read<'a>(
        &self,
        path: &Path,
        bytes: &'a [u8],
    ) -> Result<ChecksummedFile<'a>, CheckpointError> {
        let file = TensorFile::unseal(bytes).map_err(|(part, reason)| CheckpointError::Damaged {
            path: path.into(),
            part,
            reason,
        })?;
        let sealed = ChecksummedFile { path: path.into(), kind: *self, file };
        let version = sealed.text(self.key)?;
        if version.parse() != Ok(self.version) {
            let known = self.version;
            return Err(sealed.no_such(format!("its version is {version}, and {known} is read here")));
        }
        Ok(sealed)
    }
}

/// A value as a text.
pub fn json(value: &impl Serialize) -> String {
    serde_json::json!(value).to_string()
}

impl ChecksummedFile<'_> {
    /// One of them.
    pub fn text(&self, key: &str) -> Result<&str, CheckpointError> {
        let text = self.file.texts.get(key).map(String::as_str);
        text.ok_or_else(|| self.no_such(format!("it has no `{key}`")))
    }

    /// What one of them says.
    pub fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T, CheckpointError> {
        let value = serde_json::from_str(self.text(key)?);
        value.map_err(|error| self.no_such(format!("{key}: {error}")))
    }

    /// A tensor, where it is there.
    pub fn tensor(&self, name: &str) -> Option<&Tensor<'_>> {
        self.file.tensors.get(name)
    }

    /// The names of the tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file.tensors.keys().map(String::as_str)
    }

    /// It is whole, but not what was wanted.
    pub fn no_such(&self, reason: String) -> CheckpointError {
        CheckpointError::Kind { path: self.path.clone(), wanted: self.kind.name, reason }
    }

    /// It is of something else.
    #[cfg(feature = "regression")]
    pub fn differs(&self, field: &str, kept: String, asked: String) -> CheckpointError {
        CheckpointError::Mismatch { path: self.path.clone(), field: field.into(), kept, asked }
    }
}
