//! The CSV log of a fit.

use super::{Failure, output};
use std::fmt::Display;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use wgpu_optim::checkpoint::{Disk, Files};
use wgpu_optim::regression::train::Progress;

/// A CSV log that is renamed to its path only when it is complete. Until then it is `NAME.partial`, which is well-formed
/// after every line, and locked against other runs.
pub struct Log {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    with_line: bool,
    /// Length of the complete lines in bytes.
    length: u64,
    /// The error that ended the log.
    error: Option<String>,
}

/// A line of an earlier run's log.
pub struct Logged {
    /// Optimizer.
    pub optimizer: String,
    /// Update.
    pub update: u64,
    /// Loss of its batch.
    pub batch_loss: f64,
    /// Loss over all rows, if it was evaluated.
    pub loss: Option<f64>,
}

impl Log {
    /// Starts a log; `with_line` adds the columns m and b.
    pub fn create(path: &Path, with_line: bool) -> Result<Self, Failure> {
        Self::with(path, with_line, line(&header(with_line))?)
    }

    /// Resumes the log of an earlier run, or starts a new one if there is none. Keeps and returns the lines that satisfy
    /// `keeps`.
    pub fn resume(
        path: &Path,
        with_line: bool,
        keeps: impl Fn(&Logged) -> bool,
    ) -> Result<(Self, Vec<Logged>), Failure> {
        let header = header(with_line);
        let (mut lines, mut kept) = (line(&header)?, Vec::new());
        // A finished run has renamed its log.
        let partial = partial(path);
        // An empty partial file was only created for its lock.
        let holds_lines =
            |path: &&Path| path.metadata().is_ok_and(|file| file.is_file() && file.len() > 0);
        if let Some(earlier) = [&*partial, path].into_iter().find(holds_lines) {
            let error = |error: &dyn Display| Failure::Input(format!("{}: {error}", earlier.display()));
            let mut bytes = std::fs::read(earlier).map_err(|e| error(&e))?;
            // The last line may be truncated and still look complete.
            bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
            let mut reader = csv::ReaderBuilder::new();
            for record in reader.flexible(true).from_reader(&*bytes).records() {
                let record = record.map_err(|e| error(&e))?;
                let Some(logged) = logged(&record, header.len()) else { break };
                if keeps(&logged) {
                    lines.extend(line(&record.iter().collect::<Vec<_>>())?);
                    kept.push(logged);
                }
            }
        }
        Ok((Self::with(path, with_line, lines)?, kept))
    }

    fn with(path: &Path, with_line: bool, lines: Vec<u8>) -> Result<Self, Failure> {
        if path.is_dir() {
            return Err(Failure::Input(format!("{}: is a directory", path.display())));
        }
        let partial = partial(path);
        let error = |error| Failure::Input(format!("{}: {error}", partial.display()));
        let locked = lock_partial(&partial)?;
        let written = output::AtomicFile::write(&partial, |file| file.write_all(&lines))
            .and_then(|file| file.name());
        if let Err(failure) = written {
            if partial.metadata().is_ok_and(|file| file.len() == 0) {
                // It was created for its lock.
                let _ = std::fs::remove_file(&partial);
            }
            return Err(failure);
        }
        let file = Disk.open_own(&partial, File::options().append(true)).map_err(error)?;
        lock(&file, &partial)?;
        drop(locked);
        // The replaced log may be private.
        Disk.copy_permissions(path, &file).map_err(error)?;
        let (path, length) = (path.into(), lines.len() as u64);
        Ok(Log { file, path, partial, with_line, length, error: None })
    }

    /// Adds a line. A write error does not end the run: it is reported once, and the log ends there.
    pub fn add(&mut self, optimizer: &str, progress: &Progress, loss: Option<f64>) {
        if self.error.is_some() {
            return;
        }
        if let Err(error) = self.try_to_add(optimizer, progress, loss) {
            output::note(&format!("warning: {error}: the run continues without its log"));
            // A part of the line may have been written.
            let _ = self.file.set_len(self.length);
            self.error = Some(error);
        }
    }

    fn try_to_add(
        &mut self,
        optimizer: &str,
        progress: &Progress,
        loss: Option<f64>,
    ) -> Result<(), String> {
        let mut record = vec![
            optimizer.to_string(),
            progress.update.to_string(),
            progress.batch_loss.to_string(),
            loss.map_or_else(String::new, |loss| loss.to_string()),
        ];
        if let (true, Some(params)) = (self.with_line, progress.params) {
            record.extend(params.iter().map(f64::to_string));
        }
        let error = |error: &dyn Display| format!("{}: {error}", self.partial.display());
        let line = line(&record).map_err(|failure| failure.to_string())?;
        // In one write, to avoid partial lines.
        self.file.write_all(&line).map_err(|e| error(&e))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// The error that ended the log, if any.
    pub fn error(&self) -> Option<Failure> {
        let error = self.error.as_ref()?;
        Some(Failure::Input(format!("{error}: the log ends before the run does")))
    }

    /// A handle to the file, for syncing.
    pub fn file(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Renames the file to its path, if the log is complete.
    pub fn finish(self) -> Result<(), Failure> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        let error = |error| Failure::Input(format!("{}: {error}", self.partial.display()));
        self.file.sync_data().map_err(error)?;
        std::fs::rename(&self.partial, &self.path).map_err(error)?;
        Disk.sync_folder(output::folder_of(&self.path)).map_err(error)
    }
}

/// Opens and locks the partial file of a log, and creates it if it does not exist.
fn lock_partial(partial: &Path) -> Result<Option<File>, Failure> {
    // Other systems cannot replace an open file.
    if !cfg!(unix) {
        return Ok(None);
    }
    let error = |error| Failure::Input(format!("{}: {error}", partial.display()));
    loop {
        if partial.is_symlink() {
            // Links are replaced, not followed.
            std::fs::remove_file(partial).map_err(error)?;
        }
        let file = Disk.open_own(partial, File::options().create(true).append(true)).map_err(error)?;
        lock(&file, partial)?;
        // The previous holder of the lock may have renamed or replaced it.
        if is_at(&file, partial) {
            return Ok(Some(file));
        }
    }
}

/// Locks a log against other runs.
fn lock(file: &File, path: &Path) -> Result<(), Failure> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) if cfg!(unix) => {
            Err(Failure::Input(format!("{}: is being written by another run", path.display())))
        }
        // Some file systems have no locks.
        _ => Ok(()),
    }
}

/// Whether an open file is still the file at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: std::fs::Metadata| (found.dev(), found.ino());
    let (open, there) = (file.metadata().ok().map(place), path.symlink_metadata().ok().map(place));
    open.is_some() && open == there
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// The path of an incomplete log.
pub fn partial(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    partial.into()
}

fn header(with_line: bool) -> Vec<&'static str> {
    let line: &[_] = if with_line { &["m", "b"] } else { &[] };
    ["optimizer", "update", "batch_loss", "loss"].iter().chain(line).copied().collect()
}

fn line(record: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = writer.write_record(record).map_err(|error| error.to_string());
    written
        .and_then(|()| writer.into_inner().map_err(|error| error.to_string()))
        .map_err(|error| Failure::Input(format!("a line of the log: {error}")))
}

fn logged(record: &csv::StringRecord, columns: usize) -> Option<Logged> {
    let number = |i: usize| record.get(i)?.parse().ok();
    Some(Logged {
        optimizer: record.get(0)?.into(),
        update: record.get(1)?.parse().ok().filter(|_| record.len() == columns)?,
        batch_loss: number(2)?,
        loss: number(3),
    })
}
