//! The bytes of a data file, which any number of readers can read from any place.
//!
//! Whatever can be read only once (standard input, a pipe, a named pipe) is copied to a temporary file first,
//! whole; so is what is compressed. Every reader has a position of its own in one open file, so that a file
//! that is replaced meanwhile is still the one that was begun with, and one that is written to is noticed.

use super::DataError;
use flate2::read::MultiGzDecoder;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The name of standard input on the command line.
pub const STANDARD_INPUT: &str = "-";
/// The bytes that formats are told apart by.
const HEAD: usize = 4096;

/// A file that is open for reading.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in messages.
    path: PathBuf,
    file: Arc<File>,
    length: u64,
    head: Vec<u8>,
    /// Of a file that others may write to.
    identity: Option<Identity>,
}

impl Input {
    /// Opens a file; `-` is standard input.
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

    /// Copies all that can be read to a temporary file.
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

    /// The same without its compression, where there is one.
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
        // A file that changes is noticed by its own bytes, not by what they were decompressed to.
        self.check_unchanged()?;
        Ok(decompressed)
    }

    /// A reader from the beginning.
    pub fn reader(&self) -> Reader {
        Reader { file: self.file.clone(), at: 0 }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    /// The first bytes.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// An error if somebody wrote to the file since it was opened, or put another one in its place.
    pub fn check_unchanged(&self) -> Result<(), DataError> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let open = self.file.metadata().map_err(|error| DataError::file(&self.path, error))?;
        // A file that was removed still has its bytes; one of its name is not what the run began with.
        let named = std::fs::metadata(&self.path);
        let same = Identity::of(&open) == *identity
            && named
                .map_or_else(|e| e.kind() == io::ErrorKind::NotFound, |m| Identity::of(&m) == *identity);
        if same { Ok(()) } else { Err(DataError::Changed { path: self.path.clone() }) }
    }
}

/// A device may never end.
fn refuse_devices(path: &Path, kind: &Metadata) -> Result<(), DataError> {
    if kind.is_dir() {
        return Err(DataError::format(path, "is a directory, and a file of rows is needed"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = kind.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            return Err(DataError::format(path, "is a device, and a file of rows is needed"));
        }
    }
    Ok(())
}

/// What changes with the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    length: u64,
    modified: Option<SystemTime>,
    /// Device and number of the file, where there are such.
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

/// Reads a file from a position of its own.
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
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "a place outside of the file");
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
