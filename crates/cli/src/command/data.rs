//! Options for reading data files, shared by the commands that read them.

use super::{Failure, output};
use crate::bench::available_memory;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::data::{
    CsvOptions, DecimalMark, FileOptions, Format, Note, Offset, OnBadRow, Separator, Skipped, Targets,
    ZeroBased,
};

/// Supported file formats, for the help of the commands that read data.
pub const FILES: &str = "\
Data files:
  format     recognised by              content
  csv        .csv .tsv .txt, any text   separator , ; tab | or blanks; decimal mark . or ,; names in the first line
                                        (unless --no-header); lines before it that begin with # are comments
  npy        .npy, first bytes          float16, 32, 64, integers, booleans; either byte order; C or Fortran order
  npz        .npz, first bytes          the arrays X and y, or one array
  svmlight   .svm .svmlight .libsvm     indices from 1, or from 0 if one of them is 0
  parquet    .parquet, first bytes      flat columns of numbers, booleans, or labels; all codecs but LZO
  Every format may be compressed with gzip or Zstandard (.csv.gz, .svm.zst). Standard input (`-`) and named pipes are
  read once, into memory. The target is the last column that no other option names. Class labels may be words.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
enum FormatName {
    Csv,
    Npy,
    Npz,
    Svmlight,
    Parquet,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum BadRow {
    #[default]
    Error,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ZeroBasedName {
    Auto,
    Yes,
    No,
}

/// Format of a data file.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Data in a file")]
pub struct ReadArguments {
    /// File format [default: detected from the first bytes and the extension]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatName>,
    /// Separator of CSV cells: a character, `tab` or `blank` [default: detected from the first lines, one of
    /// , ; tab | blank]
    #[arg(long, value_name = "C", value_parser = separator)]
    separator: Option<Separator>,
    /// Decimal mark of CSV numbers, `.` or `,` [default: `.`, or the first mark found if the separator is `;`]
    #[arg(long, value_name = "C", value_parser = decimal)]
    decimal: Option<DecimalMark>,
    /// Read column names from the first line of a CSV file, even if it holds numbers
    #[arg(long, conflicts_with = "no_header")]
    header: bool,
    /// Read the first line of a CSV file as data, and name the columns x1, x2, …
    #[arg(long)]
    no_header: bool,
    /// Count svmlight indices from 0; `auto`: if any index is 0 [default: auto, in predict as in training]
    #[arg(long, value_enum, value_name = "WHEN")]
    zero_based: Option<ZeroBasedName>,
    /// Handling of a malformed row: stop with an error, or skip and report it [default: error]
    #[arg(long, value_enum, value_name = "ACTION")]
    on_bad_row: Option<BadRow>,
}

fn separator(text: &str) -> Result<Separator, String> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(Separator::Byte(b'\t')),
        ("blank" | "space" | " ", _) => Ok(Separator::Blanks),
        ("comma", _) => Ok(Separator::Byte(b',')),
        ("semicolon", _) => Ok(Separator::Byte(b';')),
        (_, &[byte]) if !byte.is_ascii_alphanumeric() && !b"\"\r\n.+-".contains(&byte) => {
            Ok(Separator::Byte(byte))
        }
        _ => Err("must be `tab`, `blank`, or one character that does not occur in numbers".into()),
    }
}

fn decimal(text: &str) -> Result<DecimalMark, String> {
    match text {
        "." | "point" => Ok(DecimalMark::Point),
        "," | "comma" => Ok(DecimalMark::Comma),
        _ => Err("must be `.` or `,`".into()),
    }
}

impl ReadArguments {
    pub fn options(&self) -> FileOptions {
        let format = self.format.map(|format| match format {
            FormatName::Csv => Format::Csv,
            FormatName::Npy => Format::Npy,
            FormatName::Npz => Format::Npz,
            FormatName::Svmlight => Format::Svmlight,
            FormatName::Parquet => Format::Parquet,
        });
        let header = match (self.header, self.no_header) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        FileOptions {
            format,
            csv: CsvOptions { separator: self.separator, decimal: self.decimal, header },
            zero_based: match self.zero_based {
                None | Some(ZeroBasedName::Auto) => ZeroBased::Auto,
                Some(ZeroBasedName::Yes) => ZeroBased::Yes,
                Some(ZeroBasedName::No) => ZeroBased::No,
            },
            on_bad_row: match self.on_bad_row.unwrap_or_default() {
                BadRow::Error => OnBadRow::Error,
                BadRow::Skip => OnBadRow::Skip,
            },
            ..FileOptions::default()
        }
    }

