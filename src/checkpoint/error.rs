use std::io;
use std::path::{Path, PathBuf};

/// An error of writing or reading checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// An operation of the file system failed.
    #[error("{operation} {}: {error}", path.display())]
    File {
        /// The operation.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file is damaged: a checksum does not match.
    #[error("{}: is damaged: {part}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The tensor, or the part of the header.
        part: String,
        /// The defect.
        reason: String,
    },
    /// The file is intact, but of another kind or an unknown version.
    #[error("{}: is not {expected}: {reason}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The expected kind, with its article.
        expected: &'static str,
        /// The difference.
        reason: String,
    },
    /// The checkpoint belongs to another configuration.
    #[error(
        "{}: configuration mismatch: {field} was {saved} in the checkpoint and is {current} now",
        path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The field that differs.
        field: String,
        /// Its value in the checkpoint.
        saved: String,
        /// Its value in the current configuration.
        current: String,
    },
    /// Another process has the directory open.
    #[error("{}: is in use by another run", folder.display())]
    InUse {
        /// The directory.
        folder: PathBuf,
    },
    /// Every checkpoint in the directory is unreadable.
    #[error("{}: no readable checkpoint: {}", folder.display(), .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoneGood {
        /// The directory.
        folder: PathBuf,
        /// The error of each checkpoint.
        errors: Vec<CheckpointError>,
    },
}

impl CheckpointError {
    /// Converts an I/O error of an operation on a path.
    pub(super) fn doing(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| CheckpointError::File { operation, path: path.into(), error }
    }
}
