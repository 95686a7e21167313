//! svmlight and libsvm: lines `target index:value …` with ascending indices from 1 or 0.
//!
//! No maintained crate reads the format.

use super::input::{Input, Reader};
use super::labels::LabelColumn;
use super::source::{Fault, MAX_COLUMNS, Scan, Source, number};
use super::{At, DataError, Note, ZeroBased};
use crate::regression::data::text::shortened;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

/// Maximum size of a line in bytes, because it is held in memory.
const LIMIT: u64 = 64 << 20;
/// Maximum index, because rows are dense.
const MAX: usize = MAX_COLUMNS;
/// Maximum number of characters of a word in a message.
const SHOWN: usize = 40;

pub struct SvmLight {
    input: Input,
    /// Names of the features, then of the target.
    columns: Vec<String>,
    indices: Indices,
    notes: Vec<Note>,
}

/// The range of valid indices.
#[derive(Clone, Copy, Debug)]
struct Indices {
    first: usize,
    most: usize,
}

impl SvmLight {
    /// Opens a file with this number of features, or with as many as its largest index. With `ZeroBased::Auto`, indices
    /// begin at 0 if one of them is 0 (scikit-learn's rule). Finding the range of indices takes a pass over the file,
    /// which is made only if the number of features is not given.
    pub fn open(
        input: Input,
        features: Option<usize>,
        zero_based: ZeroBased,
    ) -> Result<Self, DataError> {
        let path = input.path();
        if let Some(given) = features.filter(|&given| given > MAX) {
            return Err(DataError::format(path, format!("{given} features exceed the limit of {MAX}")));
        }
        let (first, width) = match (features, zero_based) {
            (Some(given), _) => (usize::from(zero_based != ZeroBased::Yes), given),
            (None, _) => {
                let range = Lines::of(&input).range()?;
                let from_zero = match zero_based {
                    ZeroBased::Auto => range.is_some_and(|(least, _)| least == 0),
                    given => given == ZeroBased::Yes,
                };
                let largest = range.map(|(_, largest)| largest);
                let width = largest.map_or(0, |largest| largest + usize::from(from_zero));
                (usize::from(!from_zero), width)
            }
        };
        let names = (1..=width).map(|index| format!("x{index}"));
        let columns = names.chain(["y".into()]).collect();
        let most = features.map_or(MAX - 1 + first, |given| (given + first).saturating_sub(1));
        let found = first == 0 && zero_based == ZeroBased::Auto;
        let notes = if found { vec![Note::ZeroBased] } else { Vec::new() };
        Ok(SvmLight { input, columns, indices: Indices { first, most }, notes })
    }
}

impl Source for SvmLight {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn named(&self) -> bool {
        false
    }

    fn input(&self) -> &Input {
        &self.input
    }

    fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn first_index(&self) -> Option<usize> {
        Some(self.indices.first)
    }

    fn scan(&self, columns: &[usize], _: Option<LabelColumn>) -> Result<Box<dyn Scan>, DataError> {
        let width = self.columns.len() - 1;
        let (lines, row) = (Lines::of(&self.input), vec![0.0; width + 1]);
        Ok(Box::new(Rows { lines, indices: self.indices, columns: columns.into(), row }))
    }
}

struct Rows {
    lines: Lines,
    indices: Indices,
    columns: Vec<usize>,
    /// Values of the features, then of the target.
    row: Vec<f64>,
}

impl Scan for Rows {
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault> {
        if !self.lines.advance()? {
            return Ok(false);
        }
        self.row.fill(0.0);
        if let Some((target, features)) = self.row.split_last_mut() {
            // An index beyond the range found earlier means that the file changed.
            let first = self.indices.first;
            *target = parse(&self.lines.text, self.indices, |index, value| {
                features.get_mut(index - first).into_iter().for_each(|feature| *feature = value);
            })?;
        }
        cells.iter_mut().zip(&self.columns).for_each(|(cell, column)| *cell = self.row[*column]);
        Ok(true)
    }

    fn line(&mut self) -> Result<Option<u64>, DataError> {
        Ok(Some(self.lines.line))
    }
}

/// A reader of non-empty lines.
struct Lines {
    path: PathBuf,
    file: BufReader<Reader>,
    text: Vec<u8>,
    line: u64,
}

impl Lines {
    fn of(input: &Input) -> Self {
        let file = BufReader::new(input.reader());
        Lines { path: input.path().into(), file, text: Vec::new(), line: 0 }
    }

    /// Advances to the next line with content other than a comment.
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
                // One blank per byte of the mark, so that offsets stay correct.
                self.text[..3].fill(b' ');
            }
            let comment = self.text.iter().position(|&byte| byte == b'#');
            self.text.truncate(comment.unwrap_or(self.text.len()));
            if !self.text.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// The smallest and the largest index of well-formed lines.
    fn range(mut self) -> Result<Option<(usize, usize)>, DataError> {
        let mut range: Option<(usize, usize)> = None;
        let any = Indices { first: 0, most: MAX };
        while self.advance()? {
            let mut row = None;
            let see = |index, _| row = Some((row.map_or(index, |(least, _)| least), index));
            if let (Ok(_), Some((least, largest))) = (parse(&self.text, any, see), row) {
                let (a, b) = range.unwrap_or((least, largest));
                range = Some((a.min(least), b.max(largest)));
            }
        }
        Ok(range)
    }
}

/// Parses a line: returns the target, and calls `entry` for each pair.
fn parse(
    line: &[u8],
    Indices { first, most }: Indices,
    mut entry: impl FnMut(usize, f64),
) -> Result<f64, Fault> {
    let mut words = words(line);
    let bad = |at: usize, reason: String| Fault::Row(Some(At::Byte(at + 1)), reason);
    let (at, word) = words.next().unwrap_or((0, b""));
    let target = number(word, b'.').map_err(|reason| bad(at, reason))?;
    let mut last = None;
    for (at, word) in words {
        let colon = word.iter().position(|&byte| byte == b':');
        let Some(colon) = colon else {
            return Err(bad(at, format!("`{}` is not `index:value`", shortened(word, SHOWN))));
        };
        let (index, value) = (&word[..colon], &word[colon + 1..]);
        if index == b"qid" {
            continue;
        }
        let number_of = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i128>().ok();
        let Some(number_of) = number_of(index) else {
            return Err(bad(at, format!("`{}` is not an index", shortened(index, SHOWN))));
        };
        let Some(index) = usize::try_from(number_of).ok().filter(|index| (first..=most).contains(index))
        else {
            let hint = if number_of == 0 { " (--zero-based yes accepts indices from 0)" } else { "" };
            return Err(bad(at, format!("the index {number_of} is outside {first} … {most}{hint}")));
        };
        if let Some(last) = last.filter(|&last| index <= last) {
            return Err(bad(
                at,
                format!("the index {index} must be greater than {last}, the previous one"),
            ));
        }
        last = Some(index);
        entry(index, number(value, b'.').map_err(|reason| bad(at + colon + 1, reason))?);
    }
    Ok(target)
}

/// The words of a line, with their byte offsets.
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
