//! The superblock's decoder.
//!
//! `cargo +nightly fuzz run superblock`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| syncline::fuzzing::superblock(bytes));
