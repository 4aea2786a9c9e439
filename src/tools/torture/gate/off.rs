//! The mutation gate of a program without mutants: it does nothing.

use super::{Config, Failure, GateSummary, Progress};

/// Runs the tier.
pub(super) fn run(_config: &Config, _progress: &Progress) -> (GateSummary, Vec<Failure>) {
    (GateSummary::default(), Vec::new())
}

/// The hidden command of a process that hunts, here without use.
pub const HUNTER: &str = "torture-hunt";

/// Hunts no mutant.
///
/// # Errors
/// Always: the program has no mutants.
pub fn hunter(_mutant: &str, _seed: u64) -> Result<(), String> {
    Err("this program was built without the feature `mutants`".to_owned())
}
