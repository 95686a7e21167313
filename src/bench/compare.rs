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

use super::report::{Row, SCHEMA, Shape};
use super::statistics::Summary;
use super::turns::VISITS;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The least threshold.
pub const FLOOR: f64 = 0.10;
/// The largest: an effect of half is never SAME, whatever the noise.
pub const MOST: f64 = 0.40;

/// A file that is compared.
#[derive(Clone, Debug, Deserialize)]
pub struct File {
    /// [`SCHEMA`].
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
    #[error("no benchmark's JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It has another version.
    #[error("its schema is {0}, and {SCHEMA} is read")]
    Schema(Value),
}

impl File {
    /// Reads one.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn read(json: &str) -> Result<Self, FileError> {
        // Another schema may have other rows: that is said of it, not what its rows lack.
        let value: Value = serde_json::from_str(json)?;
        match value.get("schema") {
            None => Ok(serde_json::from_value(value)?),
            Some(schema) if *schema == SCHEMA => Ok(serde_json::from_value(value)?),
            Some(schema) => Err(FileError::Schema(schema.clone())),
        }
    }

    /// Whether its machine gave a copy the same at both ends of the run, as far as is known.
    pub fn is_stable(&self) -> bool {
        self.calibration.get("stable").and_then(Value::as_bool).unwrap_or(true)
    }

    fn processor(&self) -> Option<&str> {
        self.machine.get("cpu")?.as_str()
    }
}

/// What a row of B is next to that of A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// No difference is seen that two runs of the same program might not have.
    Same,
    /// B takes less time.
    Faster,
    /// B takes more.
    Slower,
    /// It seems so, and is not proved.
    Unsure,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Verdict::Same => "SAME",
            Verdict::Faster => "FASTER",
            Verdict::Slower => "SLOWER",
            Verdict::Unsure => "UNSURE",
        })
    }
}

/// What two samples of times tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The verdict.
    pub verdict: Verdict,
    /// B's time by A's: above one, B is slower.
    pub ratio: f64,
    /// From B's least visit by A's largest to B's largest by A's least.
    pub interval: [f64; 2],
    /// The second opinion.
    pub quartiles: f64,
    /// The threshold.
    pub threshold: f64,
    /// Whether times were taken relative to the copy beside them.
    pub paired: bool,
}

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
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    let matches = |a: &Row, b: &Row| {
        let hot = |row: &Row| matches!(row.cache.as_deref(), None | Some("hot"));
        let (mut one, mut other) = (Key::of(a), Key::of(b));
        if with_peer && hot(a) && hot(b) {
            (one.cache, other.cache) = (None, None);
        }
        one == other && (with_peer || a.variant == b.variant)
    };
    let mut rows = Vec::new();
    for a in &a.rows {
        for b in b.rows.iter().filter(|b| matches(a, b)) {
            let variants = [a.variant.clone(), b.variant.clone()];
            rows.push(Compared { key: Key::of(a), variants, effect: effect(a, b, paired) });
        }
    }
    let alone = |row: &&Row, others: &[Row]| !others.iter().any(|other| matches(row, other));
    Comparison {
        rows,
        only_a: a.rows.iter().filter(|row| alone(row, &b.rows)).map(Key::of).collect(),
        only_b: b.rows.iter().filter(|row| alone(row, &a.rows)).map(Key::of).collect(),
        same_machine,
    }
}

/// The samples of a row, where one that never ended is infinite.
fn times(row: &Row) -> Vec<f64> {
    row.samples.iter().map(|sample| sample.unwrap_or(f64::INFINITY)).collect()
}

fn has_copies(row: &Row) -> bool {
    !row.samples.is_empty() && row.beside.len() == row.samples.len()
}

/// What the samples of two rows of the same work tell.
pub fn effect(a: &Row, b: &Row, paired: bool) -> Effect {
    let paired = paired && has_copies(a) && has_copies(b);
    let ratios = |row: &Row| -> Vec<f64> {
        let times = times(row);
        match paired {
            true => times.iter().zip(&row.beside).map(|(time, copy)| time / copy).collect(),
            false => times,
        }
    };
    let (of_a, of_b) = (ratios(a), ratios(b));
    if of_a.is_empty() || of_b.is_empty() {
        return unknown(paired);
    }
    if a.work == "fit" && of_a.len() == of_b.len() {
        // Of seeds that neither reaches nothing is known but that they are alike.
        let reached = of_a.iter().zip(&of_b).filter(|(a, b)| a.is_finite() || b.is_finite());
        let mut each: Vec<f64> = reached.map(|(a, b)| b / a).collect();
        if each.is_empty() {
            each.push(1.0);
        }
        let (least, largest) = ends(&each);
        let ratio = median(&each);
        return judge(ratio, [least, largest], ratio, largest / least - 1.0, paired);
    }
    let (visits_a, visits_b) = (visits(a, &of_a), visits(b, &of_b));
    let ((least_a, largest_a), (least_b, largest_b)) = (ends(&visits_a), ends(&visits_b));
    let first = |values: &[f64]| Summary::of(values).map_or(f64::NAN, |summary| summary.q1);
    let quarter = |row: &Row| first(&times(row)) / if paired { first(&row.beside) } else { 1.0 };
    judge(
        median(&visits_b) / median(&visits_a),
        [least_b / largest_a, largest_b / least_a],
        quarter(b) / quarter(a),
        (largest_a / least_a).max(largest_b / least_b) - 1.0,
        paired,
    )
}

