//! Parquet: flat columns of numbers, which are read a row group at a time and only where they are used.

use super::DataError;
use super::source::{Fault, Scan, Source, check};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Rows that are decoded at once.
const BATCH: usize = 1024;

pub struct Parquet {
    path: PathBuf,
    columns: Vec<String>,
    kinds: Vec<Kind>,
    /// The definition level of a value that is not null.
    present: Vec<i16>,
}

impl Parquet {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let reader = reader(path)?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let columns = schema.columns().iter().map(|column| column.path().string()).collect();
        let kinds = schema.columns().iter().map(|column| Kind::of(column)).collect();
        let present = schema.columns().iter().map(|column| column.max_def_level()).collect();
        Ok(Parquet { path: path.into(), columns, kinds, present })
    }
}

impl Source for Parquet {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn named(&self) -> bool {
        true
    }

    fn scan(&self, columns: &[usize]) -> Result<Box<dyn Scan>, DataError> {
        let column = |&column: &usize| {
            let name = self.columns[column].clone();
            match &self.kinds[column] {
                Kind::Other(what) => Err(DataError::format(
                    &self.path,
                    format!("column `{name}` is of {what}, not numbers"),
                )),
                kind => {
                    let (unsigned, present) = (*kind == Kind::Unsigned, self.present[column]);
                    Ok(Column { place: column, name, unsigned, present, cells: Vec::new() })
                }
            }
        };
        let columns = columns.iter().map(column).collect::<Result<_, _>>()?;
        let (reader, path) = (reader(&self.path)?, self.path.clone());
        Ok(Box::new(Rows { path, reader, columns, group: 0, readers: Vec::new(), at: 0, rows: 0 }))
    }
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Unsigned,
    Other(String),
}

impl Kind {
    fn of(column: &ColumnDescriptor) -> Self {
        use ConvertedType as C;
        let number = matches!(
            column.physical_type(),
            Type::BOOLEAN | Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE
        );
        let (logical, converted) = (column.logical_type_ref(), column.converted_type());
        if column.max_rep_level() > 0 {
            Kind::Other("lists".into())
        } else if let Some(logical) = logical.filter(|kind| !matches!(kind, LogicalType::Integer { .. }))
        {
            Kind::Other(format!("the type {logical:?}"))
        } else if !number {
            Kind::Other(format!("the type {}", column.physical_type()))
        } else {
            match converted {
                C::UINT_8 | C::UINT_16 | C::UINT_32 | C::UINT_64 => Kind::Unsigned,
                C::NONE | C::INT_8 | C::INT_16 | C::INT_32 | C::INT_64 => Kind::Number,
                other => Kind::Other(format!("the type {other}")),
            }
        }
    }
}

struct Rows {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    columns: Vec<Column>,
    /// The row group that comes next.
    group: usize,
    /// Of the columns in this row group.
    readers: Vec<ColumnReader>,
    /// The next of the rows that are decoded.
    at: usize,
    rows: usize,
}

struct Column {
    place: usize,
    name: String,
    unsigned: bool,
    present: i16,
    /// Those that are decoded; `None` is null.
    cells: Vec<Option<f64>>,
}

impl Scan for Rows {
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault> {
        if self.at == self.rows {
            let path = self.path.clone();
            if !guarded(&path, || self.decode())? {
                return Ok(false);
            }
        }
        let at = self.at;
        self.at += 1;
        for (cell, column) in cells.iter_mut().zip(&self.columns) {
            let value = column.cells[at].ok_or_else(|| "the cell is null".to_string()).and_then(check);
            *cell = value.map_err(|reason| Fault::cell(&column.name, reason))?;
        }
        Ok(true)
    }
}

impl Rows {
    /// Decodes the rows that come next; `false` at the end of the file.
    fn decode(&mut self) -> Result<bool, DataError> {
        let failed = |error| failure(&self.path, error);
        loop {
            let mut rows = None;
            for (column, reader) in self.columns.iter_mut().zip(&mut self.readers) {
                let read = column.decode(reader).map_err(failed)?;
                if *rows.get_or_insert(read) != read {
                    return Err(DataError::format(&self.path, "its columns are not of one length"));
                }
            }
            if let Some(rows) = rows.filter(|&rows| rows > 0) {
                (self.at, self.rows) = (0, rows);
                return Ok(true);
            }
            if self.group == self.reader.num_row_groups() {
                return Ok(false);
            }
            let group = self.reader.get_row_group(self.group).map_err(failed)?;
            let reader = |column: &Column| group.get_column_reader(column.place);
            self.readers = self.columns.iter().map(reader).collect::<Result<_, _>>().map_err(failed)?;
            self.group += 1;
        }
    }
}

impl Column {
    fn decode(&mut self, reader: &mut ColumnReader) -> Result<usize, ParquetError> {
        use ColumnReader::*;
        self.cells.clear();
        match (reader, self.unsigned) {
            (BoolColumnReader(reader), _) => self.take(reader, |value| f64::from(u8::from(value))),
            (Int32ColumnReader(reader), false) => self.take(reader, f64::from),
            (Int32ColumnReader(reader), true) => self.take(reader, |value| f64::from(value as u32)),
            (Int64ColumnReader(reader), false) => self.take(reader, |value| value as f64),
            (Int64ColumnReader(reader), true) => self.take(reader, |value| value as u64 as f64),
            (FloatColumnReader(reader), _) => self.take(reader, f64::from),
            (DoubleColumnReader(reader), _) => self.take(reader, |value| value),
            _ => Err(ParquetError::General(format!("column `{}` is not what it was", self.name))),
        }
    }

    fn take<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        number: impl Fn(T::T) -> f64,
    ) -> Result<usize, ParquetError> {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (rows, _, _) = reader.read_records(BATCH, Some(&mut levels), None, &mut values)?;
        let mut values = values.into_iter().map(number);
        match self.present {
            // A column that has no nulls has no levels.
            0 => self.cells.extend(values.map(Some)),
            present => {
                let cell = |&level: &i16| if level == present { values.next() } else { None };
                self.cells.extend(levels.iter().map(cell));
            }
        }
        if self.cells.len() == rows {
            return Ok(rows);
        }
        Err(ParquetError::General(format!("column `{}` has not the values it counts", self.name)))
    }
}

/// What the crate makes of a file, where it may meet damage that it does not expect and panic.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    let damaged = |_| Err(DataError::format(path, "is a damaged Parquet file"));
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(damaged)
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>, DataError> {
    let failed = |error| DataError::file(path, error);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let reader = || SerializedFileReader::new(file).map_err(|error| failure(path, error));
    let reader = guarded(path, reader)?;
    // The crate takes these places for good, and panics or asks for any memory where they are not.
    for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = u64::try_from(first).ok().zip(u64::try_from(column.compressed_size()).ok());
        let end = end.and_then(|(first, bytes)| first.checked_add(bytes));
        if end.is_none_or(|end| end > length) {
            let name = column.column_path().string();
            return Err(DataError::format(path, format!("column `{name}` lies outside of the file")));
        }
    }
    Ok(reader)
}

fn failure(path: &Path, error: ParquetError) -> DataError {
    DataError::format(path, format!("is no Parquet file that can be read: {error}"))
}
