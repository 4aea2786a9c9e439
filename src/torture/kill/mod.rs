//! Killed processes.

use super::{Config, Failure, KillSummary, Progress};

/// Runs the tier.
pub(super) fn run(_config: &Config, _progress: &Progress) -> (KillSummary, Vec<Failure>) {
    (KillSummary::default(), Vec::new())
}
