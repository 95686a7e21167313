//! `compare`: what two benchmarks tell of each other.

use super::{Failure, output};
use crate::bench::compare::{self, Compared, Comparison, File, Key, Verdict};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// SLOWER needs more than a difference of medians. Each sample was taken in turns with a copy of as many bytes, and
/// what is compared are the ratios to it: a machine that gives one run less memory bandwidth than the other gives the
/// copy less too. A run comes back to every work five times, in fresh memory; SLOWER are rows whose every visit in B
/// is slower than every one in A, by a tenth, whose medians differ by more than the visits of either run do, and whose
/// first quartiles agree. UNSURE is a difference that this does not prove. Fits are compared seed by seed; rows of
/// another program, or of another machine, by their seconds.
#[derive(Args)]
pub struct Arguments {
    /// What `bench --json` printed, or a peer's script
    a: PathBuf,
    /// Another: SLOWER means that this one is
    b: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    #[serde(flatten)]
    comparison: &'a Comparison,
    same: usize,
    faster: usize,
    slower: usize,
    unsure: usize,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (a, b) = (read(&arguments.a)?, read(&arguments.b)?);
    let comparison = compare::files(&a, &b);
    let count = |verdict| comparison.count(verdict);
    let [same, faster, slower, unsure] =
        [Verdict::Same, Verdict::Faster, Verdict::Slower, Verdict::Unsure].map(count);
    for (file, path) in [(&a, &arguments.a), (&b, &arguments.b)] {
        if !file.is_stable() {
            output::note(&format!("{}: the machine was not stable during that run", path.display()));
        }
    }
    if !comparison.same_machine {
        output::note("These are two machines: seconds are compared, and not shares of a copy.");
    }
    if comparison.rows.is_empty() {
        let message =
            format!("{} and {} have no row in common", arguments.a.display(), arguments.b.display());
        return Err(Failure::Input(message));
    }
    if arguments.json {
        let schema = crate::bench::SCHEMA;
        output::json(&Json { schema, comparison: &comparison, same, faster, slower, unsure })?;
    } else {
        let header = ["", "row", "B / A", "of any visits", "threshold"];
        output::text(&output::table(&header, 2, comparison.rows.iter().map(cells)))?;
        output::text(&format!("{same} SAME, {faster} FASTER, {slower} SLOWER, {unsure} UNSURE"))?;
        let alone = [(&comparison.only_a, &arguments.a), (&comparison.only_b, &arguments.b)];
        for (keys, path) in alone.into_iter().filter(|(keys, _)| !keys.is_empty()) {
            output::text(&format!("{} only in {}: {}", keys.len(), path.display(), names(keys)))?;
        }
    }
    match slower {
        0 => Ok(()),
        1 => Err(Failure::Check("1 row is SLOWER".into())),
        rows => Err(Failure::Check(format!("{rows} rows are SLOWER"))),
    }
}

fn read(path: &Path) -> Result<File, Failure> {
    let refuse = |reason: String| Failure::Input(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    File::read(&text).map_err(|error| refuse(error.to_string()))
}

fn cells(row: &Compared) -> Vec<String> {
    let effect = &row.effect;
    let mut name = row.key.to_string();
    match &row.variants {
        [None, None] => {}
        [None, Some(one)] | [Some(one), None] => name += &format!(", {one}"),
        [Some(a), Some(b)] => name += &format!(", {a} and {b}"),
    }
    let [low, high] = effect.interval;
    vec![
        effect.verdict.to_string(),
        name,
        format!("{:.2}", effect.ratio),
        format!("{low:.2} – {high:.2}"),
        format!("{:.0} %", 100.0 * effect.threshold),
    ]
}

fn names(keys: &[Key]) -> String {
    keys.iter().map(Key::to_string).collect::<Vec<_>>().join("; ")
}
