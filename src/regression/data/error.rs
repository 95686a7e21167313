use crate::regression::data::text::printable;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// Why a file cannot be used as data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("{}: {error}", shown(path))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file as a whole is not what its name says, or holds what is not read.
    #[error("{}: {reason}", shown(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A row cannot be used.
    #[error("{}: {row}", shown(path))]
    Row {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        row: BadRow,
    },
    /// A row of a text file is longer than is read into memory.
    #[error("{}: line {line}: the row has more than {limit} bytes", shown(path))]
    LongRow {
        /// The file.
        path: PathBuf,
        /// The line that it begins on, from 1.
        line: u64,
        /// The most bytes a row may have.
        limit: u64,
    },
    /// Quotes of a text file make one row of several lines, and it is none that can be used.
    #[error("{}: line {line}: {reason}", shown(path))]
    Quote {
        /// The file.
        path: PathBuf,
        /// The line that the quote opens on, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no column of that name, or there are several.
    #[error(
        "{}: {count} columns are called `{}`; the columns are {available}",
        shown(path),
        printable(name)
    )]
    Column {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// How many columns have it.
        count: usize,
        /// The names there are.
        available: String,
    },
    /// One column is asked for twice.
    #[error("{}: column `{}` cannot be two things at once", shown(path), printable(name))]
    Twice {
        /// The file.
        path: PathBuf,
        /// The column.
        name: String,
    },
    /// Columns that are needed are not there.
    #[error("{}: there is no column {}", shown(path), quoted(names))]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is missing.
        names: Vec<String>,
    },
    /// There is nothing to learn from.
    #[error("{} has no {what}", printable(name))]
    Empty {
        /// The data set.
        name: String,
        /// Rows or features.
        what: &'static str,
    },
    /// Rows that are not there were asked for.
    #[error("{} has {rows} rows: there are no {count} from row {first} on", printable(name))]
    Range {
        /// The data set.
        name: String,
        /// The rows there are.
        rows: u64,
        /// The first of those asked for, from 0.
        first: u64,
        /// How many were asked for.
        count: u64,
    },
    /// The file cannot be used as the format that it was taken for, as its extension is none that is known.
    #[error("{error} (it was read as {format} because of its extension; --format says otherwise)")]
    Guessed {
        /// What is wrong with it.
        error: Box<DataError>,
        /// What it was taken for.
        format: super::Format,
    },
    /// The file is no longer what it was when it was opened.
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

/// A path for a message.
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{}`", printable(name))).collect::<Vec<_>>().join(", ")
}

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BadRow {
    /// Which row of the data, from 1.
    pub row: u64,
    /// The line of the file on which it begins, from 1, where the file is text.
    pub line: Option<u64>,
    /// Where in the row, where it is one place.
    pub at: Option<At>,
    /// What is wrong with it.
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

/// The rows that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most [`Skipped::SHOWN`].
    pub first: Vec<BadRow>,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} rows were left out:", self.count)?;
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
    /// How many are described.
    pub const SHOWN: usize = 8;
}
