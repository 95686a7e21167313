//! CSV: rows of separated values, with or without a header.

mod dialect;
mod quotes;

use super::input::{Input, Reader as FileReader};
use super::labels::{Collected, LabelColumn};
use super::source::{Fault, Index, Scan, Source, check_columns, number};
use super::{CsvOptions, DataError, Note, Separator};
use crate::regression::data::text::shortened;
use csv::{ByteRecord, Reader, ReaderBuilder};
use quotes::{Stray, line_ends};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

/// Maximum size of a row in bytes. A row is held in memory, and an unclosed quote joins all following lines into one
/// row.
const LIMIT: u64 = 64 << 20;
/// Maximum number of characters of a line in a message.
const QUOTED: usize = 80;
/// Number of rows that decide whether the first column is an index.
const LOOKED_AT: usize = 64;

pub struct Csv {
    input: Input,
    dialect: Dialect,
    columns: Vec<String>,
    /// Whether the file has column names.
    named: bool,
    index: Vec<Index>,
    notes: Vec<Note>,
}

#[derive(Clone, Copy, Debug)]
struct Dialect {
    /// Offset of the header, or of the first row, in bytes.
    start: u64,
    separator: Separator,
    /// The decimal mark; `None` if the first number with a mark decides (separator `;`).
    decimal: Option<u8>,
    header: bool,
}

impl Csv {
    /// The rows below the header.
    fn rows(&self) -> Result<Rows, DataError> {
        let mut rows = self.dialect.rows(&self.input)?;
        if self.dialect.header {
            rows.read()?;
        }
        Ok(rows)
    }

    pub fn open(input: Input, options: &CsvOptions) -> Result<Self, DataError> {
        let path = input.path().to_path_buf();
        let sniffed = dialect::sniff(&input, options.separator)?;
        let separator = sniffed.separator;
        let requested = options.decimal.map(|mark| mark as u8);
        if requested == Some(b',') && separator == Separator::Byte(b',') {
            let reason = "the separator and the decimal mark are both `,`: set --separator or --decimal";
            return Err(DataError::format(&path, reason));
        }
        let undecided = separator == Separator::Byte(b';');
        let mut dialect = Dialect {
            start: sniffed.start,
            separator,
            decimal: requested.or((!undecided).then_some(b'.')),
            header: true,
        };
        let mut rows = dialect.rows(&input)?;
        if !rows.read()? {
            let what = "header line";
            return Err(DataError::Empty { name: path.display().to_string(), what });
        }
        check_columns(&path, rows.cells().count())?;
        let first: Vec<Vec<u8>> = rows.cells().map(|cell| cell.trim_ascii().to_vec()).collect();
        let is_header = dialect::is_header(first.iter().map(Vec::as_slice));
        dialect.header = match options.header {
            Some(header) => header,
            None if is_header => true,
            None => {
                let line = shortened(&first.join(&[separator.byte()][..]), QUOTED);
                return Err(DataError::format(
                    &path,
                    format!(
                        "the first line has numbers instead of column names: `{line}` (--no-header reads it as a \
                         row, --header as names)"
                    ),
                ));
            }
        };
        let columns = match dialect.header {
            true => names(&first, sniffed.commented)
                .ok_or_else(|| DataError::format(&path, "the header is not UTF-8"))?,
            false => (1..=first.len()).map(|column| format!("x{column}")).collect(),
        };
        let mut csv =
            Csv { dialect, columns, named: dialect.header, index: Vec::new(), notes: Vec::new(), input };
        csv.index = csv.index_column()?.into_iter().collect();
        if separator != Separator::Byte(b',') {
            csv.notes.push(Note::Separator(separator));
        }
        Ok(csv)
    }

    /// The first column, if it numbers the rows and has no name, or pandas' name for such a column.
    fn index_column(&self) -> Result<Option<Index>, DataError> {
        let nameless = |name: &String| name.is_empty() || name.starts_with("Unnamed: ");
        if !self.named || self.columns.len() < 2 || !self.columns.first().is_some_and(nameless) {
            return Ok(None);
        }
        let (mut rows, mut last) = (self.rows()?, None);
        for _ in 0..LOOKED_AT {
            if !rows.read()? {
                break;
            }
            let cell = rows.cells().next().unwrap_or_default().trim_ascii();
            let count = std::str::from_utf8(cell).ok().and_then(|cell| cell.parse::<u64>().ok());
            if count.is_none() || count <= last {
                return Ok(None);
            }
            last = count;
        }
        Ok(Some(Index { column: 0, why: "numbers the rows and has no name" }))
    }
}

fn names(cells: &[Vec<u8>], commented: bool) -> Option<Vec<String>> {
    let mut names = Vec::with_capacity(cells.len());
    for (i, cell) in cells.iter().enumerate() {
        let cell = if i == 0 && commented { dialect::uncommented(cell) } else { cell };
        names.push(String::from_utf8(cell.to_vec()).ok()?);
    }
    Some(names)
}

impl Source for Csv {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn named(&self) -> bool {
        self.named
    }

    fn index_columns(&self) -> &[Index] {
        &self.index
    }

    fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn input(&self) -> &Input {
        &self.input
    }

