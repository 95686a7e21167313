//! The input has one line for each text of a checkpoint, in the order of their names.

#![no_main]

#[path = "../../tests/harmless/mod.rs"]
mod harmless;

use harmless::checkpoint::{check, whole};
use harmless::checksummed::{texts, with_texts};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

// The first seed has the texts of a valid checkpoint.
fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let lines: Vec<String> = texts(whole()).into_iter().map(|(_, text)| text).collect();
    let lines = lines.join("\n");
    if size > 0 || lines.len() > max_size {
        return fuzzer_mutate(bytes, size, max_size);
    }
    bytes[..lines.len()].copy_from_slice(lines.as_bytes());
    lines.len()
});

fuzz_target!(|bytes: &[u8]| {
    let lines = String::from_utf8_lossy(bytes);
    let keys = texts(whole()).into_iter().map(|(key, _)| key);
    let _ = check(&with_texts(whole(), keys.zip(lines.split('\n').map(str::to_string))));
});
