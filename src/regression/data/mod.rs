//! Readers of data files: CSV, NumPy's .npy and .npz, svmlight and Parquet, plain or compressed with gzip or
//! Zstandard, and from pipes.
//!
//! [`open`] makes one pass over a file, which checks and counts every row and collects statistics. Rows that fit the
//! given memory are held; otherwise the file is read again in every pass.
//!
//! Rows are dense, and a row of a text file has at most 64 MiB. Memory use is bounded by the length of the file, or by
//! the given memory for sparse rows, which expand.
//!
//! Numbers must be finite in f32, the type of the device's arithmetic.

mod columns;
mod csv;
mod distinct;
mod error;
mod file_data;
mod format;
mod input;
mod labels;
mod layout;
mod npy;
mod npz;
#[cfg(feature = "parquet")]
mod parquet;
mod pass;
mod source;
mod svmlight;
pub mod text;

pub use columns::Columns;
pub use error::{At, BadRow, DataError, Skipped};
pub use file_data::{About, FileData};
pub use format::Format;

use input::Input;
use layout::Layout;
use pass::Opened;
use serde::Serialize;
use source::Source;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options for reading a file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileOptions {
    /// File format; `None` detects it from the first bytes and the extension.
    pub format: Option<Format>,
    /// Dialect of CSV.
    pub csv: CsvOptions,
    /// Whether the indices of an svmlight file begin at 0.
    pub zero_based: ZeroBased,
    /// Target columns.
    pub targets: Targets,
    /// Whether a single target is a class label, which may be a word.
    pub labels: bool,
    /// Column of sample weights, each ≥ 0.
    pub weight: Option<String>,
    /// Column of offsets, which are added to the scores.
    pub offset: Option<Offset>,
    /// Feature columns, by name or as names separated by commas; empty for all columns without another role.
    pub include: Vec<String>,
    /// Columns to ignore, named likewise.
    pub exclude: Vec<String>,
    /// Features of a model, in the model's order.
    pub select: Option<Vec<String>>,
    /// With `select` and a file without names: the columns of the file that the model was trained on.
    pub trained: Option<Columns>,
    /// An .npy file with the targets of an .npy file of features.
    pub y: Option<PathBuf>,
    /// Number of features of an svmlight file; `None` derives it from the largest index.
    pub features: Option<usize>,
    /// Handling of malformed rows.
    pub on_bad_row: OnBadRow,
    /// Maximum size of the rows in memory, in bytes; larger files are streamed.
    pub memory: u64,
}

impl Default for FileOptions {
    /// The last column is the target, a malformed row is an error, and at most 2 GiB of rows are held.
    fn default() -> Self {
        FileOptions {
            format: None,
            csv: CsvOptions::default(),
            zero_based: ZeroBased::default(),
            targets: Targets::default(),
            labels: false,
            weight: None,
            offset: None,
            include: Vec::new(),
            exclude: Vec::new(),
            select: None,
            trained: None,
            y: None,
            features: None,
            on_bad_row: OnBadRow::default(),
            memory: 1 << 31,
        }
    }
}

/// Dialect of a CSV file; `None` detects a property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CsvOptions {
    /// Separator of cells; `None` selects `,` `;` tab `|` or blanks from the first lines.
    pub separator: Option<Separator>,
    /// Decimal mark; `None` is a point, or with the separator `;` the mark of the first number that has one.
    pub decimal: Option<DecimalMark>,
    /// Whether the first line has column names; `None` requires names: a first line of numbers is an error.
    pub header: Option<bool>,
}

/// Separator of the cells of a CSV file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// This byte.
    Byte(u8),
    /// Any number of blanks.
    Blanks,
}

impl Separator {
    fn byte(self) -> u8 {
        match self {
            Separator::Byte(byte) => byte,
            Separator::Blanks => b' ',
        }
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Separator::Byte(b'\t') => f.write_str("tabs"),
            Separator::Byte(byte) => write!(f, "`{}`", char::from(*byte)),
            Separator::Blanks => f.write_str("blanks"),
        }
    }
}

