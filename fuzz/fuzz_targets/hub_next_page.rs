#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weightfs::origin::hub::fuzzing::next_page(bytes));
