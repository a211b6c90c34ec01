#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weightfs::prefetch::fuzzing::gguf_header(bytes));