/// Decimal mark of numbers in a CSV file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DecimalMark {
    /// 1.5
    Point = b'.',
    /// 1,5
    Comma = b',',
}

/// Whether the indices of an svmlight file begin at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroBased {
    /// They do if an index is 0. If the number of features is given, they begin at 1.
    #[default]
    Auto,
    /// They do.
    Yes,
    /// They begin at 1.
    No,
}

/// A property of a file that was detected and is worth reporting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Note {
    /// A column is ignored, because it numbers the rows.
    LeftOut {
        /// Its name.
        column: String,
        /// The reason.
        why: &'static str,
    },
    /// Columns have no role, because the features were listed.
    NotChosen {
        /// Number of columns.
        count: usize,
    },
    /// The separator is not a comma.
    Separator(#[serde(serialize_with = "as_text")] Separator),
    /// The decimal mark is a comma.
    DecimalComma,
    /// Indices begin at 0.
    ZeroBased,
}

fn as_text<S: serde::Serializer>(separator: &Separator, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map([("separator", separator.to_string())])
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Note::LeftOut { column, why } => {
                let column = crate::regression::data::text::printable(column);
                write!(
                    f,
                    "column `{column}` is ignored: it {why} (name it in --features or --target to use it)"
                )
            }
            Note::NotChosen { count } => write!(f, "{count} columns are not used"),
            Note::Separator(separator) => write!(f, "cells are separated by {separator}"),
            Note::DecimalComma => f.write_str("the decimal mark is `,`"),
            Note::ZeroBased => f.write_str("indices begin at 0"),
        }
    }
}

/// Target columns of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Targets {
    /// The last column, the target of an svmlight file, or the file [`FileOptions::y`].
    #[default]
    Last,
    /// The columns of these names.
    Named(Vec<String>),
    /// No targets: every column is a feature.
    None,
}

/// The column of offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offset {
    /// The column holds the offset.
    Column(String),
    /// The column holds an exposure > 0, whose logarithm is the offset.
    Exposure(String),
}

/// Handling of malformed rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// Stop at the first one with an error.
    #[default]
    Error,
    /// Skip and count them.
    Skip,
}

/// Opens a data file. Detects the format from the first bytes and the extension: .csv, .tsv, .npy, .npz, .svm,
/// .svmlight, .libsvm or .parquet, followed by .gz or .zst if compressed; other files are CSV or svmlight. `-` is
/// standard input.
///
/// # Errors
/// [`DataError`], naming the file and the place of the defect.
pub fn open(path: &Path, options: &FileOptions) -> Result<FileData, DataError> {
    let input = Input::open(path)?;
    let path = input.path().to_path_buf();
    let (format, known) = Format::of(&input, options.format)?;
    let read = || {
        let source = source(input, format, options)?;
        let layout = Arc::new(Layout::new(&path, &*source, options)?);
        let opened = Opened { path, source, layout, on_bad_row: options.on_bad_row };
        FileData::new(opened, options.memory)
    };
    read().map_err(|error| match known {
        true => error,
        false => DataError::Guessed { error: error.into(), format },
    })
}

fn source(input: Input, format: Format, options: &FileOptions) -> Result<Arc<dyn Source>, DataError> {
    if options.y.is_some() && format != Format::Npy {
        let reason = "a separate file of targets is supported only with .npy features";
        return Err(DataError::format(input.path(), reason));
    }
    Ok(match format {
        Format::Npy => {
            let y = options.y.as_deref().map(Input::open).transpose()?;
            Arc::new(npy::Npy::open(input, y)?)
        }
        Format::Npz => Arc::new(npz::open(&input)?),
        Format::Svmlight => {
            Arc::new(svmlight::SvmLight::open(input, options.features, options.zero_based)?)
        }
        #[cfg(feature = "parquet")]
        Format::Parquet => Arc::new(parquet::Parquet::open(input)?),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            let reason = "reading Parquet requires a build with the feature `parquet`";
            return Err(DataError::format(input.path(), reason));
        }
        Format::Csv => Arc::new(csv::Csv::open(input, &options.csv)?),
    })
}
