//! [`Files`] on the file system of the machine.

use super::files::{Files, PendingFile, UNFINISHED};
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Disk {
    /// Creates a temporary file, as [`Files::begin`] does, whose name ends in `suffix`, for code that opens files by
    /// path.
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
            // Private until the permissions of the replaced file are known. File systems without permissions refuse
            // this.
            #[cfg(unix)]
            let _ = file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
            return Ok(UnfinishedFile { file, default });
        }
    }

    /// Copies the permissions of the file `from` to `to`, and its owner if this process may. Does nothing if `from` is
    /// not a regular file.
    ///
    /// # Errors
    /// The error of the system.
    pub fn copy_permissions(&self, from: &Path, to: &File) -> io::Result<()> {
        match regular(from) {
            Some(from) => copy_owner_and_permissions(to, &from),
            None => Ok(()),
        }
    }

    /// Opens a private file of this program: does not follow links, and refuses anything but a regular file without
    /// blocking.
    ///
    /// # Errors
    /// The error of the system.
    pub fn open_own(&self, path: &Path, options: &mut OpenOptions) -> io::Result<File> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => return Err(not_regular()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The file may have been replaced since the check.
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
            let why = format!("it has {length} bytes, but the limit is {most}");
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
        // Other systems cannot open a directory, and write names without a request.
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

/// A temporary file of [`Disk`], locked by its writer.
#[derive(Debug)]
pub struct UnfinishedFile {
    file: NamedTempFile,
    /// The permissions of a new file.
    default: Permissions,
}

impl UnfinishedFile {
    /// The path of the temporary file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Write for UnfinishedFile {
    // Writes to the `File`, whose errors do not mention the temporary name.
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
            Some(replaced) => copy_owner_and_permissions(file, &replaced)?,
            None => permit(file, self.default)?,
        }
        self.file.persist(path).map(drop).map_err(|error| error.error)
    }
}

/// Locks a temporary file. Returns false if another process removed it as abandoned in the meantime.
fn claim(file: &NamedTempFile) -> bool {
    if !cfg!(unix) {
        return true;
    }
    match file.as_file().try_lock() {
        Err(TryLockError::WouldBlock) => false,
        // Without locks, other processes do not remove it either.
        Ok(()) | Err(TryLockError::Error(_)) => file.path().exists(),
    }
}

/// Whether the writer of a temporary file has ended. If so, the caller now holds the lock.
fn is_abandoned(file: &File) -> bool {
    if cfg!(unix) {
        return file.try_lock().is_ok();
    }
    // On other systems a lock would prevent the writer from opening its file a second time.
    let age = file.metadata().and_then(|found| found.modified()).map(|time| time.elapsed());
    matches!(age, Ok(Ok(age)) if age.as_secs() > 86_400)
}

/// The metadata of a path, if it is a regular file.
fn regular(path: &Path) -> Option<Metadata> {
    std::fs::symlink_metadata(path).ok().filter(Metadata::is_file)
}

fn regular_only(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

fn not_regular() -> Error {
    Error::new(ErrorKind::InvalidInput, "it is not a regular file")
}

/// Copies owner and permissions to a file.
fn copy_owner_and_permissions(to: &File, from: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let found = to.metadata()?;
        if (found.uid(), found.gid()) != (from.uid(), from.gid()) {
            // Only root may change the owner; otherwise the file belongs to this user.
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
