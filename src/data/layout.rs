//! Which column is what.

use super::source::{Fault, Source};
use super::{DataError, FileOptions, Offset, Targets};
use std::path::Path;

/// The columns that are looked at: the features, then what lies beside them.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Where each is in the file.
    pub columns: Vec<usize>,
    pub names: Vec<String>,
    pub features: usize,
    pub targets: usize,
    pub weighted: bool,
    pub offset: Option<Scale>,
}

/// How a column gives an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Itself,
    Logarithm,
}

impl Layout {
    pub fn new(path: &Path, source: &dyn Source, options: &FileOptions) -> Result<Self, DataError> {
        let names = source.columns();
        let find = |name: &String| find(path, names, name);
        let last = names.len().saturating_sub(source.targets())..names.len();
        let targets: Vec<usize> = match &options.targets {
            Targets::Last => last.collect(),
            Targets::Named(targets) => targets.iter().map(find).collect::<Result<_, _>>()?,
            Targets::None => Vec::new(),
        };
        let weight = options.weight.as_ref().map(find).transpose()?;
        let (offset, scale) = match &options.offset {
            Some(Offset::Column(name)) => (Some(find(name)?), Some(Scale::Itself)),
            Some(Offset::Exposure(name)) => (Some(find(name)?), Some(Scale::Logarithm)),
            None => (None, None),
        };
        let sides: Vec<usize> = targets.iter().copied().chain(weight).chain(offset).collect();
        let mut used = vec![false; names.len()];
        for &column in &sides {
            if std::mem::replace(&mut used[column], true) {
                return Err(DataError::Twice { path: path.into(), name: names[column].clone() });
            }
        }
        let mut columns: Vec<usize> = match &options.select {
            Some(wanted) => wanted_columns(path, source, wanted)?,
            None => (0..names.len()).filter(|&column| !used[column]).collect(),
        };
        if let Some(&column) = columns.iter().find(|&&column| used[column]) {
            return Err(DataError::Twice { path: path.into(), name: names[column].clone() });
        }
        let features = columns.len();
        if features == 0 {
            let what = "features: it needs a column beside the target";
            return Err(DataError::Empty { name: path.display().to_string(), what });
        }
        columns.extend(sides);
        Ok(Layout {
            names: columns.iter().map(|&column| names[column].clone()).collect(),
            columns,
            features,
            targets: targets.len(),
            weighted: weight.is_some(),
            offset: scale,
        })
    }

    /// Checks what a column must be besides a number, and makes an exposure an offset.
    pub fn finish(&self, cells: &mut [f64]) -> Result<(), Fault> {
        let at = self.features + self.targets;
        if self.weighted && cells[at] < 0.0 {
            let reason = format!("the weight {:?} is less than 0", cells[at]);
            return Err(Fault::cell(&self.names[at], reason));
        }
        if self.offset == Some(Scale::Logarithm) {
            let at = at + usize::from(self.weighted);
            if cells[at] <= 0.0 {
                let reason = format!("the exposure {:?} is not above 0", cells[at]);
                return Err(Fault::cell(&self.names[at], reason));
            }
            cells[at] = cells[at].ln();
        }
        Ok(())
    }
}

fn find(path: &Path, names: &[String], name: &str) -> Result<usize, DataError> {
    let found: Vec<usize> = (0..names.len()).filter(|&i| names[i] == name).collect();
    if let [column] = found[..] {
        return Ok(column);
    }
    let (name, count) = (name.into(), found.len());
    Err(DataError::Column { path: path.into(), name, count, available: available(names) })
}

/// The first names: all of them may be a million.
fn available(names: &[String]) -> String {
    const MOST: usize = 100;
    let listed = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{listed} and {} more", names.len() - MOST) } else { listed }
}

/// By name; where the file has no names, by their order, with the targets beside them or without.
fn wanted_columns(path: &Path, source: &dyn Source, wanted: &[String]) -> Result<Vec<usize>, DataError> {
    let names = source.columns();
    if !source.named() {
        if wanted.len() == names.len() || wanted.len() + source.targets() == names.len() {
            return Ok((0..wanted.len()).collect());
        }
        let reason = format!("has {} columns, and {} are needed", names.len(), wanted.len());
        return Err(DataError::format(path, reason));
    }
    let mut places = std::collections::HashMap::new();
    for (column, name) in names.iter().enumerate() {
        places.entry(name).or_insert_with(Vec::new).push(column);
    }
    let missing: Vec<String> =
        wanted.iter().filter(|name| !places.contains_key(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(DataError::Missing { path: path.into(), names: missing });
    }
    wanted
        .iter()
        .map(|name| match places[name][..] {
            [column] => Ok(column),
            _ => find(path, names, name),
        })
        .collect()
}
