//! A file that is compared: what it must hold.

use super::Key;
use crate::bench::report::{Row, SCHEMA};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// The most variants of one work in a file: each is compared with each of the other file's.
pub const MOST_VARIANTS: usize = 64;

/// A file that is compared.
#[derive(Clone, Debug, Deserialize)]
pub struct File {
    /// [`SCHEMA`].
    #[expect(dead_code, reason = "a file without it is refused")]
    pub schema: u32,
    /// Whose program wrote it; none for this one.
    #[serde(default)]
    pub peer: Option<String>,
    /// What it was measured on.
    #[serde(default)]
    pub machine: Value,
    /// What plain streams came to.
    #[serde(default)]
    pub calibration: Value,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// Why a file cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is no JSON of a benchmark.
    #[error("not a benchmark report: {0}")]
    Json(#[from] serde_json::Error),
    /// It has another version.
    #[error("its schema is {0}, and {SCHEMA} is read")]
    Schema(Value),
    /// A row is none.
    #[error("not a benchmark report: row {row}: {reason}")]
    Row {
        /// Which, from 1.
        row: usize,
        /// What it lacks.
        reason: serde_json::Error,
    },
    /// A row without a sample.
    #[error("row {row} ({what}): there are no samples")]
    Empty {
        /// Which, from 1.
        row: usize,
        /// What it is of.
        what: String,
    },
    /// A time that no clock measured.
    #[error(
        "row {row} ({what}): number {index} of `{field}` is {value}, and a time is above 0 s and finite{hint}"
    )]
    Time {
        /// Which row, from 1.
        row: usize,
        /// What it is of.
        what: String,
        /// `samples` or `beside`.
        field: &'static str,
        /// Which of them, from 1.
        index: usize,
        /// What it is.
        value: String,
        /// What else might be meant.
        hint: &'static str,
    },
    /// The same work twice.
    #[error("rows {first} and {row} are of the same work ({what}), and each may be there once")]
    Duplicate {
        /// The first of them, from 1.
        first: usize,
        /// The other.
        row: usize,
        /// What they are of.
        what: String,
    },
    /// A work in too many variants.
    #[error("row {row} ({what}): that work has more than {MOST_VARIANTS} variants")]
    Variants {
        /// The first that is one too many, from 1.
        row: usize,
        /// What it is of.
        what: String,
    },
}

impl File {
    /// Reads one.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn read(json: &str) -> Result<Self, FileError> {
        let mut value: Value = serde_json::from_str(json)?;
        // Another schema may have other rows: that is said of it, not what its rows lack.
        if let Some(schema) = value.get("schema").filter(|&schema| *schema != SCHEMA) {
            return Err(FileError::Schema(schema.clone()));
        }
        // One by one, so that what is wrong is said of the row.
        let rows = match value.get_mut("rows") {
            Some(Value::Array(rows)) => std::mem::take(rows),
            _ => Vec::new(),
        };
        let mut file: File = serde_json::from_value(value)?;
        let read = |(row, value)| {
            serde_json::from_value(value).map_err(|reason| FileError::Row { row, reason })
        };
        file.rows = (1..).zip(rows).map(read).collect::<Result<_, _>>()?;
        file.check_works()?;
        (1..).zip(&file.rows).try_for_each(|(row, of)| check_times(row, of))?;
        Ok(file)
    }

    /// Every work is there once.
    fn check_works(&self) -> Result<(), FileError> {
        let mut works: HashMap<Key, HashMap<Option<&str>, usize>> = HashMap::new();
        for (row, of) in (1..).zip(&self.rows) {
            let variants = works.entry(Key::of(of)).or_default();
            if let Some(first) = variants.insert(of.variant.as_deref(), row) {
                return Err(FileError::Duplicate { first, row, what: name(of) });
            }
            if variants.len() > MOST_VARIANTS {
                return Err(FileError::Variants { row, what: name(of) });
            }
        }
        Ok(())
    }

    /// Whether its machine gave a copy the same at both ends of the run, as far as is known.
    pub fn is_stable(&self) -> bool {
        self.calibration.get("stable").and_then(Value::as_bool).unwrap_or(true)
    }

    pub(super) fn processor(&self) -> Option<&str> {
        self.machine.get("cpu")?.as_str()
    }
}

