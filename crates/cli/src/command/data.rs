//! How files of rows are read, in whatever command takes them.

use super::{Failure, output};
use crate::bench::available_memory;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::data::{
    CsvOptions, DecimalMark, FileOptions, Format, Note, Offset, OnBadRow, Separator, Skipped, Targets,
    ZeroBased,
};

/// The files that are taken, for the help of the commands that take them.
pub const FILES: &str = "\
Files of rows:
  format     recognised by              what is read
  csv        .csv .tsv .txt, any text   separator , ; tab | or blanks; decimal mark . or ,; names in the first line
                                        (--no-header for none); lines that begin with # ahead of it are comments
  npy        .npy, first bytes          float16, 32, 64, integers, booleans; either byte order; C or Fortran order
  npz        .npz, first bytes          the arrays X and y, or one array
  svmlight   .svm .svmlight .libsvm     indices from 1, or from 0 if one of them is 0
  parquet    .parquet, first bytes      flat columns of numbers, booleans, or labels; all codecs but LZO
  Each may be compressed with gzip or Zstandard (.csv.gz, .svm.zst). `-`, pipes and named pipes are read once and whole.
  The target is the last column that is nothing else. Labels of a classification may be words.";

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

/// How a file is written.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Data in a file")]
pub struct ReadArguments {
    /// Format of the file [default: by its first bytes and its extension]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatName>,
    /// Separator of CSV cells: a character, `tab` or `blank` [default: the one of , ; tab | blank that the
    /// first lines agree on]
    #[arg(long, value_name = "C", value_parser = separator)]
    separator: Option<Separator>,
    /// Decimal mark of CSV numbers, `.` or `,` [default: `.`; in a file separated by `;` the first mark found]
    #[arg(long, value_name = "C", value_parser = decimal)]
    decimal: Option<DecimalMark>,
    /// Take the first line of a CSV file for names, even if it holds numbers
    #[arg(long, conflicts_with = "no_header")]
    header: bool,
    /// The CSV file has no line of names: its columns are x1, x2, …
    #[arg(long)]
    no_header: bool,
    /// Whether svmlight indices begin at 0 [default: auto, if one of them is 0; for predict as in training]
    #[arg(long, value_enum, value_name = "WHEN")]
    zero_based: Option<ZeroBasedName>,
    /// What to do with a row that cannot be used: `skip` leaves it out and says so [default: error]
    #[arg(long, value_enum, value_name = "WHAT")]
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
        _ => Err("must be one character that is no part of a number, `tab` or `blank`".into()),
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

/// Reports the rows that were left out of a file, and what was found out about it.
pub fn report_reading(name: &str, skipped: &Skipped, notes: &[Note]) {
    if skipped.count > 0 {
        output::note(&format!("{name}: {skipped}"));
    }
    notes.iter().for_each(|note| output::note(&format!("{name}: {note}")));
}

/// What a command knows of a file besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest<'a> {
    /// The names of the features, if not all other columns are.
    pub features: &'a [String],
    /// The file of the targets.
    pub y: Option<&'a Path>,
    /// Whether the target is a class, which may be a word.
    pub labels: bool,
    /// The bytes that rows may take, if that is not what there is.
    pub memory: Option<u64>,
}

/// What the columns of a file are.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Data in a file")]
pub struct FileArguments {
    /// A column to predict; several for a squared loss [default: the last one that is nothing else]
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Columns that are not used, by name
    #[arg(long, value_name = "NAMES")]
    exclude: Vec<String>,
    /// The column with the weights of the rows
    #[arg(long, value_name = "NAME")]
    sample_weight: Option<String>,
    /// The column that is added to the scores
    #[arg(long, value_name = "NAME", conflicts_with = "exposure")]
    offset: Option<String>,
    /// The column whose logarithm is added to the scores
    #[arg(long, value_name = "NAME")]
    exposure: Option<String>,
    /// Scale every feature to mean 0 and standard deviation 1
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

    /// Reads the rows.
    pub fn problem(&self, path: &Path, rest: Rest) -> Result<Problem, Failure> {
        let targets = match &self.target[..] {
            [] => Targets::Last,
            names => Targets::Named(names.into()),
        };
        let offset = self.offset.clone().map(Offset::Column);
        let exposure = self.exposure.clone().map(Offset::Exposure);
        if rest.y.is_some_and(|y| y == path && y == Path::new("-")) {
            return Err(Failure::Input("--y -: standard input is the data already".into()));
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
