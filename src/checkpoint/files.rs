//! The operations on a file system, as a trait, so that tests can make each of them fail.

use super::CheckpointError;
use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, Write};
use std::path::Path;

/// Prefix of the names of temporary files. A process that is killed leaves them behind.
pub(super) const UNFINISHED: &str = ".wgpu-optim-";

/// A file system for checkpoints.
pub trait Files: Debug + Send + Sync {
    /// Creates a directory and its parents, unless they exist.
    ///
    /// # Errors
    /// The error of the system, as for all methods.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Creates a temporary file, which is removed when it is dropped without being renamed.
    fn begin(&self, folder: &Path) -> io::Result<Box<dyn PendingFile>>;
    /// Reads a regular file. Refuses a file of more than `most` bytes without reading it.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;
    /// Lists the names in a directory.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Renames a file, and replaces a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a temporary file if its writer has ended.
    fn remove_abandoned(&self, path: &Path) -> io::Result<()>;
    /// Syncs the names in a directory to the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Locks a file until the returned value is dropped. Returns `None` if another process holds the lock.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
}

/// A temporary file that has not been renamed yet.
pub trait PendingFile: Write + Send {
    /// Syncs the content to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Renames the file, and replaces a file of that name.
    fn rename(self: Box<Self>, path: &Path) -> io::Result<()>;
}

/// Writes a file atomically: temporary file, sync, rename, sync of the directory.
pub fn atomic_write<'a>(
    files: &dyn Files,
    path: &Path,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), CheckpointError> {
    let folder = folder_of(path);
    let mut file = files.begin(folder).map_err(CheckpointError::doing("writing", path))?;
    for part in parts {
        file.write_all(part).map_err(CheckpointError::doing("writing", path))?;
    }
    file.flush().map_err(CheckpointError::doing("writing", path))?;
    // The content must be on the disk before the name: otherwise a crash could leave a file of zeros.
    file.sync().map_err(CheckpointError::doing("syncing", path))?;
    file.rename(path).map_err(CheckpointError::doing("renaming to", path))?;
    files.sync_folder(folder).map_err(CheckpointError::doing("syncing the directory", folder))
}

/// Removes temporary files whose writers were killed from a directory. Keeps files that another process is writing, and
/// files that this process may not remove.
///
/// # Errors
/// [`CheckpointError::File`] if the directory cannot be listed.
pub fn remove_unfinished(files: &dyn Files, folder: &Path) -> Result<(), CheckpointError> {
    for name in files.list(folder).map_err(CheckpointError::doing("listing", folder))? {
        if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            // The file may belong to another user, or be gone.
            let _ = files.remove_abandoned(&folder.join(name));
        }
    }
    Ok(())
}

/// The directory of a file.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
