//! What two runs of the benchmark tell of each other, row by row.
//!
//! A shared machine gives one run twice the memory bandwidth of another, so medians of seconds cannot be compared.
//! What can be are ratios: each sample was taken in turns with a copy of as many bytes on the same device, and what
//! slowed one slowed the other. So of both runs
//!
//! - the *effect* is the quotient of the medians of those ratios (B's by A's), and its interval the worst that the
//!   95 % intervals of the two medians leave, from order statistics, which assume nothing of how times are
//!   distributed;
//! - the *second opinion* is the same quotient of first quartiles, each of work and copy by itself, which are not
//!   paired and look at what the machine can do when it is left alone;
//! - the *threshold* is what the runs themselves scatter: the quartiles' distance of their ratios, both together,
//!   but no less than [`FLOOR`] and no more than [`MOST`].
//!
//! A row is SLOWER if its whole interval lies beyond the threshold and the second opinion is at least half-way
//! there; FASTER likewise; SAME if the effect is within the threshold; and UNSURE otherwise: the effect is large,
//! and the samples do not prove it. The floor is how far apart medians of the same work lie in two processes: memory
//! lies elsewhere, and caches are shared with others.
//!
//! Fits are compared seed by seed, since seeds take different numbers of updates. Where another program's file is one
//! of the two, or the machines differ, seconds are compared as they are: a copy of another program, or of another
//! machine, is another copy.

use super::report::{Row, SCHEMA, Shape};
use super::statistics::Summary;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The least threshold.
pub const FLOOR: f64 = 0.10;
/// The largest: what is slower by half is to be found whatever the noise.
pub const MOST: f64 = 0.30;

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
    /// Where that may lie.
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
    if a.work == "fit" && of_a.len() == of_b.len() {
        // Seeds that neither reaches are alike.
        let alike = |(a, b): (&f64, &f64)| if a == b { 1.0 } else { b / a };
        let each: Vec<f64> = of_a.iter().zip(&of_b).map(alike).collect();
        return judge_fits(&each, paired);
    }
    let (Some(one), Some(other)) = (Summary::of(&of_a), Summary::of(&of_b)) else {
        return unknown(paired);
    };
    let quarter = |row: &Row| -> Option<f64> {
        let work = Summary::of(&times(row))?.q1;
        Some(if paired { work / Summary::of(&row.beside)?.q1 } else { work })
    };
    let (Some(quarter_a), Some(quarter_b)) = (quarter(a), quarter(b)) else { return unknown(paired) };
    judge(
        other.median / one.median,
        [other.interval[0] / one.interval[1], other.interval[1] / one.interval[0]],
        quarter_b / quarter_a,
        one.spread().hypot(other.spread()),
        paired,
    )
}

fn judge(ratio: f64, interval: [f64; 2], quartiles: f64, spread: f64, paired: bool) -> Effect {
    let threshold = if spread.is_nan() { MOST } else { spread.clamp(FLOOR, MOST) };
    let (far, half) = (1.0 + threshold, 1.0 + threshold / 2.0);
    let verdict = if interval[0] > far && quartiles > half {
        Verdict::Slower
    } else if interval[1] < 1.0 / far && quartiles < 1.0 / half {
        Verdict::Faster
    } else if (1.0 / far..=far).contains(&ratio) {
        Verdict::Same
    } else {
        Verdict::Unsure
    };
    Effect { verdict, ratio, interval, quartiles, threshold, paired }
}

