//! Helpers that run the command.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use crate::common;
use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Timeout for tests that hang: longer than any test takes on a busy machine.
pub const HANG: Duration = Duration::from_secs(30 * 60);

/// The result of a run of the command.
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the command in `folder` with arguments separated by blanks.
pub fn run(folder: impl AsRef<Path>, arguments: &str) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-optim"));
    command.current_dir(&folder).args(arguments.split_whitespace());
    let output = command.timeout(HANG).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stderr.contains("panicked"), "{arguments}: {stderr}");
    let code = output.status.code().unwrap_or_else(|| panic!("{arguments}: {}", output.status));
    Outcome { code, stdout, stderr }
}

/// Runs the command, which must succeed, and reads its standard output as JSON.
#[track_caller]
pub fn json(folder: impl AsRef<Path>, arguments: &str) -> Value {
    let Outcome { code, stdout, stderr } = run(folder, arguments);
    assert_eq!(code, 0, "{arguments}: {stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments}: {error}: {stdout}"))
}

/// Runs the command, which must fail with exit code 2, print nothing to standard output, and report each of `parts`.
#[track_caller]
pub fn refused(folder: impl AsRef<Path>, arguments: &str, parts: &[&str]) {
    let outcome = run(folder, arguments);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{arguments}: {}", outcome.stderr);
    for part in parts {
        assert!(outcome.stderr.contains(part), "{arguments}: no `{part}` in: {}", outcome.stderr);
    }
}

/// Like [`refused`], and the directory must stay unchanged.
#[track_caller]
pub fn refused_whole(folder: impl AsRef<Path>, arguments: &str, parts: &[&str]) {
    let before = names(&folder);
    refused(&folder, arguments, parts);
    assert_eq!(names(&folder), before, "{arguments}");
}

/// Waits for a condition.
#[track_caller]
pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < HANG, "{what}: not within {HANG:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The names in a directory.
pub fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = folder.as_ref().read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder with these files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
    folder
}

/// The kinds of device to test on.
pub fn devices() -> Vec<&'static str> {
    match common::gpu::Gpu::get() {
        Some(_) => vec!["cpu", "gpu"],
        None => vec!["cpu"],
    }
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap_or_else(|| panic!("{value} is not a list")).iter().map(number).collect()
}
