//! NumPy's .npy: two-dimensional arrays in C or Fortran order.
//!
//! This module reads it without a crate for two reasons. A file larger than the memory is read from any row, in either
//! order, and only in the columns that are used. And the header is not trusted: a shape must not overflow, and neither
//! the shape nor the length of the header may cause an allocation larger than the file.

use super::DataError;
use super::input::{Input, Reader};
use super::labels::LabelColumn;
use super::source::{Fault, Scan, Source, check, check_columns};
use half::f16;
use std::io::{Read, Seek, SeekFrom};

/// Maximum length of a header, the same as NumPy's.
const LONGEST_HEADER: usize = 10_000;
/// Bytes of an array that are read at once, unless a row is larger.
const BLOCK: usize = 1 << 20;

pub struct Npy {
    /// X, and y if it is a separate file.
    arrays: Vec<Array>,
    columns: Vec<String>,
}

impl Npy {
    /// Opens X, with the targets in a separate file or as the last column.
    pub fn open(x: Input, y: Option<Input>) -> Result<Self, DataError> {
        let path = x.path().to_path_buf();
        let path = path.as_path();
        let x = Array::open(x)?;
        if x.dimensions != 2 {
            let reason = format!("X has {} dimensions, but must have 2", x.dimensions);
            return Err(DataError::format(path, reason));
        }
        if x.rows == 0 {
            return Err(DataError::Empty { name: path.display().to_string(), what: "rows" });
        }
        check_columns(path, x.width)?;
        let mut columns: Vec<String> = (1..=x.width).map(|column| format!("x{column}")).collect();
        let mut arrays = vec![x];
        if let Some(y) = y {
            let y = Array::open(y)?;
            if y.rows != arrays[0].rows {
                let reason = format!("has {} rows, but X has {}", y.rows, arrays[0].rows);
                return Err(DataError::format(y.input.path(), reason));
            }
            check_columns(y.input.path(), y.width)?;
            match y.width {
                1 => columns.push("y".into()),
                width => columns.extend((1..=width).map(|column| format!("y{column}"))),
            }
            arrays.push(y);
        }
        Ok(Npy { arrays, columns })
    }
}

impl Source for Npy {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn named(&self) -> bool {
        false
    }

    fn targets(&self) -> usize {
        self.arrays.get(1).map_or(1, |y| y.width)
    }

    fn single(&self) -> bool {
        matches!(self.arrays[0].number, Number::F2 | Number::F4)
    }

    fn input(&self) -> &Input {
        &self.arrays[0].input
    }

    fn check_unchanged(&self) -> Result<(), DataError> {
        self.arrays.iter().try_for_each(|array| array.input.check_unchanged())
    }

    /// The labels of a boolean array, as NumPy prints them.
    fn labels(&self, column: usize) -> Result<Option<Vec<String>>, DataError> {
        let array = &self.arrays[usize::from(column >= self.arrays[0].width)];
        let booleans = array.number == Number::Boolean;
        Ok(booleans.then(|| ["False", "True"].map(String::from).into()))
    }

    fn scan(&self, columns: &[usize], _: Option<LabelColumn>) -> Result<Box<dyn Scan>, DataError> {
        let features = self.arrays[0].width;
        let open = |(i, array): (usize, &Array)| -> Block {
            let own = |(cell, &column): (usize, &usize)| {
                let own = (column >= features) as usize == i;
                own.then(|| (cell, column - i * features))
            };
            let columns = columns.iter().enumerate().filter_map(own).collect();
            let file = array.input.reader();
            Block { array: array.clone(), file, columns, bytes: Vec::new(), first: 0, rows: 0 }
        };
        let blocks = self.arrays.iter().enumerate().map(open).collect();
        let names = columns.iter().map(|&column| self.columns[column].clone()).collect();
        Ok(Box::new(Rows { blocks, names, rows: self.arrays[0].rows, next: 0 }))
    }
}

struct Rows {
    blocks: Vec<Block>,
    names: Vec<String>,
    rows: u64,
    next: u64,
}

