use super::distinct::Distinct;
use super::layout::Layout;
use super::pass::{Opened, Pass};
use super::{Columns, DataError, Note, Skipped};
use crate::regression::column::{Column, ColumnSums};
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

/// Metadata of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Notes of the reader.
    pub notes: Vec<Note>,
    /// Name of the column of weights.
    pub weight_name: Option<String>,
    /// Name of the column of offsets.
    pub offset_name: Option<String>,
    /// Roles of the columns, if the file has no names.
    pub places: Option<Columns>,
    /// Labels in ascending order, if they are words: a row has the index of its label.
    pub labels: Option<Vec<String>>,
}

/// Rows of a file, all of which were checked when it was opened.
#[derive(Debug)]
pub struct FileData {
    /// Name in reports: the path.
    pub name: String,
    /// Names of the features.
    pub names: Vec<String>,
    /// Names of the targets.
    pub target_names: Vec<String>,
    /// Number of rows, without skipped rows.
    pub rows: u64,
    /// Number of targets.
    pub targets: usize,
    /// Whether rows have weights.
    pub weighted: bool,
    /// Whether rows have offsets.
    pub offset: bool,
    /// Rows that were skipped.
    pub skipped: Skipped,
    /// Metadata of the file.
    pub about: Arc<About>,
    /// Statistics of each feature.
    pub columns: Vec<Column>,
    /// Distinct values of a single target in ascending order; `None` if there are more than 4096.
    pub target_values: Option<Vec<f64>>,
    /// Smallest target; infinity without targets.
    pub least_target: f64,
    /// Largest target; minus infinity without targets.
    pub greatest_target: f64,
    /// Largest weight; 0 without weights.
    pub greatest_weight: f64,
    store: Store,
}

impl FileData {
    /// Makes one pass over the file, which checks every row and holds the rows if they fit into `memory` bytes.
    pub(super) fn new(opened: Opened, memory: u64) -> Result<Self, DataError> {
        let layout = opened.layout.clone();
        let mut pass = opened.pass()?;
        let mut cells = vec![0.0; layout.columns.len()];
        let mut columns = vec![ColumnSums::NONE; layout.features];
        let mut distinct = Distinct::new(layout.targets == 1);
        let mut checksum = crc32fast::Hasher::new();
        let mut held = Some(HeldRows::new(opened.source.single(), &layout, memory));
        let (mut rows, mut least_target) = (0, f64::INFINITY);
        let (mut greatest_target, mut greatest_weight) = (f64::NEG_INFINITY, 0.0f64);
        while pass.next(&mut cells)? {
            rows += 1;
            checksum.update(bytemuck::cast_slice(&cells));
            let (x, aux) = cells.split_at(layout.features);
            columns.iter_mut().zip(x).for_each(|(column, &value)| column.add(value));
            aux.first().into_iter().for_each(|&target| distinct.add(target));
            least_target = aux[..layout.targets].iter().copied().fold(least_target, f64::min);
            greatest_target = aux[..layout.targets].iter().copied().fold(greatest_target, f64::max);
            if layout.weighted {
                greatest_weight = greatest_weight.max(aux[layout.targets]);
            }
            held = held.and_then(|held| held.with(x, aux));
        }
        // Training must use the rows that were checked.
        opened.source.check_unchanged()?;
        let name = opened.path.display().to_string();
        if rows == 0 {
            let what = match (pass.skipped.count, opened.source.named()) {
                (0, true) => "rows below its header",
                (0, false) => "rows",
                _ => "well-formed rows",
            };
            return Err(DataError::Empty { name, what });
        }
        let (names, aux) = layout.names.split_at(layout.features);
        let seekable = pass.skipped.count == 0;
        let mut beside = aux[layout.targets..].iter().cloned();
        let about = About {
            notes: [opened.source.notes(), &layout.notes, &pass.notes()].concat(),
            weight_name: if layout.weighted { beside.next() } else { None },
            offset_name: beside.next(),
            places: layout.places.clone(),
            labels: layout.labels.as_ref().map(|labels| labels.names.to_vec()),
        };
        Ok(FileData {
            name,
            names: names.into(),
            target_names: aux[..layout.targets].into(),
            rows,
            targets: layout.targets,
            weighted: layout.weighted,
            offset: layout.offset.is_some(),
            skipped: pass.skipped,
            about: Arc::new(about),
            columns: columns.iter().map(ColumnSums::column).collect(),
            target_values: distinct.values(),
            least_target,
            greatest_target,
            greatest_weight,
            store: match held {
                Some(held) => Store::HeldRows(held),
                None => {
                    let whole = (rows, checksum.finalize());
                    Store::Streamed { opened, seekable, whole, cursor: Mutex::new(None) }
                }
            },
        })
    }

