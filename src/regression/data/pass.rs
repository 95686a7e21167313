use super::layout::Layout;
use super::source::{Fault, Scan, Source};
use super::{BadRow, DataError, Note, OnBadRow, Skipped};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file as what goes through it again and again sees it.
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

/// One pass over the rows that can be used.
pub struct Pass {
    opened: Opened,
    scan: Box<dyn Scan>,
    /// How many rows of the file have been seen.
    row: u64,
    pub skipped: Skipped,
}

impl Pass {
    /// The next row's features and sides, or `false` at the end.
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

    /// Goes on at this row of the file, from 0, if the format allows that.
    pub fn seek(&mut self, row: u64) -> bool {
        let found = self.scan.seek(row);
        self.row = if found { row } else { self.row };
        found
    }

    /// What was found out about the file so far.
    pub fn notes(&self) -> Vec<Note> {
        self.scan.notes()
    }

    pub fn path(&self) -> &Path {
        &self.opened.path
    }
}
