//! A folder of checkpoints, the last few of each run.

use super::CheckpointError;
use super::files::{Files, remove_unfinished};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXTENSION: &str = ".safetensors";
const LOCK: &str = "lock";

/// A folder that checkpoints are kept in, by one program at a time.
///
/// A file is named after its run and the update it was made at: `adam-512.safetensors`.
pub struct Checkpoints {
    files: Arc<dyn Files>,
    folder: PathBuf,
    keep: usize,
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
    /// least one. What a program has left behind that was killed while it wrote is removed.
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
        Ok(Checkpoints { files, folder: folder.into(), keep: keep.max(1), _lock: lock })
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
        let update = |name: &str| -> Option<u64> {
            name.strip_prefix(run)?.strip_prefix('-')?.strip_suffix(EXTENSION)?.parse().ok()
        };
        let found = names.iter().filter_map(|name| {
            let name = name.to_str()?;
            Some((update(name)?, self.folder.join(name)))
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
        let run = |name: &OsString| {
            let (run, update) = name.to_str()?.strip_suffix(EXTENSION)?.rsplit_once('-')?;
            update.parse::<u64>().is_ok().then(|| run.to_string())
        };
        Ok(self.names()?.iter().filter_map(run).collect())
    }

    fn names(&self) -> Result<Vec<OsString>, CheckpointError> {
        self.files.list(&self.folder).map_err(CheckpointError::doing("listing", &self.folder))
    }

    /// Writes a checkpoint of a run with `write`, to the path that it is given, and removes those that are too
    /// old, or further than this one.
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
        let all = self.list(run)?;
        let (done, undone) = all.split_at(all.partition_point(|(at, _)| *at <= update));
        // What is ahead of the run is damaged, or it would have been gone on with.
        let old = done[..done.len().saturating_sub(self.keep)].iter().chain(undone);
        for (_, old) in old {
            self.files.remove(old).map_err(CheckpointError::doing("removing", old))?;
        }
        Ok(path)
    }

    /// The last checkpoint of a run that `read` finds good, of those that are damaged or cannot be read the next
    /// older one; `None` where there is none at all.
    ///
    /// # Errors
    /// [`CheckpointError::NoneGood`]; what else `read` refuses a good one for.
    pub fn latest<T>(
        &self,
        run: &str,
        mut read: impl FnMut(&Path, &[u8]) -> Result<T, CheckpointError>,
    ) -> Result<Option<Latest<T>>, CheckpointError> {
        let mut damaged = Vec::new();
        for (_, path) in self.list(run)?.into_iter().rev() {
            let bytes = self.files.read(&path).map_err(CheckpointError::doing("reading", &path));
            match bytes.and_then(|bytes| read(&path, &bytes)) {
                Ok(checkpoint) => return Ok(Some(Latest { checkpoint, path, damaged })),
                Err(error @ (CheckpointError::Damaged { .. } | CheckpointError::File { .. })) => {
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
}
