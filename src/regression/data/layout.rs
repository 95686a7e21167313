//! Roles of the columns of a file.

use super::labels::LabelColumn;
use super::source::{Fault, Source};
use super::{Columns, DataError, FileOptions, Note, Offset, Targets};
use crate::regression::data::text::printable;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The columns to read: features, then auxiliary columns.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Indices of the columns in the file.
    pub columns: Vec<usize>,
    pub names: Vec<String>,
    pub features: usize,
    pub targets: usize,
    pub weighted: bool,
    pub offset: Option<Scale>,
    /// The target, if its labels are words.
    pub labels: Option<LabelColumn>,
    /// Roles of the columns, if they have no names.
    pub places: Option<Columns>,
    /// Notes about ignored columns.
    pub notes: Vec<Note>,
}

/// Conversion of a column to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Itself,
    Logarithm,
}

impl Layout {
    pub fn new(path: &Path, source: &dyn Source, options: &FileOptions) -> Result<Self, DataError> {
        let names = source.columns();
        let find = |name: &String| find(path, names, name);
        let weight = options.weight.as_ref().map(find).transpose()?;
        let (offset, scale) = match &options.offset {
            Some(Offset::Column(name)) => (Some(find(name)?), Some(Scale::Itself)),
            Some(Offset::Exposure(name)) => (Some(find(name)?), Some(Scale::Logarithm)),
            None => (None, None),
        };
        let chosen = listed(path, names, &options.include)?;
        let excluded = listed(path, names, &options.exclude)?;
        let named = match &options.targets {
            Targets::Named(targets) => targets.iter().map(find).collect::<Result<Vec<_>, _>>()?,
            Targets::Last | Targets::None => Vec::new(),
        };
        // A column has at most one role.
        let mut used = Used { path, names, used: vec![false; names.len()] };
        let named_columns =
            named.iter().copied().chain(weight).chain(offset).chain(chosen.iter().copied());
        for column in named_columns.chain(excluded.iter().copied()) {
            used.take(column)?;
        }
        let mut notes = Vec::new();
        if options.select.is_none() {
            for index in source.index_columns() {
                if std::mem::replace(&mut used.used[index.column], true) {
                    continue;
                }
                notes.push(Note::LeftOut { column: names[index.column].clone(), why: index.why });
            }
        }
        let targets = match &options.targets {
            Targets::Last => last_columns(path, source, &mut used)?,
            Targets::Named(_) | Targets::None => named,
        };
        let rest = || (0..names.len()).filter(|&column| !used.used[column]);
        let mut columns: Vec<usize> = match &options.select {
            Some(features) => {
                let columns = model_columns(path, source, features, options, offset)?;
                // Fails if a feature already has another role.
                columns.iter().try_for_each(|&column| used.take(column))?;
                columns
            }
            None if chosen.is_empty() => rest().collect(),
            None => {
                notes.extend(rest().next().map(|_| Note::NotChosen { count: rest().count() }));
                // Features stay in file order.
                let mut chosen = chosen;
                chosen.sort_unstable();
                chosen
            }
        };
        let features = columns.len();
        if features == 0 {
            return Err(no_features(path, source));
        }
        columns.extend(targets.iter().copied().chain(weight).chain(offset));
        if source.named() {
            check_names(path, names, &columns)?;
        }
        let labels = match (options.labels, &targets[..]) {
            (true, &[column]) => source.labels(column)?.map(|names| (column, names)),
            _ => None,
        };
        let separate = source.first_index().is_some();
        let places = (!source.named()).then(|| Columns {
            width: names.len() - usize::from(separate),
            targets: if separate { Vec::new() } else { targets.clone() },
            weight,
            offset,
            unused: {
                let mut looked_at = vec![false; names.len()];
                columns.iter().for_each(|&column| looked_at[column] = true);
                (0..names.len() - usize::from(separate)).filter(|&column| !looked_at[column]).collect()
            },
            first_index: source.first_index(),
        });
        Ok(Layout {
            names: columns.iter().map(|&column| names[column].clone()).collect(),
            columns,
            features,
            targets: targets.len(),
            weighted: weight.is_some(),
            offset: scale,
            labels: labels.map(|(column, names)| LabelColumn { column, names: Arc::new(names) }),
            places,
            notes,
        })
    }