impl Scan for Rows {
    fn next(&mut self, cells: &mut [f64]) -> Result<bool, Fault> {
        if self.next >= self.rows {
            return Ok(false);
        }
        self.blocks.iter_mut().try_for_each(|block| block.row(self.next, cells))?;
        self.next += 1;
        for (cell, name) in cells.iter().zip(&self.names) {
            check(*cell).map_err(|reason| Fault::cell(name, reason))?;
        }
        Ok(true)
    }

    fn seek(&mut self, row: u64) -> bool {
        self.next = row;
        true
    }
}

/// The bytes of some rows of an array.
struct Block {
    array: Array,
    file: Reader,
    /// Pairs of cell and column.
    columns: Vec<(usize, usize)>,
    bytes: Vec<u8>,
    first: u64,
    rows: usize,
}

impl Block {
    fn row(&mut self, row: u64, cells: &mut [f64]) -> Result<(), DataError> {
        if !(self.first..self.first + self.rows as u64).contains(&row) {
            self.read(row).map_err(|error| self.failure(error))?;
        }
        let (at, Array { number, big, size, .. }) = ((row - self.first) as usize, &self.array);
        for (i, &(cell, column)) in self.columns.iter().enumerate() {
            let element =
                if self.array.fortran { i * self.rows + at } else { at * self.array.width + column };
            cells[cell] = number.value(&self.bytes[element * size..][..*size], *big);
        }
        Ok(())
    }

    fn failure(&self, error: std::io::Error) -> DataError {
        let path = self.array.input.path();
        match error.kind() {
            // The length was correct when the file was opened.
            std::io::ErrorKind::UnexpectedEof => DataError::Changed { path: path.into() },
            _ => DataError::file(path, error),
        }
    }

    /// Reads a block of rows from this one: whole rows in C order, the used columns in Fortran order.
    fn read(&mut self, first: u64) -> std::io::Result<()> {
        let Array { start, rows, width, size, fortran, .. } = self.array;
        let wide = if fortran { self.columns.len() } else { width } * size;
        let count = (BLOCK / wide.max(1)).max(1).min((rows - first) as usize);
        // The block stays empty if reading fails.
        (self.first, self.rows) = (first, 0);
        self.bytes.resize(count * wide, 0);
        if fortran {
            for (bytes, (_, column)) in self.bytes.chunks_mut(count * size).zip(&self.columns) {
                let element = *column as u64 * rows + first;
                self.file.seek(SeekFrom::Start(start + element * size as u64))?;
                self.file.read_exact(bytes)?;
            }
        } else {
            self.file.seek(SeekFrom::Start(start + first * wide as u64))?;
            self.file.read_exact(&mut self.bytes)?;
        }
        self.rows = count;
        Ok(())
    }
}

/// An array whose header agrees with the file's length.
#[derive(Clone)]
struct Array {
    input: Input,
    /// End of the header in bytes.
    start: u64,
    number: Number,
    /// Size of an element in bytes.
    size: usize,
    big: bool,
    fortran: bool,
    dimensions: usize,
    rows: u64,
    width: usize,
}

impl Array {
    fn open(input: Input) -> Result<Self, DataError> {
        let mut bytes = Vec::new();
        let read = input.reader().take(LONGEST_HEADER as u64 + 12).read_to_end(&mut bytes);
        read.map_err(|error| DataError::file(input.path(), error))?;
        let path = input.path().to_path_buf();
        Self::parse(input, &bytes).map_err(|reason| DataError::Format { path, reason })
    }

