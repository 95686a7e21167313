//! Checkpoints: atomic files of optimizer and run state, with checksums.
//!
//! A file is written to a temporary file, fsynced and renamed, so that a crash of the program or the machine leaves
//! the old file or the new one. The format is safetensors with a checksum of every tensor and of the metadata.

mod checksummed;
mod disk;
mod error;
mod files;
mod folder;
mod optimizer;
mod tensor_file;

pub(crate) use checksummed::{ChecksummedFile, FileKind, json};
pub use disk::{Disk, UnfinishedFile};
pub use error::CheckpointError;
pub use files::{Files, PendingFile, remove_unfinished};
pub use folder::{Checkpoints, Latest};
#[cfg(feature = "files")]
pub(crate) use tensor_file::Texts;
pub(crate) use tensor_file::{Tensor, TensorFile};
