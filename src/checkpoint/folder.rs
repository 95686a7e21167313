//! A directory with the latest checkpoints of each run.

use super::CheckpointError;
use super::files::{Files, UNFINISHED, remove_unfinished};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const EXTENSION: &str = ".safetensors";
const LOCK: &str = "lock";
/// Suffix of damaged checkpoints, which are renamed once a newer checkpoint exists.
const DAMAGED: &str = ".damaged";

/// A directory of checkpoints, locked by one process at a time.
///
/// A file is named after its run and its update: `adam-512.safetensors`. A damaged file is renamed to
/// `adam-512.safetensors.damaged` once a newer checkpoint of the run is written.
pub struct Checkpoints {
    files: Arc<dyn Files>,
    folder: PathBuf,
    keep: usize,
    max_bytes: u64,
    /// Files found to be damaged when they were read.
    damaged: Mutex<BTreeSet<PathBuf>>,
    _lock: Box<dyn Send + Sync>,
}

/// The latest intact checkpoint of a run.
#[derive(Debug)]
pub struct Latest<T> {
    /// The content.
    pub checkpoint: T,
    /// The file.
    pub path: PathBuf,
    /// The errors of newer, damaged checkpoints.
    pub damaged: Vec<CheckpointError>,
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Checkpoints").field("folder", &self.folder).field("keep", &self.keep).finish()
    }
}

impl Checkpoints {
    /// Opens a directory, and creates it if it does not exist. [`save`](Self::save) keeps the last `keep` checkpoints
    /// of each run, at least one. Removes temporary files of processes that were killed.
    ///
    /// # Errors
    /// [`CheckpointError::InUse`] while another process has the directory open; [`CheckpointError::File`].
    pub fn open(files: Arc<dyn Files>, folder: &Path, keep: usize) -> Result<Self, CheckpointError> {
        let doing = CheckpointError::doing;
        files.create_folder(folder).map_err(doing("creating the directory", folder))?;
        let lock_path = folder.join(LOCK);
        let lock = files.lock(&lock_path).map_err(doing("locking", &lock_path))?;
        let Some(lock) = lock else { return Err(CheckpointError::InUse { folder: folder.into() }) };
        remove_unfinished(&*files, folder)?;
        let (folder, keep, damaged) = (folder.into(), keep.max(1), Mutex::default());
        Ok(Checkpoints { files, folder, keep, max_bytes: u64::MAX, damaged, _lock: lock })
    }

    /// Sets the maximum size of a checkpoint in bytes: larger files are refused without being read.
    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Checkpoints { max_bytes, ..self }
    }

    /// Whether a file name is one of the lock, of a checkpoint of any run, or of a temporary file.
    pub fn uses_name(name: &str) -> bool {
        name == LOCK || name.starts_with(UNFINISHED) || run_and_update(name).is_some()
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lists the checkpoints of a run with their updates, oldest first.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn list(&self, run: &str) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let names = self.names()?;
        let found = names.iter().filter_map(|name| {
            let name = name.to_str()?;
            let (of, update) = run_and_update(name)?;
            (of == run).then(|| (update, self.folder.join(name)))
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        Ok(found)
    }

    /// Lists the runs that have checkpoints.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn runs(&self) -> Result<BTreeSet<String>, CheckpointError> {
        let run = |name: &OsString| Some(run_and_update(name.to_str()?)?.0.to_string());
        Ok(self.names()?.iter().filter_map(run).collect())
    }

    fn names(&self) -> Result<Vec<OsString>, CheckpointError> {
        self.files.list(&self.folder).map_err(CheckpointError::doing("listing", &self.folder))
    }

    /// Writes a checkpoint of a run by calling `write` with its path. Then removes old checkpoints, and renames those
    /// that [`latest`](Self::latest) found to be damaged. Other files are not touched.
    ///
    /// # Errors
    /// Those of `write`; [`CheckpointError::File`]. Earlier checkpoints are then still present.
    pub fn save(
        &self,
        run: &str,
        update: u64,
        write: impl FnOnce(&dyn Files, &Path) -> Result<(), CheckpointError>,
    ) -> Result<PathBuf, CheckpointError> {
        let path = self.folder.join(format!("{run}-{update}{EXTENSION}"));
        write(&*self.files, &path)?;
        self.damaged().remove(&path);
        let mut good = Vec::new();
        for (at, path) in self.list(run)? {
            if !self.damaged().contains(&path) {
                good.push((at, path));
                continue;
            }
            let mut aside = path.clone().into_os_string();
            aside.push(DAMAGED);
            let renamed = self.files.rename(&path, Path::new(&aside));
            renamed.map_err(CheckpointError::doing("renaming", &path))?;
            self.damaged().remove(&path);
        }
        let done = good.partition_point(|(at, _)| *at <= update);
        for (_, old) in &good[..done.saturating_sub(self.keep)] {
            self.files.remove(old).map_err(CheckpointError::doing("removing", old))?;
        }
        Ok(path)
    }

    /// Reads the latest intact checkpoint of a run, skipping damaged ones; `None` if the run has no checkpoint. A file
    /// is damaged if its bytes were read and are wrong. A file that cannot be read may be intact, so it is an error and
    /// not skipped.
    ///
    /// # Errors
    /// [`CheckpointError::File`] if a file cannot be read; [`CheckpointError::NoneGood`] if all are damaged; other
    /// errors of `read`.
    pub fn latest<T>(
        &self,
        run: &str,
        mut read: impl FnMut(&Path, &[u8]) -> Result<T, CheckpointError>,
    ) -> Result<Option<Latest<T>>, CheckpointError> {
        let mut damaged = Vec::new();
        for (_, path) in self.list(run)?.into_iter().rev() {
            let bytes = self.files.read(&path, self.max_bytes);
            let bytes = bytes.map_err(CheckpointError::doing("reading", &path))?;
            match read(&path, &bytes) {
                Ok(checkpoint) => return Ok(Some(Latest { checkpoint, path, damaged })),
                Err(error @ CheckpointError::Damaged { .. }) => {
                    self.damaged().insert(path);
                    damaged.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        match damaged.is_empty() {
            true => Ok(None),
            false => Err(CheckpointError::NoneGood { folder: self.folder.clone(), errors: damaged }),
        }
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The run and the update in the name of a checkpoint.
fn run_and_update(name: &str) -> Option<(&str, u64)> {
    let (run, update) = name.strip_suffix(EXTENSION)?.rsplit_once('-')?;
    Some((run, update.parse().ok()?))
}
