//! The file system of the machine.

use super::files::{Files, PendingFile, UNFINISHED};
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Disk {
    /// [`Files::begin`], for a file that other code may open by its path: its name ends in `suffix` meanwhile.
    ///
    /// # Errors
    /// The error of the system.
    pub fn begin_with_suffix(&self, folder: &Path, suffix: &str) -> io::Result<UnfinishedFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED).suffix(suffix);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        loop {
            let file = builder.tempfile_in(folder)?;
            if !claim(&file) {
                continue;
            }
            let default = file.as_file().metadata()?.permissions();
            // Until it is known which file it replaces, nobody else may read it. A file system without permissions
            // refuses this.
            #[cfg(unix)]
            let _ = file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
            return Ok(UnfinishedFile { file, default });
        }
    }

    /// Gives `to` the permissions of the file `from`, and its owner where this program may do so. Does nothing
    /// where there is no such regular file.
    ///
    /// # Errors
    /// The error of the system.
    pub fn copy_permissions(&self, from: &Path, to: &File) -> io::Result<()> {
        match regular(from) {
            Some(from) => give(to, &from),
            None => Ok(()),
        }
    }

    /// Opens a file that belongs to this program alone: a link is not followed, and anything but a regular file is
    /// refused without waiting for it.
    ///
    /// # Errors
    /// The error of the system.
    pub fn open_own(&self, path: &Path, options: &mut OpenOptions) -> io::Result<File> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => return Err(not_regular()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // It may have become another one since.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
        regular_only(options.open(path)?)
    }
}

impl Files for Disk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    fn begin(&self, folder: &Path) -> io::Result<Box<dyn PendingFile>> {
        Ok(Box::new(self.begin_with_suffix(folder, "")?))
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(not_regular());
        }
        let mut options = File::options();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        let file = regular_only(options.read(true).open(path)?)?;
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        if length <= most {
            let room = usize::try_from(length).map_err(|_| ErrorKind::OutOfMemory)?;
            bytes.try_reserve_exact(room).map_err(|_| ErrorKind::OutOfMemory)?;
            file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        }
        let length = length.max(bytes.len() as u64);
        if length > most {
            let why = format!("it has {length} bytes, and must have at most {most}");
            return Err(Error::new(ErrorKind::FileTooLarge, why));
        }
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<()> {
        let file = self.open_own(path, File::options().read(true).write(true))?;
        if is_abandoned(&file) { std::fs::remove_file(path) } else { Ok(()) }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened, and its names need no asking for.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = self.open_own(path, File::options().create(true).truncate(false).write(true))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A file of [`Disk`] that has no name of its own yet. Its writer holds a lock on it.
#[derive(Debug)]
pub struct UnfinishedFile {
    file: NamedTempFile,
    /// The permissions of a new file.
    default: Permissions,
}

impl UnfinishedFile {
    /// Where it is until it is renamed.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Write for UnfinishedFile {
    // Without the temporary name, which says nothing to whoever reads the error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file().flush()
    }
}

impl PendingFile for UnfinishedFile {
    fn sync(&mut self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    fn rename(self: Box<Self>, path: &Path) -> io::Result<()> {
        let file = self.file.as_file();
        match regular(path) {
            Some(replaced) => give(file, &replaced)?,
            None => permit(file, self.default)?,
        }
        self.file.persist(path).map(drop).map_err(|error| error.error)
    }
}

/// Locks an unfinished file. False where somebody has taken it for abandoned in the meantime.
fn claim(file: &NamedTempFile) -> bool {
    if !cfg!(unix) {
        return true;
    }
    match file.as_file().try_lock() {
        Err(TryLockError::WouldBlock) => false,
        // Where there are no locks, nobody else removes it either.
        Ok(()) | Err(TryLockError::Error(_)) => file.path().exists(),
    }
}

/// Whether the program that wrote an unfinished file is gone. The caller holds the lock then.
fn is_abandoned(file: &File) -> bool {
    if cfg!(unix) {
        return file.try_lock().is_ok();
    }
    // Elsewhere a lock would keep the file from being opened a second time by its own writer.
    let age = file.metadata().and_then(|found| found.modified()).map(|time| time.elapsed());
    matches!(age, Ok(Ok(age)) if age.as_secs() > 86_400)
}

/// The regular file that is there, if it is one.
fn regular(path: &Path) -> Option<Metadata> {
    std::fs::symlink_metadata(path).ok().filter(Metadata::is_file)
}

fn regular_only(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

fn not_regular() -> Error {
    Error::new(ErrorKind::InvalidInput, "it is not a regular file")
}

/// Gives a file the owner and permissions of another.
fn give(to: &File, from: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let found = to.metadata()?;
        if (found.uid(), found.gid()) != (from.uid(), from.gid()) {
            // Only root may, and a file of one's own is better than none.
            let _ = fchown(to, Some(from.uid()), Some(from.gid()));
        }
    }
    permit(to, from.permissions())
}

fn permit(file: &File, permissions: Permissions) -> io::Result<()> {
    if file.metadata()?.permissions() == permissions {
        Ok(())
    } else {
        file.set_permissions(permissions)
    }
}
