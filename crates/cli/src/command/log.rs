//! The CSV log of a fit.

use super::{Failure, output};
use std::fmt::Display;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use wgpu_optim::checkpoint::{Disk, Files};
use wgpu_optim::regression::train::Progress;

/// A CSV file that has its name only once it is whole: until then it is `NAME.partial`, which is well-formed after
/// every line, and locked against other runs.
pub struct Log {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    with_line: bool,
    /// Bytes of whole lines.
    length: u64,
    /// Why lines are missing.
    error: Option<String>,
}

/// What an earlier run wrote of an update.
pub struct Logged {
    /// The optimizer.
    pub optimizer: String,
    /// The update.
    pub update: u64,
    /// The loss of its batch.
    pub batch_loss: f64,
    /// The loss over all rows, where it was taken.
    pub loss: Option<f64>,
}

impl Log {
    /// Starts a log; `with_line` adds the columns m and b.
    pub fn create(path: &Path, with_line: bool) -> Result<Self, Failure> {
        Self::with(path, with_line, line(&header(with_line))?)
    }

    /// Goes on with the log of an earlier run, or starts one where there is none: of the lines that it has, those
    /// that `keeps` wants stay, and are returned.
    pub fn go_on(
        path: &Path,
        with_line: bool,
        keeps: impl Fn(&Logged) -> bool,
    ) -> Result<(Self, Vec<Logged>), Failure> {
        let header = header(with_line);
        let (mut lines, mut kept) = (line(&header)?, Vec::new());
        // A run that came to its end has given the log its name.
        let partial = partial(path);
        // One that is empty was made to be locked, and no more.
        let holds_lines =
            |path: &&Path| path.metadata().is_ok_and(|file| file.is_file() && file.len() > 0);
        if let Some(earlier) = [&*partial, path].into_iter().find(holds_lines) {
            let error = |error: &dyn Display| Failure::Input(format!("{}: {error}", earlier.display()));
            let mut bytes = std::fs::read(earlier).map_err(|e| error(&e))?;
            // The last line may have been cut off, and look whole.
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
                // It was made to be locked.
                let _ = std::fs::remove_file(&partial);
            }
            return Err(failure);
        }
        let file = Disk.open_own(&partial, File::options().append(true)).map_err(error)?;
        lock(&file, &partial)?;
        drop(locked);
        // What a log replaces may be for its owner alone.
        Disk.copy_permissions(path, &file).map_err(error)?;
        let (path, length) = (path.into(), lines.len() as u64);
        Ok(Log { file, path, partial, with_line, length, error: None })
    }

    /// Adds a line. A log that cannot be written does not end a run: it is told once, and the log ends there.
    pub fn add(&mut self, optimizer: &str, progress: &Progress, loss: Option<f64>) {
        if self.error.is_some() {
            return;
        }
        if let Err(error) = self.try_to_add(optimizer, progress, loss) {
            output::note(&format!("warning: {error}: the run goes on without its log"));
            // Half a line may have been written.
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
        // In one write, so that there is never half a line.
        self.file.write_all(&line).map_err(|e| error(&e))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Why the log has not all lines, if it has not.
    pub fn error(&self) -> Option<Failure> {
        let error = self.error.as_ref()?;
        Some(Failure::Input(format!("{error}: the log ends before the run does")))
    }

    /// The file, for whoever brings it to the disk.
    pub fn file(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the file its name, if it has all lines.
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

/// Locks the file that is under the name of an unfinished log, which is made where there is none.
fn lock_partial(partial: &Path) -> Result<Option<File>, Failure> {
    // Elsewhere a file that is open cannot be replaced.
    if !cfg!(unix) {
        return Ok(None);
    }
    let error = |error| Failure::Input(format!("{}: {error}", partial.display()));
    loop {
        if partial.is_symlink() {
            // Links are replaced, and not followed.
            std::fs::remove_file(partial).map_err(error)?;
        }
        let file = Disk.open_own(partial, File::options().create(true).append(true)).map_err(error)?;
        lock(&file, partial)?;
        // Whoever had it locked may have given it its name, or replaced it.
        if is_at(&file, partial) {
            return Ok(Some(file));
        }
    }
}

/// Keeps other runs from writing a log.
fn lock(file: &File, path: &Path) -> Result<(), Failure> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) if cfg!(unix) => {
            Err(Failure::Input(format!("{}: is being written by another run", path.display())))
        }
        // Not every file system has locks.
        _ => Ok(()),
    }
}

/// Whether a file is the one of that name.
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

/// What the file is called until it is whole.
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
