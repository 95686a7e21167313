//! The command line: the only code that prints.

mod apply;
mod bench;
mod bits;
mod compare;
mod data;
mod device;
mod devices;
mod environment;
mod failure;
mod fit;
mod log;
mod output;
mod page;
mod plot;
mod predict;
mod progress;
mod reproduce;
mod rules;
mod shaders;
mod signals;
mod sweep;
mod verify;

use clap::{Parser, Subcommand, ValueEnum};
use failure::Failure;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a regression, and verify its updates against the f64 definition
    Fit(Box<fit::Arguments>),
    /// Train every combination of hyper-parameters at once, and compare their losses
    Sweep(Box<sweep::Arguments>),
    /// Predict the rows of a file with a trained model
    Predict(predict::Arguments),
    /// Verify every kernel on this machine against its f64 definition
    Verify(verify::Arguments),
    /// Apply optimizer steps to parameters and gradients in safetensors files
    Apply(Box<apply::Arguments>),
    /// Reproduce the blog series that this project grew out of, as published and as corrected
    Reproduce(reproduce::Arguments),
    /// Benchmark steps, gradients, epochs and fits against a memory copy; each is verified before it is timed
    Bench(bench::Arguments),
    /// Compare two benchmark reports row by row: SAME, FASTER, SLOWER or UNSURE
    Compare(compare::Arguments),
    /// Export the kernels as WGSL files, with a manifest of their bindings
    Shaders(shaders::Arguments),
    /// List the adapters of this machine, with the limits and features that the kernels use
    Devices(devices::Arguments),
}

impl Command {
    /// Whether the command may enumerate adapters.
    fn lists_adapters(&self) -> bool {
        !matches!(self, Command::Predict(_) | Command::Compare(_) | Command::Shaders(_))
    }
}

/// The name of an option's value on the command line.
fn value_name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
}

/// Runs the command and returns its exit code: 0 for success, 1 if a check failed or training diverged, 2 for bad
/// usage, bad input or a result that could not be written, and 128 plus the signal's number after an interruption
/// (130 for Ctrl-C, 143 for SIGTERM).
pub fn run() -> ExitCode {
    let command = Cli::parse().command;
    if command.lists_adapters() {
        environment::provide_runtime_folder();
    }
    let result = signals::survive_file_size_limit().and_then(|()| match command {
        Command::Fit(arguments) => fit::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Apply(arguments) => apply::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Shaders(arguments) => shaders::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
