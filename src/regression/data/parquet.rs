//! Parquet: flat columns of numbers. Only used columns are read, one row group at a time.

use super::DataError;
use super::input::{Input, Reader};
use super::labels::{Collected, LabelColumn};
use super::source::{Fault, Index, Scan, Source, check};
use crate::regression::data::text::printable;
use bytes::Bytes;
use half::f16;
use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{AsBytes, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::FileMetaData;
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Rows decoded at once.
const BATCH: usize = 1024;

pub struct Parquet {
    input: Input,
    columns: Vec<String>,
    kinds: Vec<Kind>,
    /// Definition level of non-null values, by column.
    present: Vec<i16>,
    index: Vec<Index>,
}

impl Parquet {
    pub fn open(input: Input) -> Result<Self, DataError> {
        let reader = reader(&input)?;
        let metadata = reader.metadata().file_metadata();
        let schema = metadata.schema_descr();
        let columns: Vec<String> =
            schema.columns().iter().map(|column| column.path().string()).collect();
        let kinds = schema.columns().iter().map(|column| Kind::of(column)).collect();
        let present = schema.columns().iter().map(|column| column.max_def_level()).collect();
        let index = index_columns(metadata, &columns);
        Ok(Parquet { input, columns, kinds, present, index })
    }

    fn not_numbers(&self, column: &str, what: &str) -> DataError {
        let column = printable(column);
        let reason = format!("column `{column}` has {what}, not numbers");
        DataError::format(self.input.path(), reason)
    }

    fn rows(&self, columns: &[usize], labels: Option<LabelColumn>) -> Result<Rows, DataError> {
        let column = |&place: &usize| {
            let (name, kind) = (self.columns[place].clone(), &self.kinds[place]);
            let labels = labels.as_ref().filter(|labels| labels.column == place).cloned();
            match kind {
                Kind::Text if labels.is_none() => {
                    return Err(self.not_numbers(&name, "the type BYTE_ARRAY"));
                }
                Kind::Other(what) => return Err(self.not_numbers(&name, what)),
                _ => {}
            }
            let (kind, present) = (kind.clone(), self.present[place]);
            Ok(Column { place, name, kind, labels, present, cells: Vec::new() })
        };
        let columns = columns.iter().map(column).collect::<Result<_, _>>()?;
        let (reader, input) = (reader(&self.input)?, self.input.clone());
        Ok(Rows { input, reader, columns, group: 0, readers: Vec::new(), at: 0, rows: 0 })
    }
}

/// The columns that pandas created from a frame's index.
fn index_columns(metadata: &FileMetaData, columns: &[String]) -> Vec<Index> {
    let pandas = metadata.key_value_metadata().into_iter().flatten().find(|pair| pair.key == "pandas");
    let pandas = pandas.and_then(|pair| pair.value.as_deref());
    let pandas: Option<serde_json::Value> = pandas.and_then(|text| serde_json::from_str(text).ok());
    let listed = pandas.as_ref().and_then(|pandas| pandas["index_columns"].as_array());
    let is_index = |name: &String| {
        let unnamed = name.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__"));
        unnamed.is_some_and(|level| level.parse::<u32>().is_ok())
            || listed.is_some_and(|listed| listed.iter().any(|column| column.as_str() == Some(name)))
    };
    let found = columns.iter().enumerate().filter(|(_, name)| is_index(name));
    found.map(|(column, _)| Index { column, why: "is the index of a pandas frame" }).collect()
}

impl Source for Parquet {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn named(&self) -> bool {
        true
    }

    fn index_columns(&self) -> &[Index] {
        &self.index
    }

    fn input(&self) -> &Input {
        &self.input
    }

    fn labels(&self, column: usize) -> Result<Option<Vec<String>>, DataError> {
        match &self.kinds[column] {
            Kind::Boolean => Ok(Some(["False", "True"].map(String::from).into())),
            Kind::Text => {
                let names = LabelColumn { column, names: Default::default() };
                let mut rows = self.rows(&[column], Some(names))?;
                guarded(self.input.path(), || rows.words())
            }
            _ => Ok(None),
        }
    }

    fn scan(&self, columns: &[usize], labels: Option<LabelColumn>) -> Result<Box<dyn Scan>, DataError> {
        Ok(Box::new(self.rows(columns, labels)?))
    }
}

/// The content of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Unsigned,
    /// Numbers of half precision.
    Half,
    /// Words, which only labels may have.
    Text,
    Other(String),
}

