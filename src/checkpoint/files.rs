//! The few things that are asked of a file system, so that tests can have them fail one by one.

use super::CheckpointError;
use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, Write};
use std::path::Path;

/// The names of files that are not whole yet begin with this. A program that is killed leaves them behind.
pub(super) const UNFINISHED: &str = ".wgpu-optim-";

/// Where checkpoints are kept.
pub trait Files: Debug + Send + Sync {
    /// Makes a folder, and those that it is in, unless it is there.
    ///
    /// # Errors
    /// What the system says, as of all of these.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Begins a file without a name of its own. What is dropped without having been given one is gone.
    fn begin(&self, folder: &Path) -> io::Result<Box<dyn PendingFile>>;
    /// All of a regular file of at most `most` bytes. A longer one is refused without being read.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;
    /// The names of what is in a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Renames a file, and replaces what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file that was begun by a program that is gone. A file that is still being written stays.
    fn remove_abandoned(&self, path: &Path) -> io::Result<()>;
    /// Brings the names in a folder to the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Keeps others out until what is returned is dropped; `None` if somebody else does that already.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
}

/// A file that has no name yet.
pub trait PendingFile: Write + Send {
    /// Brings what was written to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Gives it its name, which another file may have had until now.
    fn rename(self: Box<Self>, path: &Path) -> io::Result<()>;
}

/// Writes a file that is under its name only when it is whole and on the disk: until then what was there
/// before is.
pub fn write_whole<'a>(
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
    // A name that reaches the disk ahead of what it names would be that of a file of zeros.
    file.sync().map_err(CheckpointError::doing("syncing", path))?;
    file.rename(path).map_err(CheckpointError::doing("renaming to", path))?;
    files.sync_folder(folder).map_err(CheckpointError::doing("syncing the folder", folder))
}

/// Removes the unfinished files in a folder whose writers were killed. Files that another program is writing stay,
/// and so do those that this program may not remove.
///
/// # Errors
/// [`CheckpointError::File`] if the folder cannot be listed.
pub fn remove_unfinished(files: &dyn Files, folder: &Path) -> Result<(), CheckpointError> {
    for name in files.list(folder).map_err(CheckpointError::doing("listing", folder))? {
        if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            // It may be somebody else's, or be gone by now.
            let _ = files.remove_abandoned(&folder.join(name));
        }
    }
    Ok(())
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
