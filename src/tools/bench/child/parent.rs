//! Sending a child on an errand.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::errand::{Errand, Report};
use super::work::CHILD;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::Sample;
use crate::tools::bench::memory_limit::MemoryLimit;

/// The result of an errand.
pub(in crate::tools::bench) struct Outcome {
    pub(in crate::tools::bench) sample: Sample,
    /// Whether the memory was bounded.
    pub(in crate::tools::bench) is_limited: bool,
}

/// Has a child do `errand`, with at most `memory_bytes` where that can be bounded, and kills it when it
/// has answered and does not end by itself.
///
/// # Errors
/// [`BenchError::Child`] of `engine`: what the child said, or how it ended.
pub(in crate::tools::bench) fn run_errand(
    engine: &'static str,
    errand: &Errand,
    memory_bytes: Option<u64>,
) -> Result<Outcome, BenchError> {
    send(errand, memory_bytes).map_err(|message| BenchError::Child { engine, message })
}

fn send(errand: &Errand, memory_bytes: Option<u64>) -> Result<Outcome, String> {
    let limit = memory_bytes.and_then(MemoryLimit::create);
    let program = std::env::current_exe().map_err(|error| format!("no program: {error}"))?;
    let child =
        Command::new(program).arg(CHILD).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = Killed(child.map_err(|error| format!("cannot start a process: {error}"))?);
    let is_limited = limit.as_ref().is_some_and(|limit| limit.take_in(child.0.id()).is_ok());
    let mut input = child.0.stdin.take().expect("piped");
    let errand = serde_json::to_string(errand).expect("plain numbers and strings");
    writeln!(input, "{errand}").map_err(|error| format!("no errand: {error}"))?;
    let mut answer = String::new();
    let mut output = BufReader::new(child.0.stdout.take().expect("piped"));
    output.read_line(&mut answer).map_err(|error| error.to_string())?;
    if answer.is_empty() {
        let status = child.0.wait().map_err(|error| error.to_string())?;
        let bound = memory_bytes.filter(|_| is_limited);
        let bound = bound.map_or_else(String::new, |bytes| format!(" with {} MiB", bytes >> 20));
        return Err(format!("the process that measured it{bound} failed: {status}"));
    }
    // The child is killed before the bound goes.
    drop(child);
    let report: Report = serde_json::from_str(&answer)
        .map_err(|error| format!("the process that measured it said {answer:?}: {error}"))?;
    Ok(Outcome { sample: report.into_sample(), is_limited })
}

/// A process that ends with this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
