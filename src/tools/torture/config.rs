//! The settings of a run of the suite.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// How long and how deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Up to a minute: the check of a change.
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

    /// The longest time that a run takes, if there is a bound.
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
    /// All suites, in the order of a run. The one that takes the rest of the time comes last.
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

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long and how deep.
    pub tier: Tier,
    /// The parts to run.
    pub suites: Vec<Suite>,
    /// All random draws follow from it.
    pub seed: u64,
    /// Threads that simulate at a time; also the measure for processes to kill.
    pub workers: usize,
    /// The longest time per suite. None is the tier's own share; a run always hands its suites one.
    pub limit: Option<Duration>,
    /// The directory for stores of killed processes; none is the system's temporary one.
    pub directory: Option<PathBuf>,
    /// The directory for failures, one file each.
    pub failures: PathBuf,
}