    /// Returns the number of features.
    pub fn features(&self) -> usize {
        self.names.len()
    }

    /// Returns the number of auxiliary columns: targets, sample weight, offset.
    pub fn aux_columns(&self) -> usize {
        self.targets + usize::from(self.weighted) + usize::from(self.offset)
    }

    /// Whether the rows are read from the file again on every access.
    pub fn is_streamed(&self) -> bool {
        matches!(self.store, Store::Streamed { .. })
    }

    /// Reads rows from index `first`: the features into `x` and the auxiliary columns into `aux`, both row-major,
    /// until they are full. If rows are streamed, consecutive reads continue the pass; other reads may have to start
    /// from the beginning of the file.
    ///
    /// # Errors
    /// [`DataError::Range`] for rows beyond the end; [`DataError::Changed`] and other errors if the file changed.
    ///
    /// # Panics
    /// If `x` and `aux` have different numbers of rows.
    pub fn read(&self, first: u64, x: &mut [f64], aux: &mut [f64]) -> Result<(), DataError> {
        let (features, aux_columns) = (self.features(), self.aux_columns());
        let count = x.len() / features;
        assert!(x.len() == count * features && aux.len() == count * aux_columns, "not whole rows");
        if first.checked_add(count as u64).is_none_or(|end| end > self.rows) {
            let (name, rows, count) = (self.name.clone(), self.rows, count as u64);
            return Err(DataError::Range { name, rows, first, count });
        }
        let (opened, seekable, whole, cursor) = match &self.store {
            Store::HeldRows(held) => {
                held.read(first as usize, (features, x), (aux_columns, aux));
                return Ok(());
            }
            Store::Streamed { opened, seekable, whole, cursor } => (opened, *seekable, *whole, cursor),
        };
        // A thread that panicked had taken the cursor out of the lock, so its content is valid.
        let mut place = cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cursor = place.take().map_or_else(|| Cursor::new(opened, whole), Ok)?;
        if cursor.next != first && !(seekable && cursor.seek(first)) {
            if cursor.next > first {
                cursor = Cursor::new(opened, whole)?;
            }
            cursor.skip_to(first)?;
        }
        cursor.read((features, x), (aux_columns, aux))?;
        // After the read, so that rows written in the meantime are rejected.
        opened.source.check_unchanged()?;
        *place = Some(cursor);
        Ok(())
    }
}

enum Store {
    HeldRows(HeldRows),
    Streamed {
        opened: Opened,
        /// Whether all rows of the file are well-formed, so that indices agree.
        seekable: bool,
        /// Number of rows, and the checksum of all their cells.
        whole: (u64, u32),
        cursor: Mutex<Option<Cursor>>,
    },
}

impl Debug for Store {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Store::HeldRows(_) => "Held",
            Store::Streamed { .. } => "Streamed",
        })
    }
}

/// Rows in memory.
struct HeldRows {
    x: Features,
    aux: Vec<f64>,
    /// Maximum number of rows.
    most: usize,
}

