//! The simulated disk.

use std::path::Path;

use super::{Config, Failure, Progress, SimSummary};

/// Runs the tier.
pub(super) fn run(_config: &Config, _progress: &Progress) -> (SimSummary, Vec<Failure>) {
    (SimSummary::default(), Vec::new())
}

/// Runs one saved failure again; none if all is well by now.
///
/// # Errors
/// If the file cannot be read or is none of ours.
pub fn replay(file: &Path) -> Result<Option<Failure>, String> {
    Err(format!("{}: not a saved failure", file.display()))
}
