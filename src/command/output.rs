//! Data goes to standard output, talk to standard error.

use super::Failure;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use wgpu_optim::checkpoint::{Disk, Files, Unfinished};
use wgpu_optim::text::printable_lines;

/// Writes text and a new line to standard output. Control characters of names are escaped.
pub fn text(text: &str) -> Result<(), Failure> {
    let text = printable_lines(text);
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    match written {
        // Whoever was reading has seen enough; what the command found stands.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Input(format!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Writes a value as JSON to standard output.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value);
    text(&json.map_err(|error| Failure::Input(format!("JSON: {error}")))?)
}

/// A table with a header; columns of numbers are aligned to the right.
pub fn table(header: &[&str], left: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    // One line under the header; nothing between rows.
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Refuses, ahead of the work, a file that could not be written after it or would overwrite one of
/// `others`, which it then belongs to.
pub fn check_file(flag: &str, path: &Path, others: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let refuse = |why: &str| Err(Failure::Input(format!("{flag} {}: {why}", path.display())));
    if path.exists() && !path.is_file() {
        return refuse("is there and is not a regular file");
    }
    let Ok(folder) = folder_of(path).canonicalize() else { return refuse("there is no such folder") };
    let Some(name) = path.file_name() else { return refuse("is not the name of a file") };
    let full = folder.join(name);
    if others.contains(&full) || path.canonicalize().is_ok_and(|path| others.contains(&path)) {
        return refuse("would overwrite the data or another output");
    }
    others.push(full);
    Ok(())
}

/// A temporary file in the folder of `path`, to be given that name once it is whole.
pub fn unnamed(path: &Path, suffix: &str) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".wgpu-optim-").suffix(suffix);
    // A temporary file is for its owner alone, but this one is to be a file like any other.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path))
}

/// A file that is whole but for its name.
pub struct Whole<'a> {
    file: Box<dyn Unfinished>,
    path: &'a Path,
}

impl<'a> Whole<'a> {
    /// Writes what is to be called `path`.
    pub fn write(
        path: &'a Path,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<Self, Failure> {
        let written = Disk.begin(folder_of(path)).and_then(|mut file| {
            let mut buffered = BufWriter::new(&mut file);
            write(&mut buffered)?;
            buffered.flush()?;
            drop(buffered);
            // A name must not be on the disk ahead of what it names.
            file.sync()?;
            Ok(file)
        });
        let file = written.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
        Ok(Whole { file, path })
    }

    /// Gives it its name.
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

/// Tells the user something that is no data. Control characters of names are escaped.
pub fn note(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "{}", printable_lines(text));
}
