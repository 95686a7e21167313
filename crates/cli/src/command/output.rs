//! Results to standard output and to files, messages to standard error.

use super::Failure;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use wgpu_optim::checkpoint::{Disk, Files, PendingFile, remove_unfinished};
use wgpu_optim::regression::data::text::{printable_json, printable_lines};

/// Writes text and a newline to standard output, with control characters escaped. A broken pipe is not an error.
pub fn text(text: &str) -> Result<(), Failure> {
    write(&printable_lines(text))
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    match written {
        // The reader has closed the pipe; the command's verdict is unaffected.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Input(format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Writes a value as JSON to standard output.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value);
    write(&printable_json(&json.map_err(|error| Failure::Input(format!("JSON: {error}")))?))
}

/// Formats a table with a header. Columns after the first `left` are aligned to the right.
pub fn table(header: &[&str], left: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    // One line under the header, none between rows.
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Checks before the work that an output file can be written and is none of `others`, to which it is then added.
/// Removes temporary files that killed processes left in its directory.
pub fn check_file(flag: &str, path: &Path, others: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let refuse = |why: &str| Err(Failure::Input(format!("{flag} {}: {why}", path.display())));
    if path.exists() && !path.is_file() {
        return refuse("exists and is not a regular file");
    }
    let full = match full_path(path) {
        Ok(Some(full)) => full,
        Ok(None) => return refuse("is not the name of a file"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return refuse("its directory does not exist");
        }
        Err(error) => return refuse(&error.to_string()),
    };
    if others.contains(&full) || path.canonicalize().is_ok_and(|path| others.contains(&path)) {
        return refuse("would overwrite the data or another output");
    }
    if let Err(error) = try_to_write(&full) {
        return refuse(&error.to_string());
    }
    // A failed clean-up is harmless.
    let _ = remove_unfinished(&Disk, folder_of(&full));
    others.push(full);
    Ok(())
}

/// The path of a file in its canonical directory; the file need not exist. `None` if the path does not end in a file
/// name.
pub fn full_path(path: &Path) -> std::io::Result<Option<PathBuf>> {
    // `Path::file_name` ignores these endings.
    let text = path.as_os_str().as_encoded_bytes();
    let separator = |byte: &u8| std::path::is_separator(char::from(*byte));
    let is_folder = text.last().is_some_and(separator)
        || text.strip_suffix(b".").and_then(|text| text.last()).is_some_and(separator);
    let folder = folder_of(path).canonicalize()?;
    Ok(path.file_name().filter(|_| !is_folder).map(|name| folder.join(name)))
}

/// Checks that a file can be created in the directory of `path`, and that `path` can be replaced.
fn try_to_write(path: &Path) -> std::io::Result<()> {
    let made = Disk.begin_with_suffix(folder_of(path), "")?;
    #[cfg(unix)]
    if let Ok(there) = path.symlink_metadata() {
        use std::os::unix::fs::MetadataExt;
        let (me, folder) = (made.path().symlink_metadata()?.uid(), folder_of(path).metadata()?);
        let sticky = folder.mode() & 0o1000 != 0;
        if sticky && me != 0 && ![there.uid(), folder.uid()].contains(&me) {
            return Err(ErrorKind::PermissionDenied.into());
        }
    }
    drop(made);
    Ok(())
}

/// A complete temporary file that [`AtomicFile::name`] renames to its path.
pub struct AtomicFile<'a> {
    file: Box<dyn PendingFile>,
    path: &'a Path,
}

impl<'a> AtomicFile<'a> {
    /// Writes and syncs the temporary file for `path`.
    pub fn write(
        path: &'a Path,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<Self, Failure> {
        let written = Disk.begin(folder_of(path)).and_then(|mut file| {
            let mut buffered = BufWriter::new(&mut file);
            write(&mut buffered)?;
            buffered.flush()?;
            drop(buffered);
            // The content must be on the disk before the name.
            file.sync()?;
            Ok(file)
        });
        let file = written.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
        Ok(AtomicFile { file, path })
    }

    /// Renames the file to its path.
    pub fn name(self) -> Result<(), Failure> {
        let named = self.file.rename(self.path);
        named
            .and_then(|()| Disk.sync_folder(folder_of(self.path)))
            .map_err(|error| Failure::Input(format!("{}: {error}", self.path.display())))
    }
}

pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a message to standard error, with control characters escaped.
pub fn note(text: &str) {
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "{}", printable_lines(text));
}
