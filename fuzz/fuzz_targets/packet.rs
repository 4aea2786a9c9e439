//! The packets of the protocol, and the requests and answers in them.
//!
//! `cargo +nightly fuzz run packet`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| syncline::fuzzing::packet(bytes));
