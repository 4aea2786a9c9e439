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
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Smoke => "smoke",
            Tier::Full => "full",
            Tier::Soak => "soak",
        }
    }

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
    /// Each bit of stores on the simulated disk, flipped.
    Flips,
    /// Killed processes.
    Kill,
    /// A served store, its server killed.
    Server,
    /// Builds broken on purpose. Needs the Cargo feature `mutants`.
    Mutants,
    /// Known bugs as scenarios.
    Museum,
}

impl Suite {
    /// All, in the order in which they are run: what needs the rest of the time comes last.
    pub const ALL: [Suite; 6] =
        [Suite::Sim, Suite::Flips, Suite::Kill, Suite::Server, Suite::Museum, Suite::Mutants];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Sim => "sim",
            Suite::Flips => "flips",
            Suite::Kill => "kill",
            Suite::Server => "server",
            Suite::Mutants => "mutants",
            Suite::Museum => "museum",
        }
    }

    /// Whether it is in this program.
    pub fn is_compiled(self) -> bool {
        self != Suite::Mutants || cfg!(feature = "mutants")
    }
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
    /// The most time for each suite. None is the tier's own share of the time; a suite always
    /// gets one, and none means until stopped there.
    pub limit: Option<Duration>,
    /// Where killed processes have their stores; none is the system's directory for temporary files.
    pub directory: Option<PathBuf>,
    /// Where failures are put down, one file each.
    pub failures: PathBuf,
}
