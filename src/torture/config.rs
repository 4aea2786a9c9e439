//! What a run of the suite is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// How long and how deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Up to a minute: what a change is checked with.
    Smoke,
    /// Up to half an hour.
    Full,
    /// Until stopped.
    Soak,
}

impl Tier {
    /// The most time that a run takes, if there is a bound.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Tier::Smoke => Some(Duration::from_secs(60)),
            Tier::Full => Some(Duration::from_secs(30 * 60)),
            Tier::Soak => None,
        }
    }
}

/// A part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// The simulated disk.
    Sim,
    /// Killed processes.
    Kill,
    /// Builds broken on purpose. Needs the Cargo feature `mutants`.
    Mutants,
    /// Known bugs as scenarios.
    Museum,
}

/// What a run is asked to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long and how deep.
    pub tier: Tier,
    /// Which parts.
    pub suites: Vec<Suite>,
    /// Everything that is drawn by chance follows from it.
    pub seed: u64,
    /// Threads that simulate, and processes that are killed, at a time.
    pub workers: usize,
    /// The most time for one suite; none is until stopped.
    pub limit: Option<Duration>,
    /// Where the kill tier makes its stores; none is the system's directory for temporary files.
    pub directory: Option<PathBuf>,
    /// Where failures are put down, one file each.
    pub failures: PathBuf,
}
