//! Killed processes, where they cannot be watched as this tier needs it.

use super::{Config, Failure, KillSummary, Progress};

/// Says that it was left out.
pub fn run(_config: &Config, _progress: &Progress) -> (KillSummary, Vec<Failure>) {
    let notes = vec!["the kill tier needs Linux: left out".to_owned()];
    (KillSummary { notes, ..KillSummary::default() }, Vec::new())
}
