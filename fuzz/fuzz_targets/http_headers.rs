#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weightfs::origin::http::fuzzing::response_headers(bytes));
