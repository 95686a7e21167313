//! A file system in memory, whose operations can fail or crash the machine.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use crate::common::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Error, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use wgpu_optim::checkpoint::{Files, PendingFile};

/// A fault of a modifying operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails; later ones succeed.
    Fails,
    /// The machine crashes: later operations have no effect.
    Crashes,
}

/// The file system; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The content of each file, and its synced part.
    contents: Vec<(Vec<u8>, usize)>,
    names: BTreeMap<PathBuf, usize>,
    /// The synced names, and the later changes to them.
    durable: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    unreadable: BTreeSet<PathBuf>,
    locked: bool,
    fault: Option<(usize, Fault)>,
    crashed: bool,
    /// Number of operations so far.
    operations: Vec<String>,
}

#[derive(Clone, Debug)]
enum Change {
    Name(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

fn apply(change: &Change, names: &mut BTreeMap<PathBuf, usize>) {
    match change {
        Change::Name(path, file) => {
            names.insert(path.clone(), *file);
        }
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Remove(path) => {
            names.remove(path);
        }
    }
}

impl State {
    /// Counts an operation, and triggers the fault.
    fn operate(&mut self, operation: String) -> io::Result<()> {
        if self.crashed {
            return Err(Error::other("the machine has stopped"));
        }
        self.operations.push(operation);
        match self.fault {
            Some((at, fault)) if at == self.operations.len() => {
                self.crashed = fault == Fault::Crashes;
                Err(Error::other("injected"))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&change, &mut self.names);
        self.changes.push(change);
    }
}

impl MemoryFiles {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Arms a fault at the `at`-th operation from now, from 1.
    pub fn arm(&self, at: usize, fault: Fault) {
        let mut state = self.state();
        state.operations.clear();
        state.fault = Some((at, fault));
    }

    /// The number of operations since the fault was armed.
    pub fn operations(&self) -> Vec<String> {
        self.state().operations.clone()
    }

    /// The names and contents of all files.
    pub fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.state();
        state.names.iter().map(|(path, &file)| (path.clone(), state.contents[file].0.clone())).collect()
    }

    /// Makes a file unreadable, or readable again.
    pub fn set_readable(&self, path: &Path, readable: bool) {
        let mut state = self.state();
        match readable {
            true => state.unreadable.remove(path),
            false => state.unreadable.insert(path.into()),
        };
    }

    /// Writes a file directly.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        state.contents.push((bytes.to_vec(), bytes.len()));
        let file = state.contents.len() - 1;
        state.names.insert(path.into(), file);
        state.durable = state.names.clone();
    }

    /// A possible state of the disk after a crash: any part of the unsynced changes of names, and of unsynced content any
    /// part, zeros, or nothing.
    pub fn after_crash(&self, random: &mut Random) -> MemoryFiles {
        let state = self.state();
        let mut names = state.durable.clone();
        for change in &state.changes {
            if random.bits().is_multiple_of(2) {
                apply(change, &mut names);
            }
        }
        let after = MemoryFiles::default();
        for (path, file) in names {
            let (content, synced) = &state.contents[file];
            let mut bytes = content[..*synced].to_vec();
            let rest = content.len() - synced;
            match random.bits() % 3 {
                0 => bytes.extend(vec![0; rest]),
                1 => bytes.extend(&content[*synced..][..random.bits() as usize % (rest + 1)]),
                _ => {}
            }
            after.put(&path, &bytes);
        }
        after
    }
}

impl Files for MemoryFiles {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn begin(&self, folder: &Path) -> io::Result<Box<dyn PendingFile>> {
        let mut state = self.state();
        state.operate("begin".into())?;
        state.contents.push((Vec::new(), 0));
        let file = state.contents.len() - 1;
        let path = folder.join(format!(".wgpu-optim-{file}"));
        state.change(Change::Name(path.clone(), file));
        Ok(Box::new(InMemory { files: self.clone(), path, file }))
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let state = self.state();
        let file = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let bytes = &state.contents[*file].0;
        if state.unreadable.contains(path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if bytes.len() as u64 > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.clone())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        let within = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(within.filter_map(|path| path.file_name()).map(OsString::from).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate(format!("remove {}", path.display()))?;
        state.change(Change::Remove(path.into()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate(format!("rename {}", from.display()))?;
        state.change(Change::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove_abandoned(&self, path: &Path) -> io::Result<()> {
        self.remove(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate("sync folder".into())?;
        state.durable = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let taken = std::mem::replace(&mut self.state().locked, true);
        Ok((!taken).then(|| Box::new(Unlock(self.clone())) as Box<dyn Send + Sync>))
    }
}

struct Unlock(MemoryFiles);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

struct InMemory {
    files: MemoryFiles,
    path: PathBuf,
    file: usize,
}

impl Write for InMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.files.state();
        let operated = state.operate("write".into());
        // A failed write may have written a part.
        let written = if operated.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        state.contents[self.file].0.extend(written);
        operated.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PendingFile for InMemory {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.files.state();
        state.operate("sync".into())?;
        let (content, synced) = &mut state.contents[self.file];
        *synced = content.len();
        Ok(())
    }

    fn rename(self: Box<Self>, path: &Path) -> io::Result<()> {
        let mut state = self.files.state();
        state.operate("rename".into())?;
        state.change(Change::Rename(self.path.clone(), path.into()));
        Ok(())
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        let mut state = self.files.state();
        if !state.crashed && state.names.contains_key(&self.path) {
            state.change(Change::Remove(self.path.clone()));
        }
    }
}
