//! Memory limits of the process.

#![cfg(target_os = "linux")]

use crate::command::{devices, folder};
use std::process::Command;

/// Runs the command with limited address space: it must fail, and report the required and the available memory.
#[track_caller]
fn refused(kb: u64, arguments: &str, parts: &[&str]) {
    let folder = folder(&[]);
    let script = format!("ulimit -v {kb}; exec {} {arguments}", env!("CARGO_BIN_EXE_wgpu-optim"));
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{arguments}: no `{part}` in: {stderr}");
    }
}

#[test]
fn what_a_limit_of_the_process_does_not_allow_is_refused_with_both_numbers() {
    let fit = "fit synthetic --samples 4000000 --optimizer adam --steps 20";
    let parts =
        ["4000000 rows × 64 features need 1.0 GB of memory, and ", " are available: --on-the-fly"];
    refused(1_000_000, &format!("{fit} --device cpu"), &parts);
    if devices().contains(&"gpu") {
        // A driver uses a part of the address space, which determines the check that fails first.
        let parts = [" bytes of memory, and ", " available", "--on-the-fly needs none for rows"];
        refused(1_000_000, &format!("{fit} --device gpu"), &parts);
    }
    let bench =
        "bench step --device cpu --rule sgd --sizes 4096 --time-budget 0.001 --stream 4294967296";
    refused(5_000_000, bench, &["needs 8589934592 bytes of the host's memory, and ", " are available"]);
}