fn median(values: &[f64]) -> f64 {
    Summary::of(values).map_or(f64::NAN, |summary| summary.median)
}

fn ends(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(least, largest), &value| {
        (f64::min(least, value), f64::max(largest, value))
    })
}

/// The median of each visit.
fn visits(row: &Row, ratios: &[f64]) -> Vec<f64> {
    let len = ratios.len();
    let mut lengths: Vec<usize> = row.visits.iter().copied().filter(|&length| length > 0).collect();
    if lengths.iter().sum::<usize>() != len {
        lengths = (0..VISITS).map(|i| (i + 1) * len / VISITS - i * len / VISITS).collect();
    }
    let mut rest = ratios;
    let next = |length| {
        let (visit, after) = rest.split_at(length);
        rest = after;
        median(visit)
    };
    lengths.into_iter().filter(|&length| length > 0).map(next).collect()
}

fn judge(ratio: f64, interval: [f64; 2], quartiles: f64, scatter: f64, paired: bool) -> Effect {
    let threshold = if scatter.is_nan() { MOST } else { scatter.clamp(FLOOR, MOST) };
    let (floor, far, half) = (1.0 + FLOOR, 1.0 + threshold, 1.0 + FLOOR / 2.0);
    let verdict = if interval[0] > floor && ratio > far && quartiles > half {
        Verdict::Slower
    } else if interval[1] < 1.0 / floor && ratio < 1.0 / far && quartiles < 1.0 / half {
        Verdict::Faster
    } else if (1.0 / far..=far).contains(&ratio) {
        Verdict::Same
    } else {
        Verdict::Unsure
    };
    Effect { verdict, ratio, interval, quartiles, threshold, paired }
}

