//! Detection of a file's format: from the options, the first bytes and the name.

use super::DataError;
use super::input::Input;
use std::fmt;
use std::path::Path;

/// The format of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Separated values in text, with or without a header.
    Csv,
    /// A NumPy array.
    Npy,
    /// A NumPy archive with the arrays X and y, or one array.
    Npz,
    /// Sparse rows in text.
    Svmlight,
    /// Columns in Parquet.
    Parquet,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Format::Csv => "CSV",
            Format::Npy => ".npy",
            Format::Npz => ".npz",
            Format::Svmlight => "svmlight",
            Format::Parquet => "Parquet",
        })
    }
}

/// Formats that are recognised by extension or first bytes, but not supported.
const OTHERS: &[(&str, &[u8], &str)] = &[
    ("xlsx", b"", "an Excel workbook"),
    ("xlsm", b"", "an Excel workbook"),
    ("xls", b"\xD0\xCF\x11\xE0", "an old Excel workbook"),
    ("ods", b"", "a spreadsheet"),
    ("arff", b"@relation", "an ARFF file"),
    ("json", b"", "a JSON file"),
    ("jsonl", b"", "a file of JSON lines"),
    ("ndjson", b"", "a file of JSON lines"),
    ("feather", b"FEA1", "a Feather file"),
    ("arrow", b"ARROW1", "an Arrow file"),
    ("orc", b"ORC", "an ORC file"),
    ("avro", b"Obj\x01", "an Avro file"),
    ("h5", b"\x89HDF", "an HDF5 file"),
    ("hdf5", b"\x89HDF", "an HDF5 file"),
    ("mat", b"MATLAB", "a MATLAB file"),
    ("pkl", b"\x80\x04", "a pickle"),
    ("pickle", b"\x80\x05", "a pickle"),
    ("rds", b"", "an R object"),
    ("sqlite", b"SQLite format 3\0", "a SQLite database"),
    ("safetensors", b"", "a safetensors file"),
    ("pdf", b"%PDF", "a PDF document"),
    ("html", b"<!DOCTYPE", "an HTML page"),
    ("xml", b"<?xml", "an XML file"),
    ("7z", b"7z\xBC\xAF", "a 7z archive"),
    ("xz", b"\xFD7zXZ", "compressed with xz"),
    ("bz2", b"BZh", "compressed with bzip2"),
    ("tar", b"", "a tar archive"),
];

const ADVICE: &str =
    "supported are CSV, .npy, .npz, svmlight and Parquet, plain or compressed with gzip or Zstandard";

impl Format {
    /// Returns the format of a file, and whether it is certain rather than a guess.
    pub fn of(input: &Input, requested: Option<Format>) -> Result<(Format, bool), DataError> {
        let (path, head) = (input.path(), input.head());
        if let Some(format) = requested {
            return Ok((format, true));
        }
        let extension = extension(path);
        let named = match extension.as_deref() {
            Some("csv" | "tsv" | "tab") => Some(Format::Csv),
            Some("npy") => Some(Format::Npy),
            Some("npz") => Some(Format::Npz),
            Some("svm" | "svmlight" | "libsvm") => Some(Format::Svmlight),
            Some("parquet" | "pq") => Some(Format::Parquet),
            _ => None,
        };
        let by_bytes = match head {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Format::Npy),
            [b'P', b'A', b'R', b'1', ..] => Some(Format::Parquet),
            _ => None,
        };
        let refuse = |what: &str| {
            Err(DataError::format(path, format!("is {what}, which is not supported; {ADVICE}")))
        };
        // The first bytes take precedence over a name that suggests text. If the name promises a binary format, the
        // reader of that format reports the error.
        let text = matches!(named, None | Some(Format::Csv | Format::Svmlight));
        if text {
            if let Some(format) = by_bytes {
                return Ok((format, true));
            }
            if head.starts_with(b"PK\x03\x04") {
                let what = match extension.as_deref() {
                    Some("xlsx" | "xlsm") => "an Excel workbook",
                    Some("ods") => "a spreadsheet",
                    _ if holds_arrays(head) => return Ok((Format::Npz, true)),
                    _ => "a zip archive (.zip, .xlsx)",
                };
                return refuse(what);
            }
            if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
                return Err(DataError::format(path, "is text in UTF-16: save it as UTF-8"));
            }
            if let Some((.., what)) = OTHERS.iter().find(|(_, bytes, _)| {
                !bytes.is_empty()
                    && head.get(..bytes.len()).is_some_and(|h| h.eq_ignore_ascii_case(bytes))
            }) {
                return refuse(what);
            }
        }
        if let Some(format) = named {
            return Ok((format, true));
        }
        let other = OTHERS.iter().find(|(name, ..)| extension.as_deref() == Some(name));
        if let Some((.., what)) = other {
            return refuse(what);
        }
        let format = if looks_like_svmlight(head) { Format::Svmlight } else { Format::Csv };
        // These extensions are usual for both text formats.
        let usual = matches!(extension.as_deref(), None | Some("txt" | "dat" | "data"));
        Ok((format, usual))
    }
}

/// The extension in lower case, below the extension of a compression.
fn extension(path: &Path) -> Option<String> {
    let of = |path: &Path| path.extension()?.to_str().map(str::to_ascii_lowercase);
    match of(path)?.as_str() {
        "gz" | "gzip" | "zst" | "zstd" => of(Path::new(path.file_stem()?)),
        other => Some(other.into()),
    }
}

/// Whether the first member of a zip archive is a NumPy array.
fn holds_arrays(head: &[u8]) -> bool {
    let name = head.get(26..28).map(|n| u16::from_le_bytes([n[0], n[1]]) as usize);
    name.and_then(|length| head.get(30..30 + length)).is_some_and(|name| name.ends_with(b".npy"))
}

/// Whether the first line that is not a comment consists of a number and `index:value` pairs, as in no CSV file.
fn looks_like_svmlight(head: &[u8]) -> bool {
    let lines = head.split(|&byte| byte == b'\n');
    let lines = lines.map(|line| line.split(|&byte| byte == b'#').next().unwrap_or_default());
    let Some(line) = lines.map(<[u8]>::trim_ascii).find(|line| !line.is_empty()) else { return false };
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let number = |word: &[u8]| std::str::from_utf8(word).is_ok_and(|word| word.parse::<f64>().is_ok());
    let pair = |word: &[u8]| {
        let index = word.split(|&byte| byte == b':').next().unwrap_or_default();
        index.len() < word.len() && (index == b"qid" || index.iter().all(u8::is_ascii_digit))
    };
    let target = words.next().is_some_and(number);
    // The end of the sample may truncate the last word.
    target && words.next().is_some_and(pair) && words.take(3).all(pair)
}
