//! Tools around the store: the command line, the benchmark, the crash suite, and entry points of fuzz
//! targets and micro-benchmarks.

#[cfg(feature = "cli")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(feature = "cli")]
pub mod internals;
#[cfg(feature = "cli")]
mod present;
#[cfg(feature = "cli")]
pub mod torture;
