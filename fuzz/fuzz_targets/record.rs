//! The log's decoders: records, segment headers, operations, file names.
//!
//! `cargo +nightly fuzz run record`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| syncline::fuzzing::record(bytes));
