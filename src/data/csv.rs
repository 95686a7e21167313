//! CSV: numbers under a line with the names of the columns.

use super::DataError;
use super::source::{Fault, Scan, Source, check_columns, number};
use csv::{ByteRecord, Reader, ReaderBuilder};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The most bytes of a row: it is held in memory, and a quote that is never closed makes one row of all
/// that follows.
const LIMIT: u64 = 64 << 20;

pub struct Csv {
    path: PathBuf,
    columns: Vec<String>,
}

impl Csv {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let mut reader = reader(path)?;
        let header = reader.byte_headers().map_err(|error| failure(path, 1, error))?;
        check_columns(path, header.len())?;
        let name = |cell: &[u8]| String::from_utf8(cell.trim_ascii().to_vec()).ok();
        let columns: Option<Vec<String>> = header.iter().map(name).collect();
        let columns = columns.ok_or_else(|| DataError::format(path, "the header is not UTF-8"))?;
        if columns.is_empty() {
            return Err(DataError::Empty { name: path.display().to_string(), what: "header line" });
        }
        if columns.iter().all(|name| name.parse::<f64>().is_ok()) {
            let reason = "the first line holds numbers, and must hold the names of the columns";
            return Err(DataError::format(path, reason));
        }
        Ok(Csv { path: path.into(), columns })
    }
}

impl Source for Csv {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn named(&self) -> bool {
        true
    }

    fn scan(&self, columns: &[usize]) -> Result<Box<dyn Scan>, DataError> {
        let name = |&column: &usize| (column, self.columns[column].clone());
        Ok(Box::new(Rows {
            reader: reader(&self.path)?,
            lines: Lines::of(&self.path)?,
            width: self.columns.len(),
            columns: columns.iter().map(name).collect(),
            record: ByteRecord::new(),
            path: self.path.clone(),
        }))
    }
}

struct Rows {
    reader: Reader<Bounded>,
    lines: Lines,
    /// Of the header.
    width: usize,
    columns: Vec<(usize, String)>,
    record: ByteRecord,
    path: PathBuf,
}

impl Scan for Rows {
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault> {
        // A row that cannot be read leaves no record that says where it began.
        let start = self.reader.position().byte();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => return Ok(false),
            Ok(true) => self.reader.get_mut().row = 0,
            Err(error) => return Err(failure(&self.path, self.lines.after(start)?, error).into()),
        }
        let (found, expected) = (self.record.len(), self.width);
        if found != expected {
            return Err(Fault::Row(None, format!("{found} cells where the header has {expected}")));
        }
        for (cell, (column, name)) in cells.iter_mut().zip(&self.columns) {
            let text = self.record[*column].trim_ascii();
            *cell = number(text).map_err(|reason| Fault::cell(name, reason))?;
        }
        Ok(true)
    }

    fn line(&mut self) -> Result<Option<u64>, DataError> {
        self.record.position().map(|position| self.lines.after(position.byte())).transpose()
    }
}

fn reader(path: &Path) -> Result<Reader<Bounded>, DataError> {
    let file = File::open(path).map_err(|error| DataError::file(path, error))?;
    let mut builder = ReaderBuilder::new();
    builder.flexible(true).buffer_capacity(1 << 16);
    Ok(builder.from_reader(Bounded { file, row: 0 }))
}

fn failure(path: &Path, line: u64, error: csv::Error) -> DataError {
    let reason = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<LongRow>()) => {
            DataError::LongRow { path: path.into(), line, limit: LIMIT }
        }
        csv::ErrorKind::Io(error) => DataError::file(path, error),
        _ => DataError::format(path, reason),
    }
}

/// A file that is not read on and on for the sake of one row.
struct Bounded {
    file: File,
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

/// Where lines begin: found when a message needs it, since the reader of rows counts the empty lines ahead
/// of a row as part of it.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    byte: u64,
    line: u64,
}

impl Lines {
    fn of(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| DataError::file(path, error))?;
        Ok(Lines { path: path.into(), file: BufReader::new(file), byte: 0, line: 1 })
    }

    /// The first line that is not empty from a byte on; bytes are asked for in their order.
    fn after(&mut self, byte: u64) -> Result<u64, DataError> {
        loop {
            let buffer = self.file.fill_buf().map_err(|error| DataError::file(&self.path, error))?;
            let ahead = byte.saturating_sub(self.byte).min(buffer.len() as u64) as usize;
            let empty = match ahead {
                0 => buffer.iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count(),
                _ => ahead,
            };
            if empty == 0 {
                return Ok(self.line);
            }
            self.line += buffer[..empty].iter().filter(|&&byte| byte == b'\n').count() as u64;
            self.file.consume(empty);
            self.byte += empty as u64;
        }
    }
}
