//! `compare`: the differences between two benchmark reports.

use super::{Failure, output};
use crate::bench::compare::{self, Compared, Comparison, File, Key, Verdict};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

const METHOD: &str = "\
Example:
  wgpu-optim compare before.json after.json

Method:
  Samples are compared as ratios to a copy of equal size that was measured next to them, so that a change of the
  machine's memory bandwidth cancels. Every benchmark is visited five times, in fresh memory. A row is SLOWER if every
  visit in B is at least a tenth slower than every visit in A, the medians differ by more than the visits within either
  report, and the first quartiles agree. A difference without this proof is UNSURE. Fits are compared seed by seed; rows
  of another program or another machine are compared in seconds.";

#[derive(Args)]
#[command(after_help = METHOD)]
pub struct Arguments {
    /// Baseline report, from `bench --json` or a script of benches/peers
    a: PathBuf,
    /// Report to judge: SLOWER means that B is slower than A
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
            output::note(&format!("{}: the machine was not stable during this run", path.display()));
        }
    }
    if !comparison.same_machine {
        output::note(
            "The reports are from different machines: comparing seconds instead of ratios to the copy.",
        );
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