/// Of the quotients of every seed's times: each is a problem of its own, and all but one must say the same.
fn judge_fits(each: &[f64], paired: bool) -> Effect {
    let Some(summary) = Summary::of(each) else { return unknown(paired) };
    let mut sorted = each.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // Without the fastest and the slowest, as their mean is told.
    let inner = if n >= 5 { &sorted[1..n - 1] } else { &sorted[..] };
    let interval = [inner[0], inner[inner.len() - 1]];
    judge(summary.median, interval, summary.median, summary.spread(), paired)
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

    /// Noise like a shared machine's: bursts in which everything takes up to twice as long, a drift between runs,
    /// and jitter of each sample by itself.
    struct Noise(u64);

    impl Noise {
        fn uniform(&mut self) -> f64 {
            let [word, ..] =
                crate::cpu::random::philox([self.0 as u32, (self.0 >> 32) as u32, 0, 0], [7, 0]);
            self.0 += 1;
            f64::from(word) / 2f64.powi(32)
        }

        /// A row of `n` samples of a work that takes `seconds`, of a run that everything takes `drift` times as long in.
        fn row(&mut self, n: usize, seconds: f64, drift: f64, jitter: f64) -> Row {
            let (mut samples, mut beside) = (Vec::new(), Vec::new());
            let mut burst = 1.0;
            for _ in 0..n {
                if self.uniform() < 0.2 {
                    burst = 1.0 + self.uniform();
                }
                let mut jitter =
                    || 1.0 + jitter * self.uniform() + if self.uniform() < 0.05 { 1.0 } else { 0.0 };
                samples.push(Some(seconds * drift * burst * jitter()));
                beside.push(1e-3 * drift * burst * jitter());
            }
            row(samples, beside)
        }
    }

    fn row(samples: Vec<Option<f64>>, beside: Vec<f64>) -> Row {
        let value = serde_json::json!({
            "work": "step", "rule": "adam", "size": 4096, "device": "cpu", "threads": 1, "cache": "hot",
            "samples": samples, "beside": beside, "median_s": null,
        });
        serde_json::from_value(value).unwrap()
    }

    fn verdicts(factor: f64, n: usize, jitter: f64) -> Vec<Verdict> {
        let mut noise = Noise(n as u64 * 1_000_003);
        let pairs = 200;
        let mut verdict = || {
            let (drift_a, drift_b) = (1.0 + noise.uniform(), 1.0 + noise.uniform());
            let a = noise.row(n, 2e-3, drift_a, jitter);
            let b = noise.row(n, 2e-3 * factor, drift_b, jitter);
            effect(&a, &b, true).verdict
        };
        (0..pairs).map(|_| verdict()).collect()
    }

    fn share(verdicts: &[Verdict], of: Verdict) -> f64 {
        verdicts.iter().filter(|&&verdict| verdict == of).count() as f64 / verdicts.len() as f64
    }

    #[test]
    fn the_same_work_is_the_same_however_the_machine_drifts() {
        for (n, jitter) in [(10, 0.1), (10, 0.4), (30, 0.2), (100, 0.4)] {
            let verdicts = verdicts(1.0, n, jitter);
            assert!(share(&verdicts, Verdict::Same) >= 0.9, "{n} samples, jitter {jitter}");
            assert_eq!(share(&verdicts, Verdict::Slower), 0.0, "{n} samples, jitter {jitter}");
        }
    }

    #[test]
    fn half_again_as_slow_is_slower_in_that_noise() {
        for (n, jitter) in [(10, 0.1), (20, 0.2), (50, 0.4)] {
            let verdicts = verdicts(1.5, n, jitter);
            assert!(share(&verdicts, Verdict::Slower) >= 0.9, "{n} samples, jitter {jitter}");
            assert_eq!(share(&verdicts, Verdict::Faster), 0.0);
        }
    }

    #[test]
    fn half_again_as_fast_is_faster_in_that_noise() {
        for (n, jitter) in [(10, 0.1), (20, 0.2), (50, 0.4)] {
            let verdicts = verdicts(1.0 / 1.5, n, jitter);
            assert!(share(&verdicts, Verdict::Faster) >= 0.9, "{n} samples, jitter {jitter}");
        }
    }

    #[test]
    fn what_is_not_proved_is_unsure() {
        // Twice the median, and quartiles that overlap from end to end.
        let a = row([1.0, 1.0, 1.0, 3.0, 3.0, 3.0].map(Some).into(), vec![1.0; 6]);
        let b = row([1.0, 1.0, 4.0, 4.0, 4.0, 4.0].map(Some).into(), vec![1.0; 6]);
        assert_eq!(effect(&a, &b, true).verdict, Verdict::Unsure);
        assert_eq!(effect(&row(vec![], vec![]), &b, true).verdict, Verdict::Unsure);
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