    /// Checks weights and exposures, and converts exposures to offsets.
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

/// Columns that already have a role.
struct Used<'a> {
    path: &'a Path,
    names: &'a [String],
    used: Vec<bool>,
}

impl Used<'_> {
    fn take(&mut self, column: usize) -> Result<(), DataError> {
        match std::mem::replace(&mut self.used[column], true) {
            false => Ok(()),
            true => Err(DataError::Twice { path: self.path.into(), name: self.names[column].clone() }),
        }
    }
}

/// The default targets: the last columns without another role, or all columns of a separate file of targets.
fn last_columns(path: &Path, source: &dyn Source, used: &mut Used) -> Result<Vec<usize>, DataError> {
    let free = (0..used.names.len()).rev().filter(|&column| !used.used[column]);
    let mut targets: Vec<usize> = free.take(source.targets()).collect();
    targets.reverse();
    if used.names.is_empty() {
        return Err(no_features(path, source));
    }
    if targets.len() < source.targets() {
        let reason = "has no target: every column has another role";
        return Err(DataError::format(path, reason));
    }
    targets.iter().try_for_each(|&column| used.take(column))?;
    Ok(targets)
}

fn no_features(path: &Path, source: &dyn Source) -> DataError {
    let what = "features: it needs a column besides the target";
    match (source.separator(), source.columns()) {
        (Some(separator), [only]) if source.named() => {
            let only = crate::regression::data::text::shortened(only.as_bytes(), 80);
            DataError::format(
                path,
                format!(
                    "has no {what}; its header is one cell, `{only}`, where cells are separated by \
                     {separator} (--separator)"
                ),
            )
        }
        _ => DataError::Empty { name: path.display().to_string(), what },
    }
}

/// Finds columns by name, or by names separated by commas.
fn listed(path: &Path, names: &[String], requested: &[String]) -> Result<Vec<usize>, DataError> {
    let mut columns = Vec::new();
    for requested in requested {
        if names.contains(requested) {
            columns.push(find(path, names, requested)?);
            continue;
        }
        for name in requested.split(',') {
            columns.push(find(path, names, name.trim())?);
        }
    }
    Ok(columns)
}

fn find(path: &Path, names: &[String], name: &str) -> Result<usize, DataError> {
    let found: Vec<usize> = (0..names.len()).filter(|&i| names[i] == name).collect();
    if let [column] = found[..] {
        return Ok(column);
    }
    let (name, count) = (name.into(), found.len());
    Err(DataError::Column { path: path.into(), name, count, available: available(names) })
}

/// Checks that the names of the used columns are unique: predictions match features by name.
fn check_names(path: &Path, names: &[String], columns: &[usize]) -> Result<(), DataError> {
    let mut places = HashMap::with_capacity(columns.len());
    for &column in columns {
        let name = &names[column];
        if name.is_empty() {
            let reason = format!(
                "column {} has no name: name it, or list the features with --features",
                column + 1
            );
            return Err(DataError::format(path, reason));
        }
        if places.insert(name, column).is_some() {
            find(path, names, name)?;
        }
    }
    Ok(())
}

/// The first names, for a message.
fn available(names: &[String]) -> String {
    const MAX: usize = 100;
    let listed = names.iter().take(MAX).map(|name| printable(name)).collect::<Vec<_>>().join(", ");
    if names.len() > MAX { format!("{listed} and {} more", names.len() - MAX) } else { listed }
}

/// Finds the features of a model, by name, or by index if the file has no names.
fn model_columns(
    path: &Path,
    source: &dyn Source,
    features: &[String],
    options: &FileOptions,
    offset: Option<usize>,
) -> Result<Vec<usize>, DataError> {
    let names = source.columns();
    if !source.named() {
        let separate = source.first_index().is_some();
        let width = names.len() - usize::from(separate);
        return super::columns::features_of(width, separate, features, options.trained.as_ref(), offset)
            .map_err(|reason| DataError::format(path, reason));
    }
    let mut places = HashMap::new();
    for (column, name) in names.iter().enumerate() {
        places.entry(name).or_insert_with(Vec::new).push(column);
    }
    let missing: Vec<String> =
        features.iter().filter(|name| !places.contains_key(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(DataError::Missing { path: path.into(), names: missing });
    }
    features
        .iter()
        .map(|name| match places[name][..] {
            [column] => Ok(column),
            _ => find(path, names, name),
        })
        .collect()
}