fn unknown(paired: bool) -> Effect {
    let nan = f64::NAN;
    Effect {
        verdict: Verdict::Unsure,
        ratio: nan,
        interval: [nan; 2],
        quartiles: nan,
        threshold: MOST,
        paired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise like a shared machine's: everything is slower in bursts and in one run than in another, memory and
    /// caches suit one visit better than another, and each sample has a jitter of its own, and now and then
    /// something else in it.
    struct Noise(u64);

    impl Noise {
        fn uniform(&mut self) -> f64 {
            let [word, ..] =
                crate::cpu::random::philox([self.0 as u32, (self.0 >> 32) as u32, 0, 0], [7, 0]);
            self.0 += 1;
            f64::from(word) / 2f64.powi(32)
        }

        /// A row of `n` samples a visit of a work that takes `seconds`.
        fn row(&mut self, n: usize, seconds: f64, scatter: f64) -> Row {
            let (mut samples, mut beside) = (Vec::new(), Vec::new());
            let drift = 1.0 + self.uniform();
            for _ in 0..VISITS {
                let place = 1.0 + scatter * (self.uniform() + self.uniform() - 1.0);
                let mut burst = 1.0;
                for _ in 0..n {
                    if self.uniform() < 0.2 {
                        burst = 1.0 + self.uniform();
                    }
                    let mut jitter = || {
                        let interrupted = if self.uniform() < 0.05 { 1.0 } else { 0.0 };
                        1.0 + 0.1 * self.uniform() + interrupted
                    };
                    samples.push(Some(seconds * place * drift * burst * jitter()));
                    beside.push(1e-3 * drift * burst * jitter());
                }
            }
            Row { visits: vec![n; VISITS], ..row(samples, beside) }
        }
    }

    fn row(samples: Vec<Option<f64>>, beside: Vec<f64>) -> Row {
        let value = serde_json::json!({
            "work": "step", "rule": "adam", "size": 4096, "device": "cpu", "threads": 1, "cache": "hot",
            "samples": samples, "beside": beside, "median_s": null,
        });
        serde_json::from_value(value).unwrap()
    }

    fn verdicts(factor: f64, n: usize, scatter: f64) -> Vec<Verdict> {
        let mut noise = Noise(n as u64 * 1_000_003);
        let mut verdict = || {
            let (a, b) = (noise.row(n, 2e-3, scatter), noise.row(n, 2e-3 * factor, scatter));
            effect(&a, &b, true).verdict
        };
        (0..300).map(|_| verdict()).collect()
    }

    fn share(verdicts: &[Verdict], of: Verdict) -> f64 {
        verdicts.iter().filter(|&&verdict| verdict == of).count() as f64 / verdicts.len() as f64
    }

    /// Samples a visit, and how far visits are from their mean at most.
    const NOISES: [(usize, f64); 3] = [(3, 0.1), (10, 0.15), (20, 0.2)];

    #[test]
    fn the_same_work_is_the_same_however_the_machine_drifts() {
        for (n, scatter) in NOISES.into_iter().chain([(3, 0.4), (20, 0.4)]) {
            let verdicts = verdicts(1.0, n, scatter);
            assert!(share(&verdicts, Verdict::Same) >= 0.9, "{n} samples, scatter {scatter}");
            assert_eq!(share(&verdicts, Verdict::Slower), 0.0, "{n} samples, scatter {scatter}");
        }
    }

    #[test]
    fn half_again_as_slow_is_slower_in_that_noise() {
        for (n, scatter) in NOISES {
            let verdicts = verdicts(1.5, n, scatter);
            let share_slower = share(&verdicts, Verdict::Slower);
            assert!(share_slower >= 0.9, "{n} samples, scatter {scatter}: {share_slower}");
            assert!(share(&verdicts, Verdict::Same) <= 0.02, "{n} samples, scatter {scatter}");
            assert_eq!(share(&verdicts, Verdict::Faster), 0.0);
        }
    }

    #[test]
    fn half_again_as_fast_is_faster_in_that_noise() {
        for (n, scatter) in NOISES {
            let verdicts = verdicts(1.0 / 1.5, n, scatter);
            assert!(share(&verdicts, Verdict::Faster) >= 0.9, "{n} samples, scatter {scatter}");
        }
    }

    #[test]
    fn what_is_not_proved_is_unsure() {
        // Half again the median, and visits of which some are as fast.
        let a = row([1.0, 1.0, 1.0, 1.4, 1.4].map(Some).into(), vec![1.0; 5]);
        let b = row([1.0, 1.5, 1.6, 1.6, 1.6].map(Some).into(), vec![1.0; 5]);
        assert_eq!(effect(&a, &b, true).verdict, Verdict::Unsure);
        assert_eq!(effect(&row(vec![], vec![]), &b, true).verdict, Verdict::Unsure);
    }

    #[test]
    fn samples_without_visits_are_cut_into_five() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let row = row(vec![Some(1.0); 12], vec![]);
        assert_eq!(visits(&row, &values), [0.5, 2.5, 5.0, 7.5, 10.0]);
        let told = Row { visits: vec![1, 0, 11], ..row };
        assert_eq!(visits(&told, &values), [0.0, 6.0]);
        let few = Row { visits: vec![], ..told };
        assert_eq!(visits(&few, &values[..2]), [0.0, 1.0]);
    }

    #[test]
    fn without_copies_seconds_are_compared() {
        let times =
            |by: f64| (0..10).map(|i| Some(by * (1.0 + 0.01 * f64::from(i)))).collect::<Vec<_>>();
        let (a, b) = (row(times(1.0), vec![]), row(times(1.6), vec![]));
        let effect = effect(&a, &b, true);
        assert_eq!((effect.verdict, effect.paired), (Verdict::Slower, false));
    }

    #[test]
    fn fits_are_compared_seed_by_seed() {
        let fit =
            |samples: [Option<f64>; 5]| Row { work: "fit".into(), ..row(samples.into(), vec![1.0; 5]) };
        let a = fit([Some(1.0), Some(5.0), Some(2.0), Some(9.0), None]);
        let same = fit([Some(1.02), Some(5.2), Some(1.9), Some(9.1), None]);
        assert_eq!(effect(&a, &same, true).verdict, Verdict::Same);
        let slower = fit([Some(1.6), Some(8.0), Some(3.2), Some(14.0), None]);
        assert_eq!(effect(&a, &slower, true).verdict, Verdict::Slower);
        let missed = fit([None, None, None, Some(9.0), None]);
        assert_ne!(effect(&a, &missed, true).verdict, Verdict::Same);
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

    #[test]
    fn other_files_are_refused() {
        let error = |json: &str| File::read(json).unwrap_err().to_string();
        assert_eq!(error(r#"{"schema": 2, "rows": []}"#), "its schema is 2, and 1 is read");
        assert!(error("{}").contains("schema"));
        assert!(error(r#"{"schema": 1, "rows": [{"work": "step"}]}"#).contains("missing field"));
        assert!(error("[").contains("no benchmark's JSON"));
    }
}
