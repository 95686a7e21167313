use std::path::PathBuf;

/// An error of saving or loading a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The file is not a safetensors file, or is truncated.
    #[error("{}: is not a safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// The file is a safetensors file, but not a model of this library.
    #[error("{}: is not a saved model: its metadata have no `{key}`", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// The missing key.
        key: &'static str,
    },
    /// The file has an unsupported version of the format.
    #[error("{}: is a model of version `{found}`, but this library reads version {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: String,
        /// The supported version.
        known: u32,
    },
    /// The file is damaged: its checksum does not match.
    #[error("{}: is damaged: its checksum is {computed}, but should be {found}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The checksum in the file.
        found: String,
        /// The checksum of the content.
        computed: String,
    },
    /// A part of the model is invalid.
    #[error("{}: {part}: {reason}", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// The tensor, or the key of the metadata.
        part: String,
        /// The defect.
        reason: String,
    },
}