    fn given(&self) -> [(&'static str, bool); 7] {
        [
            ("--format", self.format.is_some()),
            ("--separator", self.separator.is_some()),
            ("--decimal", self.decimal.is_some()),
            ("--header", self.header),
            ("--no-header", self.no_header),
            ("--zero-based", self.zero_based.is_some()),
            ("--on-bad-row", self.on_bad_row.is_some()),
        ]
    }
}

/// Reports the rows that were skipped and the notes of a reader on standard error.
pub fn report_reading(name: &str, skipped: &Skipped, notes: &[Note]) {
    if skipped.count > 0 {
        output::note(&format!("{name}: {skipped}"));
    }
    notes.iter().for_each(|note| output::note(&format!("{name}: {note}")));
}

/// Settings of a data file that do not come from [`FileArguments`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest<'a> {
    /// Names of the features; empty for all columns without another role.
    pub features: &'a [String],
    /// A separate file of targets.
    pub y: Option<&'a Path>,
    /// Whether the target is a class label, which may be a word.
    pub labels: bool,
    /// Memory limit for rows, in bytes; `None` for the available memory.
    pub memory: Option<u64>,
}

/// Roles of the columns of a data file.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Data in a file")]
pub struct FileArguments {
    /// Target column; repeat it for several targets of a squared loss [default: the last column that no other option
    /// names]
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Columns to ignore, by name
    #[arg(long, value_name = "NAMES")]
    exclude: Vec<String>,
    /// Column of sample weights
    #[arg(long, value_name = "NAME")]
    sample_weight: Option<String>,
    /// Column of offsets, which are added to the scores
    #[arg(long, value_name = "NAME", conflicts_with = "exposure")]
    offset: Option<String>,
    /// Column of exposures, whose logarithms are added to the scores
    #[arg(long, value_name = "NAME")]
    exposure: Option<String>,
    /// Standardize every feature to mean 0 and standard deviation 1
    #[arg(long)]
    pub standardize: bool,
    #[command(flatten)]
    read: ReadArguments,
}

impl FileArguments {
    pub fn given(&self) -> Vec<(&'static str, bool)> {
        let own = [
            ("--target", !self.target.is_empty()),
            ("--exclude", !self.exclude.is_empty()),
            ("--sample-weight", self.sample_weight.is_some()),
            ("--offset", self.offset.is_some()),
            ("--exposure", self.exposure.is_some()),
            ("--standardize", self.standardize),
        ];
        own.into_iter().chain(self.read.given()).collect()
    }

    /// Opens the file as a problem, and reports skipped rows and notes.
    pub fn problem(&self, path: &Path, rest: Rest) -> Result<Problem, Failure> {
        let targets = match &self.target[..] {
            [] => Targets::Last,
            names => Targets::Named(names.into()),
        };
        let offset = self.offset.clone().map(Offset::Column);
        let exposure = self.exposure.clone().map(Offset::Exposure);
        if rest.y.is_some_and(|y| y == path && y == Path::new("-")) {
            return Err(Failure::Input("--y -: standard input already provides the data".into()));
        }
        let options = FileOptions {
            targets,
            labels: rest.labels,
            weight: self.sample_weight.clone(),
            offset: offset.or(exposure),
            include: rest.features.into(),
            exclude: self.exclude.clone(),
            y: rest.y.map(PathBuf::from),
            memory: rest.memory.unwrap_or_else(|| available_memory() / 2),
            ..self.read.options()
        };
        let mut problem = Problem::file(path, &options)?;
        let notes = problem.file.as_ref().map_or(&[][..], |file| &file.notes);
        report_reading(&problem.name, &problem.skipped, notes);
        if self.standardize {
            problem.standardize();
        }
        Ok(problem)
    }
}
