//! The CSV log of a fit.

use super::{Failure, output};
use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use wgpu_optim::checkpoint::{Disk, Files};
use wgpu_optim::train::Progress;

/// A CSV file that has its name only once it is whole: until then it is `NAME.partial`, which is well-formed after
/// every line.
pub struct Log {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    with_line: bool,
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
        if let Some(earlier) = [&*partial, path].into_iter().find(|path| path.is_file()) {
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
        output::Whole::write(&partial, |file| file.write_all(&lines))?.name()?;
        let file = File::options().append(true).open(&partial);
        let file = file.map_err(|error| Failure::Input(format!("{}: {error}", partial.display())))?;
        Ok(Log { file, path: path.into(), partial, with_line })
    }

    /// Adds a line.
    pub fn add(
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
        self.file.write_all(&line).map_err(|e| error(&e))
    }

    /// The file, for whoever brings it to the disk.
    pub fn file(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the file its name.
    pub fn finish(self) -> Result<(), Failure> {
        let error = |error| Failure::Input(format!("{}: {error}", self.partial.display()));
        self.file.sync_data().map_err(error)?;
        std::fs::rename(&self.partial, &self.path).map_err(error)?;
        Disk.sync_folder(output::folder_of(&self.path)).map_err(error)
    }
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
