use super::layout::Layout;
use super::source::{Fault, Scan, Source};
use super::{BadRow, DataError, Note, OnBadRow, Skipped};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file, for repeated passes over its rows.
#[derive(Clone)]
pub struct Opened {
    pub path: PathBuf,
    pub source: Arc<dyn Source>,
    pub layout: Arc<Layout>,
    pub on_bad_row: OnBadRow,
}

impl Opened {
    pub fn pass(&self) -> Result<Pass, DataError> {
        let scan = self.source.scan(&self.layout.columns, self.layout.labels.clone())?;
        Ok(Pass { opened: self.clone(), scan, row: 0, skipped: Skipped::default() })
    }
}

/// One pass over the well-formed rows.
pub struct Pass {
    opened: Opened,
    scan: Box<dyn Scan>,
    /// Number of rows of the file read so far.
    row: u64,
    pub skipped: Skipped,
}

impl Pass {
    /// Reads the next row's features and auxiliary columns; returns `false` at the end.
    pub fn next(&mut self, cells: &mut [f64]) -> Result<bool, DataError> {
        loop {
            self.row += 1;
            let read = self.scan.next(cells);
            let checked = match read {
                Ok(true) => self.opened.layout.finish(cells).map(|()| true),
                other => other,
            };
            match checked {
                Ok(read) => return Ok(read),
                Err(Fault::File(error)) => return Err(error),
                Err(Fault::Row(at, reason)) => {
                    let described = self.skipped.first.len() < Skipped::SHOWN;
                    let skips = self.opened.on_bad_row == OnBadRow::Skip;
                    if described || !skips {
                        let line = self.scan.line()?;
                        let bad = BadRow { row: self.row, line, at, reason };
                        if !skips {
                            return Err(DataError::Row { path: self.opened.path.clone(), row: bad });
                        }
                        self.skipped.first.push(bad);
                    }
                    self.skipped.count += 1;
                }
            }
        }
    }

    /// Continues at this row of the file, from 0, and returns `true`, if the format can seek.
    pub fn seek(&mut self, row: u64) -> bool {
        let found = self.scan.seek(row);
        self.row = if found { row } else { self.row };
        found
    }

    /// The notes about the file so far.
    pub fn notes(&self) -> Vec<Note> {
        self.scan.notes()
    }

    pub fn path(&self) -> &Path {
        &self.opened.path
    }
}