/// What is compared of a row are times. A fit that did not get there has none.
fn check_times(row: usize, of: &Row) -> Result<(), FileError> {
    if of.samples.is_empty() {
        return Err(FileError::Empty { row, what: name(of) });
    }
    let is_fit = of.work == "fit";
    let samples = of.samples.iter().map(|&sample| ("samples", sample, is_fit));
    let beside = of.beside.iter().map(|&copy| ("beside", Some(copy), false));
    for (index, (field, time, may_lack)) in (1..).zip(samples).chain((1..).zip(beside)) {
        let is_time = time.map_or(may_lack, |time| time > 0.0 && time.is_finite());
        if !is_time {
            let value = time.map_or("null".into(), |time| format!("{time:?}"));
            let hint = if time.is_none() { "; only a fit may have none" } else { "" };
            return Err(FileError::Time { row, what: name(of), field, index, value, hint });
        }
    }
    Ok(())
}

/// A row among those of its file.
fn name(row: &Row) -> String {
    let key = Key::of(row);
    row.variant.as_ref().map_or_else(|| key.to_string(), |variant| format!("{key}, {variant}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(samples: Value) -> Value {
        json!({
            "work": "step", "rule": "adam", "size": 4096, "device": "cpu", "threads": 1, "cache": "hot",
            "samples": samples, "beside": [1e-3, 1e-3], "median_s": null,
        })
    }

    fn read(rows: &[Value]) -> Result<File, String> {
        File::read(&json!({ "schema": 1, "rows": rows }).to_string()).map_err(|error| error.to_string())
    }

    fn with(mut row: Value, field: &str, value: Value) -> Value {
        row[field] = value;
        row
    }

    #[test]
    fn other_files_are_refused() {
        let error = |json: &str| File::read(json).unwrap_err().to_string();
        assert_eq!(error(r#"{"schema": 2, "rows": []}"#), "its schema is 2, and 1 is read");
        assert!(error("{}").contains("schema"));
        assert_eq!(
            error(r#"{"schema": 1, "rows": [{"work": "step"}]}"#),
            "not a benchmark report: row 1: missing field `size`"
        );
        assert!(error(r#"{"schema": 1}"#).contains("missing field `rows`"));
        assert!(error(r#"{"schema": 1, "rows": {}}"#).contains("expected a sequence"));
        for text in ["", "[", "[]", "7", "\"schema\"", "null", "{\"schema\": 1, \"rows\": [NaN]}"] {
            assert!(error(text).contains("not a benchmark report"), "{text}: {}", error(text));
        }
    }

    #[test]
    fn a_time_is_above_zero() {
        let good = row(json!([1e-3, 2e-3]));
        read(std::slice::from_ref(&good)).unwrap();
        for (value, said) in
            [(json!(-1), "-1.0"), (json!(0), "0.0"), (json!(-0.0), "-0.0"), (json!(null), "null")]
        {
            let message =
                read(&[good.clone(), with(row(json!([1e-3, value])), "size", json!(8))]).unwrap_err();
            let start = format!(
                "row 2 (step adam of 8, cpu, 1 thread, hot): number 2 of `samples` is {said}, and a time"
            );
            assert!(message.starts_with(&start), "{message}");
        }
        let message = read(&[with(good.clone(), "beside", json!([0]))]).unwrap_err();
        assert!(message.contains("number 1 of `beside` is 0.0"), "{message}");
        assert!(read(&[row(json!([]))]).unwrap_err().contains("no samples"));
        let message = read(&[with(good, "samples", json!(["fast"]))]).unwrap_err();
        assert!(message.contains("row 1: ") && message.contains("fast"), "{message}");
    }

    #[test]
    fn a_fit_may_not_get_there_but_not_in_no_time() {
        let fit = |samples| with(row(samples), "work", json!("fit"));
        assert_eq!(read(&[fit(json!([null, 1.0]))]).unwrap().rows[0].samples, [None, Some(1.0)]);
        assert!(read(&[fit(json!([null, 0.0]))]).unwrap_err().contains("number 2 of `samples` is 0.0"));
    }

    #[test]
    fn a_work_is_there_once_and_in_a_few_variants() {
        let of = |i: usize| with(row(json!([1.0])), "variant", json!(i.to_string()));
        let message = read(&[of(0), of(1), of(0)]).unwrap_err();
        assert_eq!(
            message,
            "rows 1 and 3 are of the same work (step adam of 4096, cpu, 1 thread, hot, 0), and each may be there once"
        );
        let most: Vec<Value> = (0..MOST_VARIANTS).map(of).collect();
        read(&most).unwrap();
        let message = read(&[&most[..], &[of(MOST_VARIANTS)]].concat()).unwrap_err();
        assert!(message.contains("row 65") && message.contains("more than 64 variants"), "{message}");
    }
}
