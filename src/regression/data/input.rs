//! The bytes of a data file, readable from any position by any number of readers.
//!
//! Standard input, pipes and compressed files are copied to a temporary file first. All readers share one open file, each
//! with its own position: if the file is replaced, they still read the original, and if it is written to, they notice.

use super::DataError;
use flate2::read::MultiGzDecoder;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The name of standard input on the command line.
pub const STANDARD_INPUT: &str = "-";
/// Number of bytes from which formats are detected.
const HEAD: usize = 4096;

/// An open data file.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in messages.
    path: PathBuf,
    file: Arc<File>,
    length: u64,
    head: Vec<u8>,
    /// Identity of a file that others may write to; `None` for temporary files.
    identity: Option<Identity>,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |error| DataError::file(path, error);
        if path == Path::new(STANDARD_INPUT) {
            return Self::spooled(Path::new("standard input"), io::stdin().lock())?.decompressed();
        }
        let kind = std::fs::metadata(path).map_err(failed)?;
        refuse_devices(path, &kind)?;
        let file = File::open(path).map_err(failed)?;
        if !kind.is_file() {
            return Self::spooled(path, file)?.decompressed();
        }
        let identity = Some(Identity::of(&file.metadata().map_err(failed)?));
        Self::new(path, file, identity)?.decompressed()
    }

    /// Copies a reader to a temporary file.
    pub fn spooled(path: &Path, mut from: impl Read) -> Result<Self, DataError> {
        let folder = std::env::temp_dir();
        let spooling = |error: io::Error| {
            let folder = folder.display();
            let message = format!("copying it to a temporary file in {folder} (TMPDIR): {error}");
            DataError::file(path, io::Error::new(error.kind(), message))
        };
        let mut file = tempfile::tempfile_in(&folder).map_err(spooling)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(DataError::file(path, error)),
            };
            io::Write::write_all(&mut file, &buffer[..read]).map_err(spooling)?;
        }
        Self::new(path, file, None)
    }

    fn new(path: &Path, file: File, identity: Option<Identity>) -> Result<Self, DataError> {
        let failed = |error| DataError::file(path, error);
        let length = file.metadata().map_err(failed)?.len();
        let mut input =
            Input { path: path.into(), file: Arc::new(file), length, head: Vec::new(), identity };
        let mut head = Vec::new();
        input.reader().take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
        input.head = head;
        Ok(input)
    }

    /// Decompresses the file if it is compressed.
    fn decompressed(self) -> Result<Self, DataError> {
        let damaged = |what: &str, error: DataError| match error {
            DataError::File { path, error } if error.kind() != io::ErrorKind::StorageFull => {
                DataError::Format { path, reason: format!("cannot be decompressed as {what}: {error}") }
            }
            other => other,
        };
        let failed = |error| DataError::file(&self.path, error);
        let decompressed = match *self.head {
            [0x1F, 0x8B, ..] => Self::spooled(&self.path, MultiGzDecoder::new(self.reader()))
                .map_err(|error| damaged("gzip", error))?,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => {
                let decoder = zstd::Decoder::new(self.reader()).map_err(failed)?;
                Self::spooled(&self.path, decoder).map_err(|error| damaged("Zstandard", error))?
            }
            _ => return Ok(self),
        };
        // Check the compressed file: the decompressed copy cannot change.
        self.check_unchanged()?;
        Ok(decompressed)
    }

    /// Returns a reader at the beginning.
    pub fn reader(&self) -> Reader {
        Reader { file: self.file.clone(), at: 0 }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    /// Returns the first bytes.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Returns an error if the file was written to or replaced since it was opened.
    pub fn check_unchanged(&self) -> Result<(), DataError> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let open = self.file.metadata().map_err(|error| DataError::file(&self.path, error))?;
        // A removed file is still readable; a new file of its name is not the file that was opened.
        let named = std::fs::metadata(&self.path);
        let same = Identity::of(&open) == *identity
            && named
                .map_or_else(|e| e.kind() == io::ErrorKind::NotFound, |m| Identity::of(&m) == *identity);
        if same { Ok(()) } else { Err(DataError::Changed { path: self.path.clone() }) }
    }
}

/// Rejects directories, and devices, which may be endless.
fn refuse_devices(path: &Path, kind: &Metadata) -> Result<(), DataError> {
    if kind.is_dir() {
        return Err(DataError::format(path, "is a directory, not a data file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = kind.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            return Err(DataError::format(path, "is a device, not a data file"));
        }
    }
    Ok(())
}

/// Metadata that change when the bytes of a file change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    length: u64,
    modified: Option<SystemTime>,
    /// Device and inode numbers, on systems that have them.
    number: Option<(u64, u64)>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let number = None;
        Identity { length: metadata.len(), modified: metadata.modified().ok(), number }
    }
}

/// A reader with its own position in a shared file.
#[derive(Clone, Debug)]
pub struct Reader {
    file: Arc<File>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.at)?;
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "a position outside the file");
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).ok_or_else(outside)?,
            SeekFrom::End(by) => {
                self.file.metadata()?.len().checked_add_signed(by).ok_or_else(outside)?
            }
        };
        Ok(self.at)
    }
}