impl Kind {
    fn of(column: &ColumnDescriptor) -> Self {
        use ConvertedType as C;
        let number =
            matches!(column.physical_type(), Type::INT32 | Type::INT64 | Type::FLOAT | Type::DOUBLE);
        let (logical, converted) = (column.logical_type_ref(), column.converted_type());
        let text = matches!(logical, None | Some(LogicalType::String | LogicalType::Enum))
            && matches!(converted, C::NONE | C::UTF8 | C::ENUM);
        if column.max_rep_level() > 0 {
            Kind::Other("lists".into())
        } else if matches!(logical, Some(LogicalType::Float16)) {
            Kind::Half
        } else if column.physical_type() == Type::BYTE_ARRAY && text {
            Kind::Text
        } else if column.physical_type() == Type::BOOLEAN {
            Kind::Boolean
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
    input: Input,
    reader: SerializedFileReader<Chunks>,
    columns: Vec<Column>,
    /// Index of the next row group.
    group: usize,
    /// Readers of the columns in the current row group.
    readers: Vec<ColumnReader>,
    /// Index of the next decoded row.
    at: usize,
    rows: usize,
}

struct Column {
    place: usize,
    name: String,
    kind: Kind,
    labels: Option<LabelColumn>,
    present: i16,
    /// Decoded cells.
    cells: Vec<Result<f64, String>>,
}

impl Scan for Rows {
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault> {
        if self.at == self.rows {
            let path = self.input.path().to_path_buf();
            if !guarded(&path, || self.decode())? {
                return Ok(false);
            }
        }
        let at = self.at;
        self.at += 1;
        for (cell, column) in cells.iter_mut().zip(&self.columns) {
            let value = column.cells[at].clone().and_then(check);
            *cell = value.map_err(|reason| Fault::cell(&column.name, reason))?;
        }
        Ok(true)
    }
}

impl Rows {
    /// The distinct words of the first column.
    fn words(&mut self) -> Result<Option<Vec<String>>, DataError> {
        let failed = |error| failure(self.input.path(), error);
        let mut words = Collected::default();
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let place = self.columns[0].place;
        for group in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(group).map_err(failed)?;
            let ColumnReader::ByteArrayColumnReader(mut reader) =
                group.get_column_reader(place).map_err(failed)?
            else {
                return Ok(None);
            };
            loop {
                levels.clear();
                values.clear();
                let read = reader.read_records(BATCH, Some(&mut levels), None, &mut values);
                if read.map_err(failed)?.0 == 0 {
                    break;
                }
                if !values.iter().all(|value| words.add(value.as_bytes())) {
                    return words.finish(self.input.path());
                }
            }
        }
        words.finish(self.input.path())
    }

    /// Decodes the next rows; returns `false` at the end of the file.
    fn decode(&mut self) -> Result<bool, DataError> {
        let failed = |error| failure(self.input.path(), error);
        loop {
            let mut rows = None;
            for (column, reader) in self.columns.iter_mut().zip(&mut self.readers) {
                let read = column.decode(reader).map_err(failed)?;
                if *rows.get_or_insert(read) != read {
                    return Err(DataError::format(
                        self.input.path(),
                        "its columns have different lengths",
                    ));
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
        let labels = self.labels.take().filter(|_| self.kind == Kind::Text);
        let read = match (reader, &self.kind) {
            (BoolColumnReader(reader), _) => self.take(reader, |value| Ok(f64::from(u8::from(value)))),
            (Int32ColumnReader(reader), Kind::Unsigned) => {
                self.take(reader, |value| Ok(f64::from(value as u32)))
            }
            (Int32ColumnReader(reader), _) => self.take(reader, |value| Ok(f64::from(value))),
            (Int64ColumnReader(reader), Kind::Unsigned) => {
                self.take(reader, |value| Ok(value as u64 as f64))
            }
            (Int64ColumnReader(reader), _) => self.take(reader, |value| Ok(value as f64)),
            (FloatColumnReader(reader), _) => self.take(reader, |value| Ok(f64::from(value))),
            (DoubleColumnReader(reader), _) => self.take(reader, Ok),
            (FixedLenByteArrayColumnReader(reader), Kind::Half) => self.take(reader, |value| {
                let bytes =
                    value.as_bytes().try_into().map_err(|_| "does not have two bytes".to_string())?;
                Ok(f16::from_le_bytes(bytes).into())
            }),
            (ByteArrayColumnReader(reader), Kind::Text) => self.take(reader, |value| match &labels {
                Some(labels) => labels.index(value.as_bytes()),
                None => Err("is text".into()),
            }),
            _ => Err(ParquetError::General(format!("column `{}` has changed its type", self.name))),
        };
        self.labels = labels;
        read
    }

    fn take<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        number: impl Fn(T::T) -> Result<f64, String>,
    ) -> Result<usize, ParquetError> {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (rows, _, _) = reader.read_records(BATCH, Some(&mut levels), None, &mut values)?;
        let mut values = values.into_iter().map(number);
        match self.present {
            // Columns without nulls have no levels.
            0 => self.cells.extend(values),
            present => {
                let null = || Some(Err("the cell is null".to_string()));
                let cell = |&level: &i16| if level == present { values.next() } else { null() };
                self.cells.extend(levels.iter().map_while(cell));
            }
        }
        if self.cells.len() == rows {
            return Ok(rows);
        }
        Err(ParquetError::General(format!("column `{}` has fewer values than its count", self.name)))
    }
}

/// The file, as the parquet crate reads it.
struct Chunks(Input);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Chunks {
    type T = std::io::BufReader<Reader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut reader = self.0.reader();
        reader.seek(SeekFrom::Start(start))?;
        Ok(std::io::BufReader::new(reader))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.len()) {
            return Err(ParquetError::EOF(format!(
                "the file ends before {length} bytes from byte {start}"
            )));
        }
        let mut bytes = vec![0; length];
        let mut reader = self.0.reader();
        reader.seek(SeekFrom::Start(start))?;
        reader.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Runs `read`, and converts panics to errors: the crate may panic on damaged files.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    let damaged = |_| Err(DataError::format(path, "is a damaged Parquet file"));
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(damaged)
}

fn reader(input: &Input) -> Result<SerializedFileReader<Chunks>, DataError> {
    let (path, length) = (input.path(), input.len());
    let open = || SerializedFileReader::new(Chunks(input.clone())).map_err(|error| failure(path, error));
    let reader = guarded(path, open)?;
    // The crate trusts these offsets, and panics or allocates without limit if they are wrong.
    for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        if column.compression() == Compression::LZO {
            let name = column.column_path().string();
            let reason = format!("column `{name}` is compressed with LZO, which is not supported");
            return Err(DataError::format(path, reason));
        }
        let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = u64::try_from(first).ok().zip(u64::try_from(column.compressed_size()).ok());
        let end = end.and_then(|(first, bytes)| first.checked_add(bytes));
        if end.is_none_or(|end| end > length) {
            let name = column.column_path().string();
            return Err(DataError::format(
                path,
                format!("the data of column `{name}` are outside the file"),
            ));
        }
    }
    Ok(reader)
}

fn failure(path: &Path, error: ParquetError) -> DataError {
    DataError::format(path, format!("is not a valid Parquet file: {error}"))
}
