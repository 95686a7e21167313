//! A line for each text of a checkpoint, in the order of their names.

#![no_main]

#[path = "../../tests/harmless/mod.rs"]
mod harmless;

use harmless::checkpoint::{check_texts, texts};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

// The search begins with those of a good one.
fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let lines: Vec<String> = texts().values().map(|text| text.as_str().unwrap().to_string()).collect();
    let whole = lines.join("\n");
    if size > 0 || whole.len() > max_size {
        return fuzzer_mutate(bytes, size, max_size);
    }
    bytes[..whole.len()].copy_from_slice(whole.as_bytes());
    whole.len()
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    check_texts(texts().into_iter().map(|(key, _)| key).zip(text.split('\n').map(str::to_string)));
});
