//! What every format is read through: columns of numbers, row after row.

use super::input::Input;
use super::labels::LabelColumn;
use super::{At, DataError, Note, Separator};
use crate::regression::data::text::shortened;
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

    /// Columns that number the rows, and are neither features nor targets unless somebody says so.
    fn index_columns(&self) -> &[Index] {
        &[]
    }

    /// What was found out about the file, and not asked for.
    fn notes(&self) -> &[Note] {
        &[]
    }

    /// The bytes.
    fn input(&self) -> &Input;

    /// What separates cells, where something does.
    fn separator(&self) -> Option<Separator> {
        None
    }

    /// The index that the first feature has in the file, where rows have indices.
    fn first_index(&self) -> Option<usize> {
        None
    }

    /// An error if a file is not what it was when it was opened.
    fn check_unchanged(&self) -> Result<(), DataError> {
        self.input().check_unchanged()
    }

    /// The different labels in a column in ascending order, where they are words; it takes a pass over the
    /// rows.
    fn labels(&self, _column: usize) -> Result<Option<Vec<String>>, DataError> {
        Ok(None)
    }

    /// Begins a pass over the rows, of which only these columns are looked at. A column of labels is read as
    /// their indices.
    fn scan(&self, columns: &[usize], labels: Option<LabelColumn>) -> Result<Box<dyn Scan>, DataError>;
}

/// A column that numbers the rows.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Which it is.
    pub column: usize,
    /// How that is known.
    pub why: &'static str,
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

    /// What was found out about the file on the way.
    fn notes(&self) -> Vec<Note> {
        Vec::new()
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

/// The most characters of a cell in a message.
const SHOWN: usize = 40;

/// A cell's value from its text, with this decimal mark.
pub fn number(cell: &[u8], mark: u8) -> Result<f64, String> {
    if cell.is_empty() {
        return Err("the cell is empty".into());
    }
    let not_a_number = || format!("`{}` is not a number", shortened(cell, SHOWN));
    let text = std::str::from_utf8(cell).map_err(|_| not_a_number())?;
    let value = match mark {
        // No number has two marks, or one of the other kind.
        b',' if text.contains('.') => None,
        b',' => text.replacen(',', ".", 1).parse().ok(),
        _ => text.parse().ok(),
    };
    check(value.ok_or_else(not_a_number)?)
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
