//! Comparison of two benchmark reports, row by row.
//!
//! On a shared machine the memory bandwidth of two runs may differ by a factor of two, so medians of seconds are not
//! comparable. Ratios are: every sample is interleaved with a copy of as many bytes on the same device, and other load
//! slows both. Nor is agreement of the samples of one run sufficient: they share memory locations and cache conflicts,
//! which differ in another run. Therefore a run visits every benchmark five times, minutes apart and in fresh memory.
//! From two runs follow:
//!
//! - the *effect*: the value of a visit is the median of its ratios, the value of a run the median of its visits, and
//!   the effect B's value divided by A's;
//! - the *interval*: from B's smallest visit / A's largest to B's largest / A's smallest. For equal benchmarks all five
//!   visits of one run exceed all five of the other with probability 1 / 252, and here they must do so by a tenth. This
//!   assumes no distribution of times;
//! - the *threshold*: the larger spread of the visits of a run, limited to [`FLOOR`] … [`MAX`];
//! - the *second opinion*: the ratio of first quartiles over all visits, of benchmark and copy separately. It is not
//!   paired, and estimates the speed of an undisturbed machine.
//!
//! A row is SLOWER if its whole interval is beyond [`FLOOR`], the effect beyond the threshold, and the second opinion
//! at least half-way to the floor; FASTER likewise; SAME if the effect is within the threshold; otherwise UNSURE: the
//! effect is large, but not proved.
//!
//! In simulations with visits that scatter by a tenth (one standard deviation), 3 of 100,000 equal rows are SLOWER and 4
//! of 1000 UNSURE; of rows slower by half, three quarters are SLOWER and the rest UNSURE, except one in 13. With a
//! scatter of 6 %, practically all are SLOWER.
//!
//! Fits are compared seed by seed, because seeds take different numbers of updates. If a file is of another program or
//! another machine, seconds are compared, because the copies are not comparable. Samples without visits are divided into
//! five visits, in order.

mod effect;
mod file;

pub use effect::{Effect, Verdict, effect};
pub use file::File;

use super::report::{Row, Shape};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

/// A row of both files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Identity of the row.
    #[serde(flatten)]
    pub key: Key,
    /// Variants in A and in B.
    pub variants: [Option<String>; 2],
    /// Effect and verdict.
    #[serde(flatten)]
    pub effect: Effect,
}

/// Identity of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Key {
    /// `step`, `gradient`, `epoch` or `fit`.
    pub work: String,
    /// The rule.
    pub rule: Option<String>,
    /// Number of parameters, or of elements of X.
    pub size: u64,
    /// Shape of X.
    pub shape: Option<Shape>,
    /// `cpu`, or an adapter's name.
    pub device: String,
    /// Threads of the processor.
    pub threads: Option<usize>,
    /// `hot` or `cold`.
    pub cache: Option<String>,
}

impl Key {
    fn of(row: &Row) -> Self {
        Key {
            work: row.work.clone(),
            rule: row.rule.clone(),
            size: row.size,
            shape: row.shape,
            device: row.device.clone(),
            threads: row.threads,
            cache: row.cache.clone(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.work)?;
        if let Some(rule) = &self.rule {
            write!(f, " {rule}")?;
        }
        match self.shape {
            None => write!(f, " of {}", self.size)?,
            Some(Shape { rows, features, batch: None }) => write!(f, " of {rows} × {features}")?,
            Some(Shape { rows, features, batch: Some(batch) }) => {
                write!(f, " of {rows} × {features} by {batch}")?;
            }
        }
        match self.threads {
            None => write!(f, ", {}", self.device)?,
            Some(1) => write!(f, ", {}, 1 thread", self.device)?,
            Some(threads) => write!(f, ", {}, {threads} threads", self.device)?,
        }
        match &self.cache {
            None => Ok(()),
            Some(cache) => write!(f, ", {cache}"),
        }
    }
}

/// Comparison of two files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Rows in both files.
    pub rows: Vec<Compared>,
    /// Rows only in A.
    pub only_a: Vec<Key>,
    /// Rows only in B.
    pub only_b: Vec<Key>,
    /// Whether both files name the same processor.
    pub same_machine: bool,
}

