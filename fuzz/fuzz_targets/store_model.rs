//! The whole store on a disk that crashes, against the model of `tests/model`.
//!
//! `cargo +nightly fuzz run store_model`
#![no_main]

#[path = "../../tests/model/contents.rs"]
#[expect(dead_code, reason = "an error is only shown")]
mod contents;
#[path = "../../tests/model/model.rs"]
#[expect(dead_code, reason = "faults leave commits in flight, and programs have none")]
mod model;
#[path = "../../tests/model/program.rs"]
mod program;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| program::run(bytes));