    /// Parses the header in the first bytes of a file.
    fn parse(input: Input, bytes: &[u8]) -> Result<Self, String> {
        let length = input.len();
        let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("is not an .npy file")?;
        let (at, header) = match *rest {
            [1, _, a, b, ..] => (10, u16::from_le_bytes([a, b]) as usize),
            [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
            [version, _, ..] if version > 3 => {
                return Err(format!("has the unknown .npy version {version}"));
            }
            _ => return Err("ends within its header".into()),
        };
        if header > LONGEST_HEADER {
            return Err(format!("its header has {header} bytes: the limit is {LONGEST_HEADER}"));
        }
        let start = at + header;
        let text = bytes.get(at..start).ok_or("ends within its header")?;
        let text = std::str::from_utf8(text).map_err(|_| "its header is not UTF-8")?;
        let value = |key: &str| {
            let found = text.split_once(&format!("'{key}':")).map(|(_, value)| value.trim_start());
            found.ok_or_else(|| format!("its header has no `{key}`"))
        };
        let (number, size, big) = element(value("descr")?)?;
        let order = value("fortran_order")?;
        let fortran = order.starts_with("True");
        if !fortran && !order.starts_with("False") {
            return Err("its `fortran_order` is neither True nor False".into());
        }
        let shape = value("shape")?.strip_prefix('(').and_then(|shape| shape.split_once(')'));
        let (shape, _) = shape.ok_or("its `shape` is not a tuple")?;
        let lengths = shape.split(',').map(str::trim).filter(|length| !length.is_empty());
        let lengths: Result<Vec<u64>, _> = lengths.map(str::parse).collect();
        let lengths = lengths
            .map_err(|_| format!("its shape ({shape}) has an extent that is not a whole number"))?;
        let (rows, width) = match lengths[..] {
            [rows] => (rows, 1),
            [rows, width] => (rows, width),
            _ => return Err(format!("has {} dimensions, but must have 1 or 2", lengths.len())),
        };
        let needed = rows.checked_mul(width).and_then(|len| len.checked_mul(size as u64));
        let held = length.saturating_sub(start as u64);
        match (needed, usize::try_from(width)) {
            (Some(needed), Ok(width)) if needed == held => Ok(Array {
                input,
                start: start as u64,
                number,
                size,
                big,
                fortran,
                dimensions: lengths.len(),
                rows,
                // Without rows, the file's length does not bound the width.
                width: if rows == 0 { 0 } else { width },
            }),
            _ => Err(format!(
                "the shape ({shape}) of {size}-byte numbers does not match {held} bytes of data"
            )),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Boolean,
    F2,
    F4,
    F8,
    Signed,
    Unsigned,
}

impl Number {
    fn value(self, bytes: &[u8], big: bool) -> f64 {
        // Little-endian, and sign-extended to eight bytes.
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
        if big {
            word[..bytes.len()].reverse();
        }
        let unsigned = u64::from_le_bytes(word);
        let unused = 64 - 8 * bytes.len() as u32;
        match self {
            Number::Boolean => f64::from(unsigned != 0),
            Number::F2 => f16::from_bits(unsigned as u16).into(),
            Number::F4 => f32::from_bits(unsigned as u32).into(),
            Number::F8 => f64::from_bits(unsigned),
            Number::Signed => (((unsigned << unused) as i64) >> unused) as f64,
            Number::Unsigned => unsigned as f64,
        }
    }
}

/// Parses the element type: kind of number, size in bytes, and whether it is big-endian.
fn element(descr: &str) -> Result<(Number, usize, bool), String> {
    if descr.starts_with('[') {
        return Err("holds records (a structured dtype), but must hold numbers".into());
    }
    let name = descr.strip_prefix('\'').and_then(|descr| descr.split_once('\''));
    let (name, _) = name.ok_or("its `descr` is not a string")?;
    let big = name.starts_with('>');
    let (number, size) = match name.trim_start_matches(['<', '>', '|', '=']) {
        "b1" => (Number::Boolean, 1),
        "f2" => (Number::F2, 2),
        "f4" => (Number::F4, 4),
        "f8" => (Number::F8, 8),
        "i1" => (Number::Signed, 1),
        "i2" => (Number::Signed, 2),
        "i4" => (Number::Signed, 4),
        "i8" => (Number::Signed, 8),
        "u1" => (Number::Unsigned, 1),
        "u2" => (Number::Unsigned, 2),
        "u4" => (Number::Unsigned, 4),
        "u8" => (Number::Unsigned, 8),
        "O" => return Err("holds pickled objects, which are not supported".into()),
        _ => {
            return Err(format!(
                "holds elements of the type `{name}`, but must hold f2, f4, f8, integers or booleans"
            ));
        }
    };
    Ok((number, size, big))
}
