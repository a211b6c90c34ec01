#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weightfs::fs::fuzzing::refs(bytes));
