//! The kill tier on systems other than Linux: it is left out.

use super::{Config, Failure, KillSummary, Progress};

/// Notes that the tier was left out.
pub fn run(_config: &Config, _progress: &Progress) -> (KillSummary, Vec<Failure>) {
    let notes = vec!["the kill tier needs Linux: left out".to_owned()];
    (KillSummary { notes, ..KillSummary::default() }, Vec::new())
}
