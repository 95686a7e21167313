//! What two runs of the benchmark tell of each other, row by row.
//!
//! A shared machine gives one run twice the memory bandwidth of another, so medians of seconds cannot be compared.
//! What can be are ratios: each sample was taken in turns with a copy of as many bytes on the same device, and what
//! slowed one slowed the other. Nor does it help that samples of a run agree: they have the same neighbours in the
//! caches and lie in the same memory, and those of another run have others. Therefore a run comes back to every work
//! five times, minutes apart and in fresh memory, and of both runs
//!
//! - a visit is worth the median of its ratios, and a run the median of its visits. The *effect* is B's by A's;
//! - its *interval* goes from B's least visit by A's largest to B's largest by A's least: if both runs were of the
//!   same thing, all five visits of one would be above all five of the other once in 252 times, and here they must be
//!   so by a tenth. Nothing is assumed of how times are distributed;
//! - the *threshold* is how far apart the visits of a run are, of the run where that is more, but no less than
//!   [`FLOOR`] and no more than [`MOST`];
//! - the *second opinion* is the quotient of first quartiles over all visits, each of work and copy by itself, which
//!   are not paired and look at what the machine can do when it is left alone.
//!
//! A row is SLOWER if its whole interval is beyond [`FLOOR`], the effect beyond the threshold, and the second opinion
//! at least half-way to the floor; FASTER likewise; SAME if the effect is within the threshold; and UNSURE otherwise:
//! the effect is large, and the samples do not prove it.
//!
//! In simulated runs whose visits scatter by a tenth (one standard deviation), 3 of 100 000 rows that are the same
//! come out SLOWER and 4 of 1000 UNSURE, and of rows that are slower by half three quarters are found SLOWER and the rest
//! UNSURE, save one in 13; if they scatter by 6 %, practically all are found.
//!
//! Fits are compared seed by seed, since seeds take different numbers of updates. Where another program's file is one
//! of the two, or the machines differ, seconds are compared as they are: a copy of another program, or of another
//! machine, is another copy. Samples without visits are taken for five of as many, in their order.

mod effect;
mod file;

pub use effect::{Effect, Verdict, effect};
pub use file::File;

use super::report::{Row, Shape};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

/// A row that both files have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// What it is.
    #[serde(flatten)]
    pub key: Key,
    /// Its variant in A and in B.
    pub variants: [Option<String>; 2],
    /// What its samples tell.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What rows have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Key {
    /// `step`, `gradient`, `epoch` or `fit`.
    pub work: String,
    /// The rule.
    pub rule: Option<String>,
    /// Parameters, or numbers of X.
    pub size: u64,
    /// Of X.
    pub shape: Option<Shape>,
    /// `cpu`, or an adapter's name.
    pub device: String,
    /// Of the processor.
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

/// What two files tell of each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Rows that both have.
    pub rows: Vec<Compared>,
    /// Rows that only A has.
    pub only_a: Vec<Key>,
    /// Rows that only B has.
    pub only_b: Vec<Key>,
    /// Whether both were measured on a processor of the same name.
    pub same_machine: bool,
}

impl Comparison {
    /// How many rows have a verdict.
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

/// What rows of two files have in common if they are compared, where it is of this program's files: the variant too.
type Match<'a> = (Key, Option<&'a str>);

/// Another program's rows have variants of its own, each of which is compared; and no cache where it is not told.
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
