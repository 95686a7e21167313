//! The CSV log of a fit.

use super::Failure;
use std::fs::File;
use std::path::{Path, PathBuf};
use wgpu_optim::train::Progress;

/// A CSV file that has its name only once it is whole: until then it is `NAME.partial`.
pub struct Log {
    writer: csv::Writer<File>,
    path: PathBuf,
    partial: PathBuf,
    with_line: bool,
}

impl Log {
    /// Starts a log; `with_line` adds the columns m and b.
    pub fn create(path: &Path, with_line: bool) -> Result<Self, Failure> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        if path.is_dir() {
            return Err(Failure::Input(format!("{}: is a directory", path.display())));
        }
        let file = File::create(&partial)
            .map_err(|error| Failure::Input(format!("{}: {error}", partial.display())))?;
        let mut log =
            Log { writer: csv::Writer::from_writer(file), path: path.into(), partial, with_line };
        let mut header = vec!["optimizer", "update", "batch_loss", "loss"];
        if with_line {
            header.extend(["m", "b"]);
        }
        log.write(&header).map_err(Failure::Input)?;
        Ok(log)
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
        self.write(&record)
    }

    fn write(&mut self, record: &[impl AsRef<[u8]>]) -> Result<(), String> {
        let error = |error| format!("{}: {error}", self.partial.display());
        self.writer.write_record(record).map_err(error)
    }

    /// Gives the file its name.
    pub fn finish(mut self) -> Result<(), Failure> {
        let error = |error| Failure::Input(format!("{}: {error}", self.partial.display()));
        self.writer.flush().map_err(error)?;
        std::fs::rename(&self.partial, &self.path).map_err(error)
    }
}
