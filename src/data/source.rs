//! What every format is read through: columns of numbers, row after row.

use super::{At, DataError};
use std::path::Path;

/// The most columns of a file: what is kept of each would outgrow a file that has little but columns.
pub const MOST_COLUMNS: usize = 1 << 20;

/// A file whose columns are known.
pub trait Source: Send + Sync {
    /// What the columns are called.
    fn columns(&self) -> &[String];

    /// Whether the file itself gives these names.
    fn named(&self) -> bool;

    /// How many of the last columns are targets, unless others are named.
    fn targets(&self) -> usize {
        1
    }

    /// Whether every column is numbers of single precision.
    fn single(&self) -> bool {
        false
    }

    /// Begins a pass over the rows, of which only these columns are looked at.
    fn scan(&self, columns: &[usize]) -> Result<Box<dyn Scan>, DataError>;
}

/// A pass over the rows of a file.
pub trait Scan: Send {
    /// Reads the columns of the next row into as many `cells`; `false` if there is none. After a bad row
    /// the next call goes on behind it.
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault>;

    /// The line on which the last row begins, where there are lines.
    fn line(&mut self) -> Result<Option<u64>, DataError> {
        Ok(None)
    }

    /// Goes on at this row of the file, from 0; `false` where that takes a pass from the start.
    fn seek(&mut self, _row: u64) -> bool {
        false
    }
}

/// Why there is no row.
pub enum Fault {
    /// This one is bad, and the next may be good.
    Row(Option<At>, String),
    /// Nothing more can be read.
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

/// Refuses a file of more columns than are read.
pub fn check_columns(path: &Path, count: usize) -> Result<(), DataError> {
    if count <= MOST_COLUMNS {
        return Ok(());
    }
    Err(DataError::format(path, format!("has {count} columns, and at most {MOST_COLUMNS} are read")))
}

/// A cell's value from its text.
pub fn number(cell: &[u8]) -> Result<f64, String> {
    if cell.is_empty() {
        return Err("the cell is empty".into());
    }
    let value = std::str::from_utf8(cell).ok().and_then(|text| text.parse().ok());
    check(value.ok_or_else(|| format!("`{}` is not a number", shortened(cell)))?)
}

/// A value, which f32 must hold too: that is what a device computes with.
pub fn check(value: f64) -> Result<f64, String> {
    if value.is_nan() {
        Err(format!("`{value}` is not a number that can be learned from"))
    } else if !(value as f32).is_finite() {
        Err(format!("{value:?} is beyond the range of f32"))
    } else {
        Ok(value)
    }
}

/// A text for a message, which a cell need not be short enough for.
pub fn shortened(text: &[u8]) -> String {
    const MOST: usize = 40;
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * MOST)]).into_owned();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
