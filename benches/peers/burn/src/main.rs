//! Adam's step with burn on a wgpu adapter: with its fusion, and without.
//!
//!     cargo run --release -- [--sizes 2^24,…] [--samples N] [--adapter NAME] [--no-unfused] [--seed N]

mod adam;
mod adapter;
mod report;

use adam::Adam;
use adapter::{Adapter, Copy};
use clap::Parser;
use serde_json::{Value, json};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::catch_unwind;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// A sample is as many runs as take this long: no clock is asked for less than it can tell.
const SAMPLE_S: f64 = 5e-3;
const RUNS: u32 = 1000;
/// Bytes that a copy of the calibration moves, and how often.
const CALIBRATION: u64 = 1 << 29;
const CALIBRATION_REPEATS: usize = 5;
/// What a variant is called besides, by what burn was built with.
const KERNELS: &str = if cfg!(feature = "spirv") { ", SPIR-V" } else { "" };
/// Fusions that burn may explore. Without any it runs every operation by itself. It reads this once.
const EXPLORATIONS: &str = "BURN_FUSION_MAX_EXPLORATIONS";

/// Adam's step with burn on a wgpu adapter.
#[derive(Parser)]
struct Args {
    /// Parameters
    #[arg(long, value_parser = number, value_delimiter = ',', default_value = "2^24")]
    sizes: Vec<u64>,
    /// Samples a row
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Part of an adapter's name [default: the one that burn takes]
    #[arg(long)]
    adapter: Option<String>,
    /// Leave out the steps without fusion
    #[arg(long)]
    no_unfused: bool,
    /// Of the data [default: another one in each run]
    #[arg(long)]
    seed: Option<u64>,
}

/// Why nothing is printed.
pub enum Failure {
    /// No time is printed for a wrong answer.
    Wrong(String),
    /// What cannot run here.
    Impossible(String),
}

impl Failure {
    /// What a library says.
    pub fn of(error: impl ToString) -> Self {
        Failure::Impossible(error.to_string())
    }
}

/// A whole number above 0, also as 2^24.
fn number(text: &str) -> Result<u64, String> {
    let (base, exponent) = text.split_once('^').unwrap_or((text, "1"));
    let value = base.parse::<u64>().ok().zip(exponent.parse().ok());
    let value = value.and_then(|(base, exponent)| base.checked_pow(exponent));
    value.filter(|&value| value > 0).ok_or_else(|| format!("{text} is not a whole number above 0"))
}

/// Several steps before each wait, and how often that is in a sample.
struct Turn {
    variant: String,
    steps: u32,
    waits: u32,
    samples: Vec<f64>,
    beside: Vec<f64>,
}

/// Seconds of one of the runs.
fn time(runs: u32, mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..runs {
        run()?;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(runs))
}

/// How many runs a sample has; those made to find out warm up.
fn enough_runs(mut run: impl FnMut() -> Result<(), Failure>) -> Result<u32, Failure> {
    let mut runs = 1;
    loop {
        let seconds = time(runs, &mut run)?;
        if runs == RUNS || seconds * f64::from(runs) >= SAMPLE_S {
            return Ok(runs);
        }
        runs = RUNS.min((2 * runs).max((SAMPLE_S / seconds.max(1e-9)).ceil() as u32));
    }
}

/// Rows of one size, which take turns with each other, and each with a copy of as many bytes.
fn measure(
    adapter: &Adapter,
    size: u64,
    samples: u32,
    fusion: bool,
    seed: u64,
) -> Result<Vec<Value>, Failure> {
    let name = format!("{}{KERNELS}", if fusion { "fusion" } else { "unfused" });
    let mut adam = Adam::new(&adapter.burn, size, seed);
    let copy = adapter.copy_of(adam::BYTES * size);
    adam.check(&name)?;
    let mut turns = Vec::new();
    for &steps in if fusion { &[1, 10][..] } else { &[1] } {
        let waits = enough_runs(|| adam.steps(steps))?;
        let variant = if steps == 1 { name.clone() } else { format!("{name}, {steps} steps a wait") };
        turns.push(Turn { variant, steps, waits, samples: Vec::new(), beside: Vec::new() });
    }
    let copies = enough_runs(|| adapter.copy(&copy))?;
    for _ in 0..samples {
        for turn in &mut turns {
            let seconds = time(turn.waits, || adam.steps(turn.steps))?;
            turn.samples.push(seconds / f64::from(turn.steps));
            turn.beside.push(time(copies, || adapter.copy(&copy))?);
        }
    }
    adam.check(&name)?;
    let row = |turn: &Turn| {
        let mut row = json!({
            "work": "step", "rule": "adam", "variant": turn.variant, "size": size, "shape": null,
            "device": adapter.info.name, "threads": null, "cache": "hot",
            "repeats": turn.waits * turn.steps, "bytes": adam::BYTES * size,
            "samples": turn.samples, "beside": turn.beside,
        });
        report::summarize(&mut row, &turn.samples, &turn.beside, size, adam::BYTES * size);
        row
    };
    Ok(turns.iter().map(row).collect())
}

