//! A folder of checkpoints, the last few of each run.

use super::CheckpointError;
use super::files::{Files, UNFINISHED, remove_unfinished};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const EXTENSION: &str = ".safetensors";
const LOCK: &str = "lock";
/// A damaged checkpoint gets this at the end of its name when the run has gone on without it.
const DAMAGED: &str = ".damaged";

/// A folder that checkpoints are kept in, by one program at a time.
///
/// A file is named after its run and the update it was made at: `adam-512.safetensors`. A file that was found to be
/// damaged is renamed to `adam-512.safetensors.damaged` once a newer checkpoint of the run is written.
pub struct Checkpoints {
    files: Arc<dyn Files>,
    folder: PathBuf,
    keep: usize,
    max_bytes: u64,
    /// Files that were read and found to be damaged.
    damaged: Mutex<BTreeSet<PathBuf>>,
    _lock: Box<dyn Send + Sync>,
}

/// The last checkpoint of a run that is good.
#[derive(Debug)]
pub struct Latest<T> {
    /// What it holds.
    pub checkpoint: T,
    /// Where it was.
    pub path: PathBuf,
    /// What is wrong with those that are newer.
    pub damaged: Vec<CheckpointError>,
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Checkpoints").field("folder", &self.folder).field("keep", &self.keep).finish()
    }
}

impl Checkpoints {
    /// Opens a folder, which is made where it is not there, to keep the last `keep` checkpoints of each run, at
    /// least one. Unfinished files of programs that were killed are removed.
    ///
    /// # Errors
    /// [`CheckpointError::InUse`] while another program has it open; [`CheckpointError::File`].
    pub fn open(files: Arc<dyn Files>, folder: &Path, keep: usize) -> Result<Self, CheckpointError> {
        let doing = CheckpointError::doing;
        files.create_folder(folder).map_err(doing("making the folder", folder))?;
        let lock_path = folder.join(LOCK);
        let lock = files.lock(&lock_path).map_err(doing("locking", &lock_path))?;
        let Some(lock) = lock else { return Err(CheckpointError::InUse { folder: folder.into() }) };
        remove_unfinished(&*files, folder)?;
        let (folder, keep, damaged) = (folder.into(), keep.max(1), Mutex::default());
        Ok(Checkpoints { files, folder, keep, max_bytes: u64::MAX, damaged, _lock: lock })
    }

    /// The same, for checkpoints of at most so many bytes: longer files are refused without being read.
    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Checkpoints { max_bytes, ..self }
    }

    /// Whether a name in the folder is one that checkpoints use: the lock, a checkpoint of any run, or an unfinished
    /// file.
    pub fn uses_name(name: &str) -> bool {
        name == LOCK || name.starts_with(UNFINISHED) || run_and_update(name).is_some()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The checkpoints of a run, the oldest first, each with its update.
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

    /// The names of the runs that have checkpoints.
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

    /// Writes a checkpoint of a run with `write`, to the path that it is given. Then it removes checkpoints that are
    /// too old, and renames those that [`latest`](Self::latest) found to be damaged. No other file is touched.
    ///
    /// # Errors
    /// Those of `write`; [`CheckpointError::File`]. What there was before is there still.
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

    /// The last checkpoint of a run that `read` finds good; instead of one that is damaged the next older one; `None`
    /// where there is none at all. A file is damaged if its bytes were read and are wrong. A file that cannot be read
    /// may be good, and nothing older is taken in its place.
    ///
    /// # Errors
    /// [`CheckpointError::File`] if a file cannot be read; [`CheckpointError::NoneGood`] if all are damaged; what else
    /// `read` refuses a good one for.
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

/// The run and the update that a checkpoint is named after.
fn run_and_update(name: &str) -> Option<(&str, u64)> {
    let (run, update) = name.strip_suffix(EXTENSION)?.rsplit_once('-')?;
    Some((run, update.parse().ok()?))
}
