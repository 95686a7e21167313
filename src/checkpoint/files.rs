//! The few things that are asked of a file system, so that tests can have them fail one by one.

use super::CheckpointError;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

/// What the names of files begin with that are not whole yet: those of a program that was killed are left
/// behind.
const UNFINISHED: &str = ".wgpu-optim-";

/// Where checkpoints are kept.
pub trait Files: Debug + Send + Sync {
    /// Makes a folder, and those that it is in, unless it is there.
    ///
    /// # Errors
    /// What the system says, as of all of these.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Begins a file without a name of its own. What is dropped without having been given one is gone.
    fn begin(&self, folder: &Path) -> io::Result<Box<dyn Unfinished>>;
    /// All of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names of what is in a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Brings the names in a folder to the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Keeps others out until what is returned is dropped; `None` if somebody else does that already.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
}

/// A file that has no name yet.
pub trait Unfinished: Write + Send {
    /// Brings what was written to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Gives it its name, which another file may have had until now.
    fn rename(self: Box<Self>, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    fn begin(&self, folder: &Path) -> io::Result<Box<dyn Unfinished>> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED);
        // A temporary file is for its owner alone, but this one is to be a file like any other.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        Ok(Box::new(OnDisk(builder.tempfile_in(folder)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened, and its names need no asking for.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

struct OnDisk(tempfile::NamedTempFile);

impl Write for OnDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Unfinished for OnDisk {
    fn sync(&mut self) -> io::Result<()> {
        self.0.as_file().sync_all()
    }

    fn rename(self: Box<Self>, path: &Path) -> io::Result<()> {
        self.0.persist(path).map(drop).map_err(|error| error.error)
    }
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

/// Removes from a folder what programs have left behind that were killed while they wrote. No other one may write
/// there.
///
/// # Errors
/// [`CheckpointError::File`].
pub fn remove_unfinished(files: &dyn Files, folder: &Path) -> Result<(), CheckpointError> {
    for name in files.list(folder).map_err(CheckpointError::doing("listing", folder))? {
        if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            let path = folder.join(name);
            files.remove(&path).map_err(CheckpointError::doing("removing", &path))?;
        }
    }
    Ok(())
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
