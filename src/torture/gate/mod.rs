//! Builds broken on purpose.

use super::{Config, Failure, GateSummary, Progress};

/// Runs the tier.
pub(super) fn run(_config: &Config, _progress: &Progress) -> (GateSummary, Vec<Failure>) {
    (GateSummary::default(), Vec::new())
}
