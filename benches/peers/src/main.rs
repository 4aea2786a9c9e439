//! `peers`: `syncline bench`, with the stores that people would use instead.
//!
//! Options, harness and report are those of `syncline bench`. The workload `recover` starts this
//! same program with a hidden command, to have a process to kill.

use std::process::ExitCode;

fn main() -> ExitCode {
    syncline::cli::bench_with(&syncline_peers::engines())
}
