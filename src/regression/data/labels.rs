//! Class labels that are words.

use super::DataError;
use super::distinct::Distinct;
use crate::regression::data::text::shortened;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Maximum number of classes.
const MAX: usize = Distinct::MAX;
/// Number of labels that decide whether labels are words.
const LOOKED_AT: u32 = 1000;
/// Texts that stand for a missing label.
const MISSING: [&str; 9] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "?", "<NA>"];
/// Maximum number of characters of a label in a message.
const SHOWN: usize = 40;

/// A column of labels, which is read as their indices.
#[derive(Clone, Debug)]
pub struct LabelColumn {
    /// Its index in the file.
    pub column: usize,
    /// The labels in ascending order.
    pub names: Arc<Vec<String>>,
}

impl LabelColumn {
    /// The index of a label.
    pub fn index(&self, text: &[u8]) -> Result<f64, String> {
        let found = std::str::from_utf8(text).ok();
        let found = found.and_then(|text| self.names.binary_search_by(|name| (**name).cmp(text)).ok());
        found.map(|index| index as f64).ok_or_else(|| match text {
            text if is_missing(text) => "the label is missing".into(),
            text if is_number(text) => {
                format!("`{}` is a number, but the other labels are words", shortened(text, SHOWN))
            }
            text => format!("`{}` is not one of the labels", shortened(text, SHOWN)),
        })
    }
}

/// Whether a text is a number, finite or not.
fn is_number(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
}

fn is_missing(text: &[u8]) -> bool {
    MISSING.iter().any(|missing| missing.as_bytes() == text)
}

/// The distinct words of a column, if most of its first labels are words.
#[derive(Debug, Default)]
pub struct Collected {
    words: BTreeSet<String>,
    /// Number of labels so far, and of numbers among them.
    seen: u32,
    numbers: u32,
}

impl Collected {
    /// Adds a cell; returns `false` if the rest need not be read.
    pub fn add(&mut self, text: &[u8]) -> bool {
        if is_missing(text) {
            return true;
        }
        self.seen = self.seen.saturating_add(1);
        if is_number(text) {
            self.numbers = self.numbers.saturating_add(1);
        } else if let Ok(text) = std::str::from_utf8(text)
            && !self.words.contains(text)
        {
            self.words.insert(text.into());
        }
        // A word among numbers, or a number among words, is a malformed cell.
        (self.seen != LOOKED_AT || self.are_words()) && self.words.len() <= MAX
    }

    fn are_words(&self) -> bool {
        self.seen - self.numbers > self.numbers
    }

    /// The words in ascending order, as in scikit-learn; `None` if labels are numbers.
    pub fn finish(self, path: &Path) -> Result<Option<Vec<String>>, DataError> {
        if !self.are_words() {
            return Ok(None);
        }
        if self.words.len() > MAX {
            let reason =
                format!("the target has more than {MAX} different values, too many for classes");
            return Err(DataError::format(path, reason));
        }
        Ok(Some(self.words.into_iter().collect()))
    }
}
