//! The tier of served stores on systems other than Unix: it is left out.

use super::{Config, Failure, Progress, ServerSummary};

/// Notes that the tier was left out.
pub fn run(_config: &Config, _progress: &Progress) -> (ServerSummary, Vec<Failure>) {
    let notes = vec!["the tier of served stores needs Unix: left out".to_owned()];
    (ServerSummary { notes, ..ServerSummary::default() }, Vec::new())
}

/// Finds nothing.
#[cfg(feature = "mutants")]
pub(super) fn hunt(
    _mutant: crate::engine::mutants::Mutant,
    _seed: u64,
    _limit: std::time::Duration,
) -> (ServerSummary, Vec<Failure>) {
    (ServerSummary::default(), Vec::new())
}
