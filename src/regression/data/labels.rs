//! Classes that are called by words.

use super::DataError;
use super::statistics::Distinct;
use crate::regression::data::text::shortened;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// More labels than this are no classes.
const MOST: usize = Distinct::MOST;
/// The labels that decide whether labels are words.
const LOOKED_AT: u32 = 1000;
/// What stands for a label that is missing, among words.
const MISSING: [&str; 9] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "?", "<NA>"];
/// The most characters of a label in a message.
const SHOWN: usize = 40;

/// The labels of a column of a file, which is read as their indices.
#[derive(Clone, Debug)]
pub struct LabelColumn {
    /// Where it is in the file.
    pub column: usize,
    /// In ascending order.
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
                format!("`{}` is a number, and the other labels are words", shortened(text, SHOWN))
            }
            text => format!("`{}` is not one of the labels", shortened(text, SHOWN)),
        })
    }
}

/// Whether it is a number, be it one that cannot be learned from.
fn is_number(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
}

fn is_missing(text: &[u8]) -> bool {
    MISSING.iter().any(|missing| missing.as_bytes() == text)
}

/// The different words of a column most of whose first labels are words.
#[derive(Debug, Default)]
pub struct Collected {
    words: BTreeSet<String>,
    /// How many labels there were so far, and how many of them numbers.
    seen: u32,
    numbers: u32,
}

impl Collected {
    /// Adds a cell; `false` if no more need be looked at.
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
        // Among numbers a word is a bad cell, and among words a number.
        (self.seen != LOOKED_AT || self.are_words()) && self.words.len() <= MOST
    }

    fn are_words(&self) -> bool {
        self.seen - self.numbers > self.numbers
    }

    /// The words in ascending order, as scikit-learn has them; `None` if labels are numbers.
    pub fn finish(self, path: &Path) -> Result<Option<Vec<String>>, DataError> {
        if !self.are_words() {
            return Ok(None);
        }
        if self.words.len() > MOST {
            let reason =
                format!("the target has more than {MOST} different values, which are no classes");
            return Err(DataError::format(path, reason));
        }
        Ok(Some(self.words.into_iter().collect()))
    }
}