/// Features in the precision of the file.
enum Features {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl HeldRows {
    fn new(single: bool, layout: &Layout, memory: u64) -> Self {
        let (x, width) = match single {
            true => (Features::Single(Vec::new()), size_of::<f32>()),
            false => (Features::Double(Vec::new()), size_of::<f64>()),
        };
        let row = layout.features * width + (layout.columns.len() - layout.features) * size_of::<f64>();
        HeldRows { x, aux: Vec::new(), most: usize::try_from(memory).unwrap_or(usize::MAX) / row }
    }

    /// Appends a row; returns `None` if it does not fit.
    fn with(mut self, x: &[f64], aux: &[f64]) -> Option<Self> {
        match &mut self.x {
            Features::Single(held) => extend(held, x.iter().map(|&x| x as f32), self.most)?,
            Features::Double(held) => extend(held, x.iter().copied(), self.most)?,
        }
        extend(&mut self.aux, aux.iter().copied(), self.most)?;
        Some(self)
    }

    fn read(
        &self,
        first: usize,
        (features, x): (usize, &mut [f64]),
        (aux_columns, aux): (usize, &mut [f64]),
    ) {
        let from = first * features;
        match &self.x {
            Features::Single(held) => {
                x.iter_mut().zip(&held[from..]).for_each(|(to, &from)| *to = from.into());
            }
            Features::Double(held) => x.copy_from_slice(&held[from..][..x.len()]),
        }
        aux.copy_from_slice(&self.aux[first * aux_columns..][..aux.len()]);
    }
}

/// Appends a row, without allocating more than `most` elements; returns `None` if it does not fit.
fn extend<T>(held: &mut Vec<T>, row: impl ExactSizeIterator<Item = T>, most: usize) -> Option<()> {
    let (len, most) = (held.len() + row.len(), most.saturating_mul(row.len()));
    if len > held.capacity() {
        let room = (2 * held.capacity()).max(len).min(most);
        held.try_reserve_exact(room.checked_sub(held.len())?).ok()?;
    }
    (len <= most).then(|| held.extend(row))
}

/// The end of the last read.
struct Cursor {
    pass: Pass,
    next: u64,
    cells: Vec<f64>,
    /// Checksum of all cells so far; `None` if rows were passed over.
    checksum: Option<crc32fast::Hasher>,
    whole: (u64, u32),
}

impl Cursor {
    fn new(opened: &Opened, whole: (u64, u32)) -> Result<Self, DataError> {
        let cells = vec![0.0; opened.layout.columns.len()];
        Ok(Cursor { pass: opened.pass()?, next: 0, cells, checksum: Some(Default::default()), whole })
    }

    fn seek(&mut self, row: u64) -> bool {
        let found = self.pass.seek(row);
        if found {
            self.next = row;
            self.checksum = (row == 0).then(Default::default);
        }
        found
    }

    fn advance(&mut self) -> Result<(), DataError> {
        self.next += 1;
        let mut same = match self.pass.next(&mut self.cells) {
            Ok(there) => there,
            // Every row was well-formed when the file was opened.
            Err(DataError::Row { .. } | DataError::Quote { .. }) => false,
            Err(error) => return Err(error),
        };
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytemuck::cast_slice(&self.cells));
            let (rows, whole) = self.whole;
            same &= self.next != rows || checksum.clone().finalize() == whole;
        }
        if same { Ok(()) } else { Err(DataError::Changed { path: self.pass.path().into() }) }
    }

    fn skip_to(&mut self, row: u64) -> Result<(), DataError> {
        while self.next < row {
            self.advance()?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        (features, x): (usize, &mut [f64]),
        (aux_columns, aux): (usize, &mut [f64]),
    ) -> Result<(), DataError> {
        let mut aux = aux.chunks_mut(aux_columns.max(1));
        for x in x.chunks_mut(features) {
            self.advance()?;
            let (from_x, from_aux) = self.cells.split_at(features);
            x.copy_from_slice(from_x);
            aux.next().into_iter().for_each(|aux| aux.copy_from_slice(from_aux));
        }
        Ok(())
    }
}
