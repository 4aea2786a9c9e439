//! The server: any bytes from a client, in any pieces.
//!
//! `cargo +nightly fuzz run session`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| syncline::fuzzing::session(bytes));
