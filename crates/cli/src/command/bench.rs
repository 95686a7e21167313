//! `bench`: speeds, as shares of the memory bandwidth of the hardware.

mod csv;
mod page;
pub mod table;

use super::bits::Bits;
use super::device::DeviceArguments;
use super::progress::Bar;
use super::rules::{Optimizer, Preset, RuleArguments};
use super::{Failure, output};
use crate::bench::{self, Options, Report, Size};
use clap::{Args, ValueEnum};
use output::AtomicFile;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Args)]
#[command(after_help = "\
Example:
  wgpu-optim bench step --rule adam,sgd --sizes 2^16,2^24 --json > before.json")]
pub struct Arguments {
    /// Benchmarks to run
    #[arg(value_enum, default_value_t = Works::All, value_name = "BENCHMARKS")]
    works: Works,
    #[command(flatten)]
    device: DeviceArguments,
    /// Rules to measure, separated by commas [default: all]
    #[arg(long = "rule", value_delimiter = ',', value_name = "RULE,…")]
    rules: Vec<Optimizer>,
    /// Arithmetic of the steps: of the device, or with the same bits on every device; both, separated by a comma, are
    /// measured in turns
    #[arg(long, value_enum, default_value = "fast", value_delimiter = ',', value_name = "MODE,…")]
    bits: Vec<Bits>,
    /// Sizes, separated by commas: parameters of a step, as in 4096, 2^24 or 1e6 (for gradients the elements of X, with
    /// 64 features), or rows x features of X, as in 2^20x64 [default: 2^12, 2^16 … up to the memory; five shapes for
    /// gradients]
    #[arg(long, value_delimiter = ',', value_name = "SIZE,…")]
    sizes: Vec<Size>,
    /// Time for the samples of one row, in seconds; at least fifteen samples are taken, in five visits
    #[arg(long, default_value = "0.5", value_parser = seconds, value_name = "SECONDS", allow_negative_numbers = true)]
    time_budget: Duration,
    /// Problems on which each fit is repeated
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..=1000), value_name = "N")]
    seeds: u32,
    /// Size of each of the two buffers that are copied to calibrate and to flush caches, in bytes [default: 2^28, or
    /// more than half of the last-level cache]. Smaller buffers cannot measure cold caches
    #[arg(long, value_parser = stream, value_name = "BYTES")]
    stream: Option<u64>,
    /// Print JSON, with every sample
    #[arg(long)]
    json: bool,
    /// Write an HTML page with the table, charts and the machine
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the table to this CSV file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Works {
    /// Optimizer steps
    Step,
    /// Gradients over all rows
    Gradient,
    /// Epochs of Adam, and the time to a given loss
    Fit,
    /// Everything
    All,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if !(0.0..=3600.0).contains(&seconds) {
        return Err("must be from 0 to 3600 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn stream(text: &str) -> Result<u64, String> {
    match bench::number(text)? {
        bytes if bytes < 1 << 16 => Err("must be at least 2^16 bytes".into()),
        bytes => Ok(bytes),
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut seen = Vec::new();
    for (flag, path) in [("--html", &arguments.html), ("--csv", &arguments.csv)] {
        if let Some(path) = path {
            output::check_file(flag, path, &mut seen)?;
        }
    }
    let chosen = match arguments.rules.is_empty() {
        true => Optimizer::all().collect(),
        false => arguments.rules.clone(),
    };
    let options = Options {
        works: match arguments.works {
            Works::Step => bench::Works::Step,
            Works::Gradient => bench::Works::Gradient,
            Works::Fit => bench::Works::Fit,
            Works::All => bench::Works::All,
        },
        rules: RuleArguments::of(Preset::Torch).rules(&chosen)?,
        arithmetics: arguments.bits.iter().map(|bits| bits.arithmetic()).collect(),
        sizes: arguments.sizes.clone(),
        budget: arguments.time_budget,
        stream: arguments.stream,
        seeds: arguments.seeds,
        // Every run draws fresh data; the report has the seed.
        seed: SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64),
    };
    let gpu = arguments.device.open()?;
    let mut bar = Bar::of("bench", 0, "works");
    let report = bench::run(&options, gpu.as_ref(), &mut |progress| {
        bar.lengthen(progress.of as u64);
        bar.tell(progress.done as u64, || progress.next.to_string());
    });
    bar.finish();
    let report = report?;
    remark(&report);

    let page = arguments.html.as_deref().map_or(Ok(()), |path| {
        let page = page::page(&report)?;
        AtomicFile::write(path, |file| file.write_all(page.as_bytes()))?.name()
    });
    let csv = arguments
        .csv
        .as_deref()
        .map_or(Ok(()), |path| AtomicFile::write(path, |file| csv::write(file, &report))?.name());
    let printed = match arguments.json {
        true => output::json(&report),
        false => output::text(&table::text(&report)),
    };
    Failure::of_all([page, csv, printed].into_iter().filter_map(Result::err).collect())
}

/// Warnings that readers of the numbers need.
pub fn remarks(report: &Report) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(adapter) = report.machine.adapter.as_ref().filter(|adapter| adapter.software) {
        remarks.push(format!(
            "{} is a SOFTWARE adapter: it runs on the processor, and its speed says nothing about a GPU.",
            adapter.name
        ));
    }
    if !report.calibration.stable {
        remarks.push(format!(
            "UNSTABLE: the copy of the same streams differs by {:.0} % between the start and the end of the run. \
             Other processes distort seconds and GB/s; shares of the copy are more reliable, because work and copy \
             alternate.",
            100.0 * report.calibration.drift
        ));
    }
    let build = &report.machine.build;
    if build.opt_level != "3" {
        let level = &build.opt_level;
        remarks.push(format!(
            "This program was built with opt-level {level}: rebuild it with cargo build --release."
        ));
    }
    if build.git_dirty == Some(true) {
        remarks
            .push(format!("This program was built from uncommitted changes to {}.", build.git_revision));
    }
    remarks
}

fn remark(report: &Report) {
    remarks(report).iter().for_each(|remark| output::note(remark));
    let left_out = report.left_out.len();
    if left_out > 0 {
        let first = &report.left_out[0];
        output::note(&format!(
            "{left_out} benchmarks were left out, the first being {}: {}",
            first.what, first.reason
        ));
    }
}
