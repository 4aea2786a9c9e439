//! The parser of receipts' tokens.
//!
//! `cargo +nightly fuzz run token`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| syncline::fuzzing::token(bytes));