impl Comparison {
    /// The number of rows with a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.effect.verdict == verdict).count()
    }
}

/// Compares B with A.
pub fn files(a: &File, b: &File) -> Comparison {
    let with_peer = a.peer.is_some() || b.peer.is_some();
    let same_machine = match (a.processor(), b.processor()) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    let paired = !with_peer && same_machine;
    let (of_a, of_b) = (by_match(&a.rows, with_peer), by_match(&b.rows, with_peer));
    let mut rows = Vec::new();
    for a in &a.rows {
        for b in of_b.get(&match_of(a, with_peer)).into_iter().flatten() {
            let variants = [a.variant.clone(), b.variant.clone()];
            rows.push(Compared { key: Key::of(a), variants, effect: effect(a, b, paired) });
        }
    }
    let alone = |rows: &[Row], others: &HashMap<Match, Vec<&Row>>| {
        let alone = |row: &&Row| !others.contains_key(&match_of(row, with_peer));
        rows.iter().filter(alone).map(Key::of).collect()
    };
    Comparison { rows, only_a: alone(&a.rows, &of_b), only_b: alone(&b.rows, &of_a), same_machine }
}

/// The criterion for comparing rows: the key and, if both files are of this program, the variant.
type Match<'a> = (Key, Option<&'a str>);

/// The criterion of a row. With another program's file, all variants are compared, and a missing cache state matches.
fn match_of(row: &Row, with_peer: bool) -> Match<'_> {
    let mut key = Key::of(row);
    if with_peer && key.cache.as_deref() == Some("hot") {
        key.cache = None;
    }
    (key, row.variant.as_deref().filter(|_| !with_peer))
}

fn by_match(rows: &[Row], with_peer: bool) -> HashMap<Match<'_>, Vec<&Row>> {
    let mut found: HashMap<Match, Vec<&Row>> = HashMap::new();
    for row in rows {
        found.entry(match_of(row, with_peer)).or_default().push(row);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn row(samples: Vec<Option<f64>>, beside: Vec<f64>) -> Row {
        let value = serde_json::json!({
            "work": "step", "rule": "adam", "size": 4096, "device": "cpu", "threads": 1, "cache": "hot",
            "samples": samples, "beside": beside, "median_s": null,
        });
        serde_json::from_value(value).unwrap()
    }

    fn file(peer: Option<&str>, rows: Vec<Row>) -> File {
        let machine = serde_json::json!({ "cpu": "one" });
        File { schema: 1, peer: peer.map(str::to_string), machine, calibration: Value::Null, rows }
    }

    #[test]
    fn rows_match_by_what_they_are_and_others_are_named() {
        let one = row(vec![Some(1.0); 10], vec![1.0; 10]);
        let cold = Row { cache: Some("cold".into()), ..one.clone() };
        let two = Row { threads: Some(2), ..one.clone() };
        let compared = files(&file(None, vec![one.clone(), cold.clone()]), &file(None, vec![two, cold]));
        assert_eq!(compared.rows.len(), 1);
        assert_eq!(compared.only_a[0].to_string(), "step adam of 4096, cpu, 1 thread, hot");
        assert_eq!(compared.only_b[0].to_string(), "step adam of 4096, cpu, 2 threads, hot");
    }

    #[test]
    fn each_variant_of_a_peer_has_a_line() {
        let one = row(vec![Some(1.0); 10], vec![1.0; 10]);
        let variant = |name: &str| Row { variant: Some(name.into()), cache: None, ..one.clone() };
        let peer = file(Some("torch"), vec![variant("fused"), variant("foreach")]);
        let compared = files(&file(None, vec![one]), &peer);
        assert_eq!(compared.rows.len(), 2);
        assert_eq!(compared.rows[1].variants, [None, Some("foreach".into())]);
        assert!(!compared.rows[0].effect.paired && compared.only_b.is_empty());
    }
}
