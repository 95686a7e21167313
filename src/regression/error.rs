use std::path::PathBuf;

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened or read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is not CSV: a row has too few or too many cells, or text that is not UTF-8.
    #[error("{}: {reason}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A cell is not a finite number.
    #[error("{}: row {row}, column `{column}`: {reason}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// The row below the header, from 1.
        row: u64,
        /// The column's name.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no column of that name, or there are several.
    #[error("{}: {count} columns are called `{name}`; the columns are {available}", path.display())]
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
    /// There is nothing to learn from.
    #[error("{name} has no {what}")]
    Empty {
        /// The data set.
        name: String,
        /// Rows or features.
        what: &'static str,
    },
}
