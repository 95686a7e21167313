//! svmlight and libsvm: `target index:value …` a line, with indices from 1 in ascending order.

use super::source::{Fault, MOST_COLUMNS, Scan, Source, number, shortened};
use super::{At, DataError};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The most bytes of a line: it is held in memory.
const LIMIT: u64 = 64 << 20;
/// The largest index: rows are dense.
const MOST: usize = MOST_COLUMNS;

pub struct SvmLight {
    path: PathBuf,
    /// The features, and last the target.
    columns: Vec<String>,
    /// The largest index that a row may have.
    most: usize,
}

impl SvmLight {
    /// With so many features, or as many as the largest index that is found.
    pub fn open(path: &Path, features: Option<usize>) -> Result<Self, DataError> {
        if let Some(given) = features.filter(|&given| given > MOST) {
            return Err(DataError::format(path, format!("{given} features are more than {MOST}")));
        }
        let width = features.map_or_else(|| Lines::of(path)?.largest(), Ok)?;
        let names = (1..=width).map(|index| format!("x{index}"));
        let columns = names.chain(["y".into()]).collect();
        Ok(SvmLight { path: path.into(), columns, most: features.unwrap_or(MOST) })
    }
}

impl Source for SvmLight {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn named(&self) -> bool {
        false
    }

    fn scan(&self, columns: &[usize]) -> Result<Box<dyn Scan>, DataError> {
        let width = self.columns.len() - 1;
        let (lines, row) = (Lines::of(&self.path)?, vec![0.0; width + 1]);
        Ok(Box::new(Rows { lines, most: self.most, columns: columns.into(), row }))
    }
}

struct Rows {
    lines: Lines,
    most: usize,
    columns: Vec<usize>,
    /// The features, and last the target.
    row: Vec<f64>,
}

impl Scan for Rows {
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault> {
        if !self.lines.advance()? {
            return Ok(false);
        }
        self.row.fill(0.0);
        if let Some((target, features)) = self.row.split_last_mut() {
            // An index that no row had when the largest was sought is of a file that changed.
            *target = parse(&self.lines.text, self.most, |index, value| {
                features.get_mut(index - 1).into_iter().for_each(|feature| *feature = value);
            })?;
        }
        cells.iter_mut().zip(&self.columns).for_each(|(cell, column)| *cell = self.row[*column]);
        Ok(true)
    }

    fn line(&mut self) -> Result<Option<u64>, DataError> {
        Ok(Some(self.lines.line))
    }
}

/// Lines with something in them, one at a time.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    text: Vec<u8>,
    line: u64,
}

impl Lines {
    fn of(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| DataError::file(path, error))?;
        Ok(Lines { path: path.into(), file: BufReader::new(file), text: Vec::new(), line: 0 })
    }

    /// Goes to the next line that is not empty but for a comment.
    fn advance(&mut self) -> Result<bool, DataError> {
        loop {
            self.text.clear();
            let mut limited = self.file.by_ref().take(LIMIT + 1);
            let read = limited.read_until(b'\n', &mut self.text);
            let read = read.map_err(|error| DataError::file(&self.path, error))?;
            self.line += 1;
            if read as u64 > LIMIT {
                return Err(DataError::LongRow {
                    path: self.path.clone(),
                    line: self.line,
                    limit: LIMIT,
                });
            }
            if read == 0 {
                return Ok(false);
            }
            if self.line == 1 && self.text.starts_with(b"\xEF\xBB\xBF") {
                // A blank for each of its bytes, so that places stay.
                self.text[..3].fill(b' ');
            }
            let comment = self.text.iter().position(|&byte| byte == b'#');
            self.text.truncate(comment.unwrap_or(self.text.len()));
            if !self.text.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// The largest index of the lines that can be used.
    fn largest(mut self) -> Result<usize, DataError> {
        let mut largest = 0;
        while self.advance()? {
            let mut last = 0;
            if parse(&self.text, MOST, |index, _| last = index).is_ok() {
                largest = largest.max(last);
            }
        }
        Ok(largest)
    }
}

/// The target of a line; its entries are given to `entry` as they are read.
fn parse(line: &[u8], most: usize, mut entry: impl FnMut(usize, f64)) -> Result<f64, Fault> {
    let mut words = words(line);
    let bad = |at: usize, reason: String| Fault::Row(Some(At::Byte(at + 1)), reason);
    let (at, word) = words.next().unwrap_or((0, b""));
    let target = number(word).map_err(|reason| bad(at, reason))?;
    let mut last = 0;
    for (at, word) in words {
        let colon = word.iter().position(|&byte| byte == b':');
        let Some(colon) = colon else {
            return Err(bad(at, format!("`{}` is not `index:value`", shortened(word))));
        };
        let (index, value) = (&word[..colon], &word[colon + 1..]);
        if index == b"qid" {
            continue;
        }
        let number_of = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i128>().ok();
        let Some(number_of) = number_of(index) else {
            return Err(bad(at, format!("`{}` is not an index", shortened(index))));
        };
        let Some(index) = usize::try_from(number_of).ok().filter(|index| (1..=most).contains(index))
        else {
            return Err(bad(at, format!("the index {number_of} is not in 1 … {most}")));
        };
        if index <= last {
            return Err(bad(at, format!("the index {index} is not above {last}, the one before it")));
        }
        last = index;
        entry(index, number(value).map_err(|reason| bad(at + colon + 1, reason))?);
    }
    Ok(target)
}

/// What lies between blanks, with the byte at which each begins.
fn words(line: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    line.split(u8::is_ascii_whitespace)
        .map(move |word| {
            let start = at;
            at += word.len() + 1;
            (start, word)
        })
        .filter(|(_, word)| !word.is_empty())
}
