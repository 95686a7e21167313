//! The interface of all formats: columns of numbers, read row by row.

use super::input::Input;
use super::labels::LabelColumn;
use super::{At, DataError, Note, Separator};
use crate::regression::data::text::shortened;
use std::path::Path;

/// Maximum number of columns. Without it, the memory per column could exceed the size of a hostile file by far.
pub const MAX_COLUMNS: usize = 1 << 20;

/// An open file with known columns.
pub trait Source: Send + Sync {
    /// The names of the columns.
    fn columns(&self) -> &[String];

    /// Whether the names come from the file.
    fn named(&self) -> bool;

    /// The number of last columns that are targets by default.
    fn targets(&self) -> usize {
        1
    }

    /// Whether every column has single precision.
    fn single(&self) -> bool {
        false
    }

    /// Columns that number the rows, and have no role unless the options name them.
    fn index_columns(&self) -> &[Index] {
        &[]
    }

    /// The notes about the file.
    fn notes(&self) -> &[Note] {
        &[]
    }

    /// The bytes.
    fn input(&self) -> &Input;

    /// The separator of cells, for formats that have one.
    fn separator(&self) -> Option<Separator> {
        None
    }

    /// The index of the first feature, for formats with indices.
    fn first_index(&self) -> Option<usize> {
        None
    }

    /// Returns an error if the file changed after it was opened.
    fn check_unchanged(&self) -> Result<(), DataError> {
        self.input().check_unchanged()
    }

    /// The distinct labels of a column in ascending order, if they are words. Takes a pass over the rows.
    fn labels(&self, _column: usize) -> Result<Option<Vec<String>>, DataError> {
        Ok(None)
    }

    /// Begins a pass over these columns of the rows. A column of labels is read as their indices.
    fn scan(&self, columns: &[usize], labels: Option<LabelColumn>) -> Result<Box<dyn Scan>, DataError>;
}

/// A column that numbers the rows.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Its index.
    pub column: usize,
    /// The reason for the assumption.
    pub why: &'static str,
}

/// A pass over the rows of a file.
pub trait Scan: Send {
    /// Reads the columns of the next row into `cells`; returns `false` at the end. After a malformed row the next call
    /// reads the row that follows it.
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault>;

    /// The line on which the last row begins, for text formats.
    fn line(&mut self) -> Result<Option<u64>, DataError> {
        Ok(None)
    }

    /// The notes about the file so far.
    fn notes(&self) -> Vec<Note> {
        Vec::new()
    }

    /// Continues at this row of the file, from 0; returns `false` if the format cannot seek.
    fn seek(&mut self, _row: u64) -> bool {
        false
    }
}

/// An error of a scan.
pub enum Fault {
    /// The row is malformed; the scan can continue.
    Row(Option<At>, String),
    /// The scan cannot continue.
    File(DataError),
}

impl From<DataError> for Fault {
    fn from(error: DataError) -> Self {
        Fault::File(error)
    }
}

impl Fault {
    pub fn cell(column: &str, reason: String) -> Self {
        Fault::Row(Some(At::Column(column.into())), reason)
    }
}

/// Checks the number of columns of a file.
pub fn check_columns(path: &Path, count: usize) -> Result<(), DataError> {
    if count <= MAX_COLUMNS {
        return Ok(());
    }
    Err(DataError::format(path, format!("has {count} columns: at most {MAX_COLUMNS} are supported")))
}

/// Maximum number of characters of a cell in a message.
const SHOWN: usize = 40;

/// Parses a cell with this decimal mark.
pub fn number(cell: &[u8], mark: u8) -> Result<f64, String> {
    if cell.is_empty() {
        return Err("the cell is empty".into());
    }
    let not_a_number = || format!("`{}` is not a number", shortened(cell, SHOWN));
    let text = std::str::from_utf8(cell).map_err(|_| not_a_number())?;
    let value = match mark {
        // A number has at most one mark, and not the other one.
        b',' if text.contains('.') => None,
        b',' => text.replacen(',', ".", 1).parse().ok(),
        _ => text.parse().ok(),
    };
    check(value.ok_or_else(not_a_number)?)
}

/// Checks that a value is finite in f32, the type of the device's arithmetic.
pub fn check(value: f64) -> Result<f64, String> {
    if value.is_nan() {
        Err(format!("`{value}` is not a finite number"))
    } else if !(value as f32).is_finite() {
        Err(format!("{value:?} is beyond the range of f32"))
    } else {
        Ok(value)
    }
}
