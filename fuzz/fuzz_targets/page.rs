//! The data file's decoders: page headers, nodes, maps, parts of long values.
//!
//! `cargo +nightly fuzz run page`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| syncline::fuzzing::page(bytes));
