//! Known bugs as scenarios.

use super::{Config, Failure, MuseumSummary, Progress};

/// Runs the tier.
pub(super) fn run(_config: &Config, _progress: &Progress) -> (MuseumSummary, Vec<Failure>) {
    (MuseumSummary::default(), Vec::new())
}
