//! Builds broken on purpose: not in this program, which has no mutants.

use super::{Config, Failure, GateSummary, Progress};

/// Runs the tier.
pub(super) fn run(_config: &Config, _progress: &Progress) -> (GateSummary, Vec<Failure>) {
    (GateSummary::default(), Vec::new())
}

/// The hidden command of a process that hunts.
pub const HUNTER: &str = "torture-hunt";

/// Hunts one mutant.
///
/// # Errors
/// Always: there are none.
pub fn hunter(_mutant: &str, _seed: u64) -> Result<(), String> {
    Err("this program was built without the feature `mutants`".to_owned())
}
