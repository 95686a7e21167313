#![no_main]

#[path = "../../tests/harmless/mod.rs"]
mod harmless;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

// The first seed is a valid state in the current format.
fuzz_mutator!(|bytes: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let whole = harmless::state::whole();
    if size > 0 || whole.len() > max_size {
        return fuzzer_mutate(bytes, size, max_size);
    }
    bytes[..whole.len()].copy_from_slice(whole);
    whole.len()
});

fuzz_target!(|bytes: &[u8]| {
    let _ = harmless::state::check(bytes);
});