/// What a copy gives right now, in GB/s.
fn calibrate(adapter: &Adapter, copy: &Copy) -> Result<f64, Failure> {
    adapter.copy(copy)?;
    let times: Result<Vec<f64>, Failure> =
        (0..CALIBRATION_REPEATS).map(|_| time(1, || adapter.copy(copy))).collect();
    Ok(1e-9 * CALIBRATION as f64 / report::median(times?))
}

/// The rows without fusion, by this program once more, which has one setting all its life.
fn unfused(args: &Args, seed: u64) -> Result<Value, Failure> {
    let cannot =
        |error: std::io::Error| Failure::Impossible(format!("the steps without fusion: {error}"));
    let sizes: Vec<String> = args.sizes.iter().map(u64::to_string).collect();
    let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
    command.env(EXPLORATIONS, "0").stderr(Stdio::inherit());
    command.args([format!("--sizes={}", sizes.join(",")), format!("--samples={}", args.samples)]);
    command.arg(format!("--seed={seed}"));
    command.args(args.adapter.iter().map(|name| format!("--adapter={name}")));
    let done = command.output().map_err(cannot)?;
    match done.status.code() {
        Some(0) => serde_json::from_slice(&done.stdout).map_err(|error| cannot(error.into())),
        Some(1) => Err(Failure::Wrong("the steps without fusion".into())),
        _ => Err(Failure::Impossible(format!("the steps without fusion: {}", done.status))),
    }
}

fn run(args: &Args) -> Result<Value, Failure> {
    let seed = args.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    let fusion = std::env::var(EXPLORATIONS).as_deref() != Ok("0");
    let adapter = Adapter::open(args.adapter.as_deref())?;
    let copy = adapter.copy_of(CALIBRATION);
    let before = calibrate(&adapter, &copy)?;
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    if fusion && !args.no_unfused {
        let mut other = unfused(args, seed)?;
        rows.extend(other["rows"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    for &size in &args.sizes {
        if 4 * size > adapter.most() {
            let reason = format!(
                "{} bytes of parameters, and a binding has {} at most",
                4 * size,
                adapter.most()
            );
            eprintln!("left out: step adam of {size}: {reason}");
            left_out.push(json!({"what": format!("step adam of {size}"), "reason": reason}));
            continue;
        }
        rows.extend(measure(&adapter, size, args.samples, fusion, seed)?);
        adapter.burn.memory_cleanup();
    }
    if rows.is_empty() {
        return Err(Failure::Impossible("nothing was measured".into()));
    }
    let after = calibrate(&adapter, &copy)?;
    let stable = (after / before - 1.0).abs() <= report::DRIFT;
    if !stable {
        eprintln!("unstable: a copy ran at {before:.1} GB/s before and at {after:.1} GB/s after");
    }
    let settings = json!({
        "sizes": args.sizes, "samples": args.samples, "adapter": args.adapter, "no_unfused": args.no_unfused,
        "seed": seed, "sample_s": SAMPLE_S, "environment": report::environment(),
    });
    Ok(json!({
        "schema": 1, "peer": "burn", "versions": report::versions(), "machine": report::machine(&adapter, settings),
        "calibration": {"before": {"copy_gb_s": before}, "after": {"copy_gb_s": after}, "stable": stable},
        "rows": rows, "left_out": left_out,
    }))
}

fn main() -> ExitCode {
    let args = Args::parse();
    // burn panics where a device has not what it takes; the hook says why.
    let done = catch_unwind(|| run(&args));
    match done.unwrap_or_else(|_| Err(Failure::Impossible("burn gave up".into()))) {
        Ok(report) => {
            println!("{report:#}");
            ExitCode::SUCCESS
        }
        Err(Failure::Wrong(what)) => {
            eprintln!("wrong: {what}");
            ExitCode::from(1)
        }
        Err(Failure::Impossible(why)) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}
