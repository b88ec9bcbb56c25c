#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| headgate_scheduler::fuzz::message(bytes));
