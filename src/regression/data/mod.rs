//! Data sets in files: CSV, NumPy's .npy and .npz, svmlight and Parquet, plain or compressed with gzip or
//! Zstandard, and from pipes.
//!
//! [`open`] makes one pass over a file, in which every row is checked, counted and described. Rows that
//! fit a given memory are held; others are read from the file again, pass by pass, and never held whole.
//!
//! Rows are dense, and those of a text file have at most 64 MiB: whatever a file says, what is held is
//! bounded by its length, or by the memory given where a sparse row says little of much.
//!
//! A number must be finite in f32, which is what a device computes with.

mod columns;
mod csv;
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
mod statistics;
mod svmlight;
pub mod text;

pub use columns::Columns;
pub use error::{At, BadRow, DataError, Skipped};
pub use file_data::{About, FileData};
pub use format::Format;
pub use statistics::Column;
pub(crate) use statistics::ColumnSums;

use input::Input;
use layout::Layout;
use pass::Opened;
use serde::Serialize;
use source::Source;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is read.
#[derive(Clone, Debug, PartialEq)]
pub struct FileOptions {
    /// The format; `None` is told by the file's first bytes and its extension.
    pub format: Option<Format>,
    /// How CSV is written.
    pub csv: CsvOptions,
    /// Whether the indices of an svmlight file begin at 0.
    pub zero_based: ZeroBased,
    /// What is to be predicted.
    pub targets: Targets,
    /// Whether a single target is a class, which may be called by a word.
    pub labels: bool,
    /// The column with the weights of the rows, each ≥ 0.
    pub weight: Option<String>,
    /// What is added to the scores of the rows.
    pub offset: Option<Offset>,
    /// The features by name, or several of them with commas between; none is every column without another use.
    pub include: Vec<String>,
    /// Columns that are not looked at, named likewise.
    pub exclude: Vec<String>,
    /// The features of a model, in this order, wherever they are in the file.
    pub select: Option<Vec<String>>,
    /// With `select`, of a file without names: what the columns of the file were that the model was trained on.
    pub trained: Option<Columns>,
    /// The targets of an .npy file in an .npy file of their own.
    pub y: Option<PathBuf>,
    /// How many features an svmlight file has: by default as many as its largest index says.
    pub features: Option<usize>,
    /// What becomes of rows that cannot be used.
    pub on_bad_row: OnBadRow,
    /// The bytes that rows may take in memory; more of them are streamed.
    pub memory: u64,
}

impl Default for FileOptions {
    /// The last column is the target, a bad row is an error, and 2 GiB of rows are held.
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

/// How a CSV file is written, where that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CsvOptions {
    /// What separates cells; `None` is the one of `,` `;` tab `|` and blanks that the first lines agree on.
    pub separator: Option<Separator>,
    /// The decimal mark; `None` is a point, or in a file with `;` the mark of the first number that has one.
    pub decimal: Option<DecimalMark>,
    /// Whether the first line holds names; `None` is yes unless it holds numbers, which is an error.
    pub header: Option<bool>,
}

/// What separates the cells of a CSV file.
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

/// What stands before the decimals of a number.
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
    /// If one of them is 0; from 1 where the number of features is given.
    #[default]
    Auto,
    /// They do.
    Yes,
    /// They begin at 1.
    No,
}

/// What was found out about a file that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Note {
    /// A column is neither feature nor target.
    LeftOut {
        /// Its name.
        column: String,
        /// How that is known.
        why: &'static str,
    },
    /// Columns are neither features nor anything else, as others were chosen.
    NotChosen {
        /// How many they are.
        count: usize,
    },
    /// Cells are separated by something other than commas.
    Separator(#[serde(serialize_with = "as_text")] Separator),
    /// Numbers have a decimal comma.
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
                write!(f, "column `{column}` is left out: it {why} (--features or --target takes it)")
            }
            Note::NotChosen { count } => write!(f, "{count} columns are not used"),
            Note::Separator(separator) => write!(f, "cells are separated by {separator}"),
            Note::DecimalComma => f.write_str("the decimal mark is `,`"),
            Note::ZeroBased => f.write_str("indices begin at 0"),
        }
    }
}

/// What is to be predicted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Targets {
    /// The last column; the target of an svmlight file; the file [`FileOptions::y`].
    #[default]
    Last,
    /// The columns of these names.
    Named(Vec<String>),
    /// Nothing: there are features only.
    None,
}

/// The column that an offset comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offset {
    /// It is in this column.
    Column(String),
    /// It is the logarithm of this column's exposure, > 0.
    Exposure(String),
}

/// What becomes of rows that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// The first one is an error.
    #[default]
    Error,
    /// They are left out, and counted.
    Skip,
}

/// Opens a file, whose format is told by its first bytes and its extension: .csv, .tsv, .npy, .npz, .svm,
/// .svmlight, .libsvm or .parquet, and .gz or .zst behind it; any other is CSV or svmlight. `-` is standard input.
///
/// # Errors
/// [`DataError`], naming the file and where in it lies what cannot be used.
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
        let reason = "targets in a file of their own belong to an .npy file";
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
            let reason = "Parquet is read by a build with the feature `parquet`, and this is none";
            return Err(DataError::format(input.path(), reason));
        }
        Format::Csv => Arc::new(csv::Csv::open(input, &options.csv)?),
    })
}