    fn separator(&self) -> Option<Separator> {
        Some(self.dialect.separator)
    }

    fn labels(&self, column: usize) -> Result<Option<Vec<String>>, DataError> {
        let mut labels = Collected::default();
        let mut rows = self.rows()?;
        while rows.read()? {
            let whole = rows.cells().count() == self.columns.len();
            let cell = rows.cells().nth(column).filter(|_| whole);
            if cell.is_some_and(|cell| !labels.add(cell.trim_ascii())) {
                break;
            }
        }
        labels.finish(self.input.path())
    }

    fn scan(&self, columns: &[usize], labels: Option<LabelColumn>) -> Result<Box<dyn Scan>, DataError> {
        let name = |&column: &usize| (column, self.columns[column].clone());
        let columns = columns.iter().map(name).collect();
        Ok(Box::new(Cells { rows: self.rows()?, width: self.columns.len(), columns, labels }))
    }
}

/// A scan of the rows as numbers.
struct Cells {
    rows: Rows,
    width: usize,
    columns: Vec<(usize, String)>,
    labels: Option<LabelColumn>,
}

impl Cells {
    fn parse(&mut self, cells: &mut [f64]) -> Result<(), Fault> {
        let found = self.rows.cells().count();
        if found != self.width {
            let named = if self.rows.dialect.header { "the header" } else { "the first row" };
            let reason = format!("{found} cells, but {named} has {}", self.width);
            return Err(Fault::Row(None, reason));
        }
        let Rows { record, places, dialect, .. } = &mut self.rows;
        for (to, (column, name)) in cells.iter_mut().zip(&self.columns) {
            let at = places.as_ref().map_or(*column, |places| places[*column]);
            let text = record[at].trim_ascii();
            let value = match &self.labels {
                Some(labels) if labels.column == *column => labels.index(text),
                _ => dialect.number(text),
            };
            *to = value.map_err(|reason| Fault::cell(name, reason))?;
        }
        Ok(())
    }
}

impl Scan for Cells {
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault> {
        if !self.rows.read()? {
            return Ok(false);
        }
        match self.parse(cells) {
            Ok(()) => Ok(true),
            Err(Fault::Row(at, reason)) => Err(self.rows.fault(at, reason)),
            Err(fault) => Err(fault),
        }
    }

    fn line(&mut self) -> Result<Option<u64>, DataError> {
        self.rows.line().map(Some)
    }

    fn notes(&self) -> Vec<Note> {
        let comma = self.rows.dialect.decimal == Some(b',');
        if comma { vec![Note::DecimalComma] } else { Vec::new() }
    }
}

impl Dialect {
    /// Parses a cell. If the decimal mark is not known yet, the first number with a mark determines it.
    fn number(&mut self, text: &[u8]) -> Result<f64, String> {
        let mark = self.decimal.unwrap_or(if text.contains(&b',') { b',' } else { b'.' });
        let value = number(text, mark);
        match (&value, self.decimal) {
            (Ok(_), None) if text.contains(&mark) => self.decimal = Some(mark),
            (Err(reason), _) => {
                let other = if mark == b',' { b'.' } else { b',' };
                if text.contains(&other) && number(text, other).is_ok() {
                    let (mark, other) = (char::from(mark), char::from(other));
                    return Err(format!("{reason} with the decimal mark `{mark}` (--decimal {other})"));
                }
            }
            _ => {}
        }
        value
    }

    fn rows(&self, input: &Input) -> Result<Rows, DataError> {
        let mut file = input.reader();
        file.seek(SeekFrom::Start(self.start)).map_err(|error| DataError::file(input.path(), error))?;
        let mut builder = ReaderBuilder::new();
        builder.flexible(true).has_headers(false).buffer_capacity(1 << 16);
        let reader = builder.delimiter(self.separator.byte()).from_reader(Bounded { file, row: 0 });
        let lines = Lines { file: BufReader::new(input.reader()), byte: 0, line: 1, last: 0 };
        let places = (self.separator == Separator::Blanks).then(Vec::new);
        Ok(Rows {
            input: input.clone(),
            dialect: *self,
            reader,
            record: ByteRecord::new(),
            places,
            lines,
        })
    }
}

/// A reader of records.
struct Rows {
    input: Input,
    dialect: Dialect,
    reader: Reader<Bounded>,
    record: ByteRecord,
    /// Indices of the non-empty cells, if blanks are the separator: consecutive blanks separate once.
    places: Option<Vec<usize>>,
    lines: Lines,
}

