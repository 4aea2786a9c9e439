//! The whole store on a disk that crashes, against a `BTreeMap`.
//!
//! `cargo +nightly fuzz run store_model`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| syncline::fuzzing::store_model(bytes));
