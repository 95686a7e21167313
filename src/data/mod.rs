//! Data sets in files: CSV, NumPy's .npy, svmlight and Parquet.
//!
//! [`open`] makes one pass over a file, in which every row is checked, counted and described. Rows that
//! fit a given memory are held; others are read from the file again, pass by pass, and never held whole.
//!
//! Rows are dense, and those of a text file have at most 64 MiB: whatever a file says, what is held is
//! bounded by its length, or by the memory given where a sparse row says little of much.
//!
//! A number must be finite in f32, which is what a device computes with.

mod csv;
mod error;
mod file_data;
mod layout;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod pass;
mod source;
mod statistics;
mod svmlight;

pub use error::{At, BadRow, DataError, Skipped};
pub use file_data::FileData;
pub use statistics::Column;
pub(crate) use statistics::ColumnSums;

use layout::Layout;
use pass::Opened;
use source::Source;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is read.
#[derive(Clone, Debug, PartialEq)]
pub struct FileOptions {
    /// What is to be predicted.
    pub targets: Targets,
    /// The column with the weights of the rows, each ≥ 0.
    pub weight: Option<String>,
    /// What is added to the scores of the rows.
    pub offset: Option<Offset>,
    /// The features, in this order; `None` is every column without another use. Of a file without names
    /// (.npy, svmlight) they are the first so many columns.
    pub select: Option<Vec<String>>,
    /// The targets of an .npy file in an .npy file of their own.
    pub y: Option<PathBuf>,
    /// How many features an svmlight file has: by default its largest index.
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
            targets: Targets::default(),
            weight: None,
            offset: None,
            select: None,
            y: None,
            features: None,
            on_bad_row: OnBadRow::default(),
            memory: 1 << 31,
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

/// Opens a file, whose format is that of its extension: .csv, .npy, .svm, .svmlight, .libsvm or .parquet.
/// Any other is CSV.
///
/// # Errors
/// [`DataError`], naming the file and where in it lies what cannot be used.
pub fn open(path: &Path, options: &FileOptions) -> Result<FileData, DataError> {
    let source = source(path, options)?;
    let layout = Layout::new(path, &*source, options)?;
    let opened =
        Opened { path: path.into(), source, layout: Arc::new(layout), on_bad_row: options.on_bad_row };
    FileData::new(opened, options.memory)
}

fn source(path: &Path, options: &FileOptions) -> Result<Arc<dyn Source>, DataError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let extension = extension.to_ascii_lowercase();
    if options.y.is_some() && extension != "npy" {
        return Err(DataError::format(path, "targets in a file of their own belong to an .npy file"));
    }
    Ok(match &*extension {
        "npy" => Arc::new(npy::Npy::open(path, options.y.as_deref())?),
        "svm" | "svmlight" | "libsvm" => Arc::new(svmlight::SvmLight::open(path, options.features)?),
        #[cfg(feature = "parquet")]
        "parquet" => Arc::new(parquet::Parquet::open(path)?),
        #[cfg(not(feature = "parquet"))]
        "parquet" => {
            let reason = "Parquet is read by a build with the feature `parquet`, and this is none";
            return Err(DataError::format(path, reason));
        }
        _ => Arc::new(csv::Csv::open(path)?),
    })
}
