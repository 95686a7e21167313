//! `verify`: compares every kernel with its definition on the adapters of this machine.

mod page;
mod report;

use super::bits::Bits;
use super::device::{Choice, Description};
use super::{Failure, output};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use report::{AdapterReport, Report};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use wgpu_optim::Arithmetic;
use wgpu_optim::regression::device::{Gpu, OpenError, adapters, block_on, check_adapter};
use wgpu_optim::verify::{self, Check, Depth, FAULTS, Fault, FaultSeeder, GROUPS, Group, SAME_BITS};

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-optim verify --quick
  wgpu-optim verify --bits same --adapter all
  wgpu-optim verify --adapter all --faults --html verification.html")]
pub struct Arguments {
    /// Device to verify: `auto` and `gpu` use the best adapter, including software adapters
    #[arg(long, value_enum, default_value_t = Choice::Auto, value_name = "KIND")]
    device: Choice,
    /// Adapter to verify: a part of its name (see `devices`), a backend, both as in `gl:llvmpipe`, or `all`
    /// [default: the environment variable WGPU_ADAPTER_NAME, else the best adapter]
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Check fewer sizes and shorter runs: half a minute on a software adapter instead of minutes
    #[arg(long)]
    quick: bool,
    /// With --bits same, also compare every root and 2^30 quotients: minutes
    #[arg(long, conflicts_with = "quick")]
    exhaustive: bool,
    /// Requirement on the values: an error bound of the f64 definition, or with strict arithmetic the same bits as the
    /// processor's
    #[arg(long, value_enum, default_value_t = Bits::Fast, value_name = "MODE")]
    bits: Bits,
    /// Also seed faults into the kernels, each of which a check must detect
    #[arg(long)]
    faults: bool,
    /// Run only these groups of checks, separated by commas [default: all groups]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = group_names())]
    group: Vec<String>,
    /// Seed of the random inputs, to repeat a run [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write an HTML page with every check and a chart of their ratios
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn group_names() -> clap::builder::PossibleValuesParser {
    let of_bits = SAME_BITS.iter().filter(|group| GROUPS.iter().all(|other| other.name != group.name));
    clap::builder::PossibleValuesParser::new(GROUPS.iter().chain(of_bits).map(|group| group.name))
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.html {
        output::check_file("--html", path, &mut Vec::new())?;
    }
    if arguments.device == Choice::Cpu {
        let message = "verify needs a GPU adapter: --device cpu is not supported";
        return Err(Failure::Input(message.into()));
    }
    let gpus = open(arguments.adapter.as_deref())?;
    let wanted = |group: &&Group| {
        arguments.group.is_empty() || arguments.group.iter().any(|name| name == group.name)
    };
    let suite = if arguments.bits == Bits::Same { SAME_BITS } else { GROUPS };
    let groups: Vec<&Group> = suite.iter().filter(wanted).collect();
    if groups.is_empty() {
        let (asked, all) = (arguments.group.join(","), suite.iter().map(|group| group.name));
        let all = all.collect::<Vec<_>>().join(", ");
        let message = format!("--group {asked}: with --bits {} the groups are {all}", arguments.bits);
        return Err(Failure::Input(message));
    }
    let seed = arguments.seed.unwrap_or_else(from_clock);
    let depth = match (arguments.quick, arguments.exhaustive) {
        (true, _) => Depth::Quick,
        (false, true) => Depth::Exhaustive,
        (false, false) => Depth::Full,
    };
    if arguments.exhaustive && arguments.bits == Bits::Fast {
        return Err(Failure::Input("--exhaustive compares bits: add --bits same".into()));
    }
    let of_bits = arguments.bits == Bits::Same;
    let of_mode = FAULTS.iter().filter(|fault| fault.is_of_bits() == of_bits);
    let faults: Vec<&Fault> = of_mode.filter(|_| arguments.faults).collect();

    let bar = bar(gpus.len() * (groups.len() + faults.len()));
    let mut report = Report::new(seed, arguments.bits, arguments.faults);
    for gpu in &gpus {
        let name = format!("{} ({})", gpu.info.name, gpu.info.backend);
        let mut adapter = AdapterReport::new(&Description::of_gpu(gpu));
        let mut arithmetic = Arithmetic::Fast;
        if of_bits {
            bar.set_message(format!("{name}: self-test"));
            match block_on(verify::self_test(gpu, (depth, seed))) {
                Ok(tested) => {
                    arithmetic = tested.arithmetic;
                    adapter.tested(tested);
                }
                Err(error) => adapter.add(vec![Check::failed("primitives", "self-test", error)]),
            }
        }
        // The self-test has run the primitives.
        for group in groups.iter().filter(|group| !(of_bits && group.name == "primitives")) {
            bar.set_message(format!("{name}: {}", group.name));
            adapter.add(block_on(verify::run(group, gpu, (depth, seed), arithmetic)));
            bar.inc(1);
        }
        report.adapters.push(adapter.concluded());
        let mut seeding = FaultSeeder::new(gpu, seed);
        for fault in &faults {
            bar.set_message(format!("{name}: {}", fault.name));
            report.add_fault(&name, seeding.seed(fault));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    report.conclude();

    let page = arguments.html.as_ref().map_or(Ok(()), |path| page::write(&report, path)?.name());
    let printed = match arguments.json {
        true => output::json(&report),
        false => output::text(&report.text()),
    };
    let verdict = if report.pass { Ok(()) } else { Err(Failure::Check(report.failures())) };
    Failure::of_all([page, printed, verdict].into_iter().filter_map(Result::err).collect())
}

/// Opens the adapters with this name. For `all`, opens every adapter that can run the kernels, and reports the others.
fn open(name: Option<&str>) -> Result<Vec<Gpu>, Failure> {
    if name != Some("all") {
        return Ok(vec![block_on(Gpu::open(name))?]);
    }
    let (mut gpus, adapters) = (Vec::new(), block_on(adapters())?);
    for adapter in &adapters {
        match check_adapter(adapter) {
            Ok(()) => gpus.push(block_on(Gpu::of(adapter))?),
            Err(why) => {
                let info = adapter.get_info();
                output::note(&format!("{} ({}) cannot run the kernels: {why}", info.name, info.backend));
            }
        }
    }
    if gpus.is_empty() {
        return Err(OpenError::no_adapter(None, &adapters).into());
    }
    Ok(gpus)
}

/// A seed from the clock: every run checks other inputs, so that rare failures are found.
fn from_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}

fn bar(steps: usize) -> ProgressBar {
    // The bar is hidden if standard error is not a terminal.
    let bar = ProgressBar::new(steps as u64);
    match ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
