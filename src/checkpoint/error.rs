use std::io;
use std::path::{Path, PathBuf};

/// Why something cannot be kept, or be taken up again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The system would not do it.
    #[error("{operation} {}: {error}", path.display())]
    File {
        /// What was being done.
        operation: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is not what was written.
    #[error("{}: is damaged: {part}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The tensor, or the part of the header.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is whole, but no such thing, or of a version that is not known.
    #[error("{}: is no {wanted}: {reason}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it should have been.
        wanted: &'static str,
        /// What it is.
        reason: String,
    },
    /// It is of something else.
    #[error("{}: {field} is {kept} there, and {asked} here", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What differs.
        field: String,
        /// What the file says.
        kept: String,
        /// What is asked for.
        asked: String,
    },
    /// Another program keeps its checkpoints there, now.
    #[error("{}: is in use by another run", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// Of all that is there nothing can be read.
    #[error("{}: no checkpoint can be used: {}", folder.display(), .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoneGood {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with each.
        errors: Vec<CheckpointError>,
    },
}

impl CheckpointError {
    /// What the system said to an operation.
    pub(super) fn doing(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| CheckpointError::File { operation, path: path.into(), error }
    }
}
