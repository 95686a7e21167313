#![no_main]

#[path = "../../tests/harmless/mod.rs"]
mod harmless;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harmless::data::check("d.npy", bytes));