impl Rows {
    fn read(&mut self) -> Result<bool, DataError> {
        loop {
            // A row that cannot be read leaves no record with its start.
            let start = self.reader.position().byte();
            match self.reader.read_byte_record(&mut self.record) {
                Ok(false) => return Ok(false),
                Ok(true) => self.reader.get_mut().row = 0,
                Err(error) => return Err(self.failure(start, error)),
            }
            // The crate closes an open quote at the end of the file.
            if self.dialect.start + self.reader.position().byte() >= self.input.len() {
                let record = self.bytes()?;
                if let Err(stray @ Stray::Open { .. }) = quotes::check(&record, self.dialect.separator) {
                    return Err(self.stray(&record, Err(stray), "")?);
                }
            }
            let Some(places) = &mut self.places else { return Ok(true) };
            places.clear();
            places.extend((0..self.record.len()).filter(|&i| !self.record[i].is_empty()));
            // A line of blanks counts as empty.
            if !places.is_empty() {
                return Ok(true);
            }
        }
    }

    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let count = self.places.as_ref().map_or(self.record.len(), Vec::len);
        (0..count).map(|i| &self.record[self.places.as_ref().map_or(i, |places| places[i])])
    }

    /// The offset of the record in the file.
    fn start(&self) -> u64 {
        self.dialect.start + self.record.position().map_or(0, csv::Position::byte)
    }

    fn line(&mut self) -> Result<u64, DataError> {
        let start = self.start();
        self.lines.after(start).map_err(|error| DataError::file(self.input.path(), error))
    }

    /// The raw bytes of the record, from its first non-empty line.
    fn bytes(&self) -> Result<Vec<u8>, DataError> {
        let (start, end) = (self.start(), self.dialect.start + self.reader.position().byte());
        let failed = |error| DataError::file(self.input.path(), error);
        let mut reader = self.input.reader();
        reader.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut bytes = Vec::new();
        reader.take(end - start).read_to_end(&mut bytes).map_err(failed)?;
        let is_text = |byte: &u8| !matches!(byte, b'\n' | b'\r');
        let first = bytes.iter().position(is_text).unwrap_or(0);
        let end = bytes.iter().rposition(is_text).map_or(0, |last| last + 1);
        Ok(bytes[first..end.max(first)].to_vec())
    }

    /// Builds the error of a row. A malformed row of several lines cannot be skipped, because a quote may have joined
    /// many rows.
    fn fault(&mut self, at: Option<super::At>, reason: String) -> Fault {
        let read = || -> Result<Option<DataError>, DataError> {
            let record = self.bytes()?;
            if line_ends(&record) == 0 {
                return Ok(None);
            }
            let stray = quotes::check(&record, self.dialect.separator);
            self.stray(&record, stray, &reason).map(Some)
        };
        match { read }() {
            Ok(None) => Fault::Row(at, reason),
            Ok(Some(error)) | Err(error) => Fault::File(error),
        }
    }

    fn stray(
        &mut self,
        record: &[u8],
        stray: Result<(), Stray>,
        reason: &str,
    ) -> Result<DataError, DataError> {
        let first = self.line()?;
        let (line, reason) = match stray {
            Err(Stray::Open { opens }) => {
                (first + line_ends(&record[..opens]), "a quote that opens here is never closed".into())
            }
            Err(Stray::Closed { opens, closes }) => {
                let end = first + line_ends(&record[..closes]);
                let reason =
                    format!("a quote that opens here closes in the middle of a cell on line {end}");
                (first + line_ends(&record[..opens]), reason)
            }
            Ok(()) => {
                let end = first + line_ends(record);
                (
                    first,
                    format!(
                        "quotes join the lines up to line {end} into one row, which is malformed: {reason}"
                    ),
                )
            }
        };
        Ok(DataError::Quote { path: self.input.path().into(), line, reason })
    }

    fn failure(&mut self, start: u64, error: csv::Error) -> DataError {
        let path = self.input.path().to_path_buf();
        let reason = error.to_string();
        match error.into_kind() {
            csv::ErrorKind::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<LongRow>()) => {
                match self.lines.after(self.dialect.start + start) {
                    Ok(line) => DataError::LongRow { path, line, limit: LIMIT },
                    Err(error) => DataError::file(&path, error),
                }
            }
            csv::ErrorKind::Io(error) => DataError::file(&path, error),
            _ => DataError::format(&path, reason),
        }
    }
}

/// A reader that limits the size of a row.
struct Bounded {
    file: FileReader,
    /// Bytes read since the last row was complete.
    row: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("a row is too long")]
struct LongRow;

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.row > LIMIT {
            return Err(std::io::Error::other(LongRow));
        }
        let read = self.file.read(buffer)?;
        self.row += read as u64;
        Ok(read)
    }
}

/// Line numbers, computed when a message needs them: the reader of records counts the empty lines before a row as part
/// of the row.
struct Lines {
    file: BufReader<FileReader>,
    byte: u64,
    line: u64,
    /// The previous byte.
    last: u8,
}

impl Lines {
    /// The number of the first non-empty line from this byte. Calls must be in ascending order of bytes.
    fn after(&mut self, byte: u64) -> std::io::Result<u64> {
        loop {
            let buffer = self.file.fill_buf()?;
            let ahead = byte.saturating_sub(self.byte).min(buffer.len() as u64) as usize;
            let empty = match ahead {
                0 => buffer.iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count(),
                _ => ahead,
            };
            if empty == 0 {
                return Ok(self.line);
            }
            for &byte in &buffer[..empty] {
                self.line += u64::from(byte == b'\r' || (byte == b'\n' && self.last != b'\r'));
                self.last = byte;
            }
            self.file.consume(empty);
            self.byte += empty as u64;
        }
    }
}
