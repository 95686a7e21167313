//! Benchmark reports as input of a comparison.

use super::Key;
use crate::bench::report::{Row, SCHEMA};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// Maximum number of variants of a benchmark in a file: every pair of variants of two files is compared.
pub const MAX_VARIANTS: usize = 64;

/// A benchmark report.
#[derive(Clone, Debug, Deserialize)]
pub struct File {
    /// [`SCHEMA`].
    #[expect(dead_code, reason = "a file without it is refused")]
    pub schema: u32,
    /// Program that wrote it; `None` for this one.
    #[serde(default)]
    pub peer: Option<String>,
    /// Machine of the measurement.
    #[serde(default)]
    pub machine: Value,
    /// Bandwidths of plain streams.
    #[serde(default)]
    pub calibration: Value,
    /// Measurements.
    pub rows: Vec<Row>,
}

/// An error of reading a benchmark report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file is not a benchmark report.
    #[error("not a benchmark report: {0}")]
    Json(#[from] serde_json::Error),
    /// The file has another version.
    #[error("its schema is {0}, but {SCHEMA} is required")]
    Schema(Value),
    /// A row is invalid.
    #[error("not a benchmark report: row {row}: {reason}")]
    Row {
        /// Number of the row, from 1.
        row: usize,
        /// The reason.
        reason: serde_json::Error,
    },
    /// A row without a sample.
    #[error("row {row} ({what}): there are no samples")]
    Empty {
        /// Number of the row, from 1.
        row: usize,
        /// The benchmark.
        what: String,
    },
    /// An impossible time.
    #[error(
        "row {row} ({what}): number {index} of `{field}` is {value}, but a time must be above 0 s and finite{hint}"
    )]
    Time {
        /// Number of the row, from 1.
        row: usize,
        /// The benchmark.
        what: String,
        /// `samples` or `beside`.
        field: &'static str,
        /// Number of the time, from 1.
        index: usize,
        /// The value.
        value: String,
        /// A hint, appended to the message.
        hint: &'static str,
    },
    /// A repeated row.
    #[error("rows {first} and {row} are both of {what}: every benchmark may occur once")]
    Duplicate {
        /// Number of the first row, from 1.
        first: usize,
        /// Number of the second row.
        row: usize,
        /// The benchmark.
        what: String,
    },
    /// A benchmark with too many variants.
    #[error("row {row} ({what}): this benchmark has more than {MAX_VARIANTS} variants")]
    Variants {
        /// Number of the first row beyond the limit, from 1.
        row: usize,
        /// The benchmark.
        what: String,
    },
}

impl File {
    /// Parses a report.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn read(json: &str) -> Result<Self, FileError> {
        let mut value: Value = serde_json::from_str(json)?;
        // Checked first: rows of another schema may be invalid for this one.
        if let Some(schema) = value.get("schema").filter(|&schema| *schema != SCHEMA) {
            return Err(FileError::Schema(schema.clone()));
        }
        // One by one, so that errors name the row.
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

    /// Checks that every benchmark occurs once.
    fn check_works(&self) -> Result<(), FileError> {
        let mut works: HashMap<Key, HashMap<Option<&str>, usize>> = HashMap::new();
        for (row, of) in (1..).zip(&self.rows) {
            let variants = works.entry(Key::of(of)).or_default();
            if let Some(first) = variants.insert(of.variant.as_deref(), row) {
                return Err(FileError::Duplicate { first, row, what: name(of) });
            }
            if variants.len() > MAX_VARIANTS {
                return Err(FileError::Variants { row, what: name(of) });
            }
        }
        Ok(())
    }

    /// Whether the bandwidth of a copy was the same before and after the run; true if it is unknown.
    pub fn is_stable(&self) -> bool {
        self.calibration.get("stable").and_then(Value::as_bool).unwrap_or(true)
    }

    pub(super) fn processor(&self) -> Option<&str> {
        self.machine.get("cpu")?.as_str()
    }
}

/// Checks the times of a row. Only a fit that did not reach the loss may have none.
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

/// The name of a row, with its variant.
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
        assert_eq!(error(r#"{"schema": 2, "rows": []}"#), "its schema is 2, but 1 is required");
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
                "row 2 (step adam of 8, cpu, 1 thread, hot): number 2 of `samples` is {said}, but a time"
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
            "rows 1 and 3 are both of step adam of 4096, cpu, 1 thread, hot, 0: every benchmark may occur once"
        );
        let most: Vec<Value> = (0..MAX_VARIANTS).map(of).collect();
        read(&most).unwrap();
        let message = read(&[&most[..], &[of(MAX_VARIANTS)]].concat()).unwrap_err();
        assert!(message.contains("row 65") && message.contains("more than 64 variants"), "{message}");
    }
}
