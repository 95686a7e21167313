//! What a run is taken up from again: files that are whole or not there, and of which every bit is checked.
//!
//! A file is written beside its place, brought to the disk, and only then given its name, so that a program or a
//! machine may stop at any time: what is found under the name is the old file or the new one. Every tensor has a
//! checksum, which safetensors by itself does not have, and so has what is said of them.

mod disk;
mod error;
mod files;
mod folder;
mod optimizer;
mod sealed;
mod tensor_file;

pub use disk::{Disk, UnfinishedFile};
pub use error::CheckpointError;
pub use files::{Files, PendingFile, remove_unfinished};
pub use folder::{Checkpoints, Latest};
pub(crate) use sealed::{ChecksummedFile, Kind, json};
#[cfg(feature = "regression")]
pub(crate) use tensor_file::Texts;
pub(crate) use tensor_file::{Tensor, TensorFile};
