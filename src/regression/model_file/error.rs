use std::path::PathBuf;

/// Why a model cannot be saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is not of the format safetensors, or is cut off.
    #[error("{}: is no safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file may hold tensors, but no model of ours.
    #[error("{}: its metadata have no `{key}`: it is no saved model", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// What is missing.
        key: &'static str,
    },
    /// The file is of another version of this library.
    #[error("{}: is a model of the version `{found}`, and this library reads {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// The version that is read.
        known: u32,
    },
    /// The file is not what was written.
    #[error("{}: is damaged: its checksum is {computed}, and should be {found}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// What it should say.
        computed: String,
    },
    /// A part of the model is not what it must be.
    #[error("{}: {part}: {reason}", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// The tensor, or the key of the metadata.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
}
