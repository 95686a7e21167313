use crate::regression::data::text::printable;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// An error of reading a data file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("{}: {error}", shown(path))]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The file is not in the expected format, or its content is not supported.
    #[error("{}: {reason}", shown(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// A row is malformed.
    #[error("{}: {row}", shown(path))]
    Row {
        /// The file.
        path: PathBuf,
        /// The row and its defect.
        row: BadRow,
    },
    /// A row of a text file exceeds the maximum length.
    #[error("{}: line {line}: the row has more than {limit} bytes", shown(path))]
    LongRow {
        /// The file.
        path: PathBuf,
        /// The line on which it begins, from 1.
        line: u64,
        /// The maximum length of a row in bytes.
        limit: u64,
    },
    /// A quote in a text file joins several lines into a malformed row.
    #[error("{}: line {line}: {reason}", shown(path))]
    Quote {
        /// The file.
        path: PathBuf,
        /// The line on which the quote opens, from 1.
        line: u64,
        /// The defect.
        reason: String,
    },
    /// A column name matches no column, or several.
    #[error(
        "{}: {count} columns are named `{}`; the columns are {available}",
        shown(path),
        printable(name)
    )]
    Column {
        /// The file.
        path: PathBuf,
        /// The requested name.
        name: String,
        /// Number of columns with this name.
        count: usize,
        /// The names of the columns.
        available: String,
    },
    /// A column has two roles.
    #[error("{}: column `{}` is named for two roles", shown(path), printable(name))]
    Twice {
        /// The file.
        path: PathBuf,
        /// The column.
        name: String,
    },
    /// Required columns are missing.
    #[error("{}: there is no column {}", shown(path), quoted(names))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The missing columns.
        names: Vec<String>,
    },
    /// The data set has no rows or no features.
    #[error("{} has no {what}", printable(name))]
    Empty {
        /// The data set.
        name: String,
        /// Rows or features.
        what: &'static str,
    },
    /// A range of rows exceeds the data set.
    #[error("{} has {rows} rows: it does not have {count} rows from row {first}", printable(name))]
    Range {
        /// The data set.
        name: String,
        /// Number of rows.
        rows: u64,
        /// First requested row, from 0.
        first: u64,
        /// Number of requested rows.
        count: u64,
    },
    /// The file's extension is unknown, and reading it in the detected format failed.
    #[error("{error} (the file was read as {format}, because its extension is unknown; set --format)")]
    Guessed {
        /// The error of the detected format.
        error: Box<DataError>,
        /// The detected format.
        format: super::Format,
    },
    /// The file changed after it was opened.
    #[error("{}: was changed while it was read", shown(path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl DataError {
    pub(super) fn file(path: &Path, error: std::io::Error) -> Self {
        DataError::File { path: path.into(), error }
    }

    pub(super) fn format(path: &Path, reason: impl Into<String>) -> Self {
        DataError::Format { path: path.into(), reason: reason.into() }
    }
}

/// A path, escaped for a message.
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{}`", printable(name))).collect::<Vec<_>>().join(", ")
}

/// A malformed row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BadRow {
    /// Number of the row in the data, from 1.
    pub row: u64,
    /// Line of a text file on which the row begins, from 1.
    pub line: Option<u64>,
    /// Place of the defect in the row, if it has one.
    pub at: Option<At>,
    /// The defect.
    pub reason: String,
}

/// A place in a row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// The column of this name.
    Column(String),
    /// This byte of the line, from 1.
    Byte(usize),
}

impl Display for BadRow {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(At::Byte(byte)) = self.at {
                write!(f, ":{byte}")?;
            }
            write!(f, ", ")?;
        }
        write!(f, "row {}", self.row)?;
        if let Some(At::Column(name)) = &self.at {
            write!(f, ", column `{}`", printable(name))?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Rows that were skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Number of skipped rows.
    pub count: u64,
    /// The first of them, at most [`Skipped::SHOWN`].
    pub first: Vec<BadRow>,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} rows were skipped:", self.count)?;
        for row in &self.first {
            write!(f, "\n  {row}")?;
        }
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl Skipped {
    /// Maximum number of described rows.
    pub const SHOWN: usize = 8;
}
