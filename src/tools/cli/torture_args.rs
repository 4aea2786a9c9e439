//! The arguments of `torture`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  syncline torture                                 the check of every change: a minute
  syncline torture --tier full --html run.html     half an hour, and a page to look at
  syncline torture --tier soak --suite sim         until Ctrl-C; a second one does not wait
  syncline torture --seed 42                       the same simulated crashes, every time
  syncline torture --replay syncline-failures/FILE one failure again, with its story")]
pub(super) struct TortureArgs {
    /// The length and depth of the run
    #[arg(long, value_enum, default_value_t = TierArg::Smoke)]
    pub(super) tier: TierArg,
    /// Which parts of the suite, separated by commas [default: all that are compiled]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SUITES")]
    pub(super) suite: Vec<SuiteArg>,
    /// The seed of the random numbers; the same seed gives the same simulated crashes. It is always
    /// printed [default: a random one]
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Threads that simulate, and processes that are killed, at a time [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) workers: Option<u16>,
    /// The time for each suite, in seconds [default: its share of the tier's time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) seconds: Option<u32>,
    /// The directory for the stores of killed processes, to test its file system; it must exist
    /// [default: the directory for temporary files]
    #[arg(long)]
    pub(super) dir: Option<PathBuf>,
    /// The directory for failures, one file each. It is created for the first one
    #[arg(long, value_name = "DIR", default_value = "syncline-failures")]
    pub(super) failures: PathBuf,
    /// Run the failure in this file again, and tell its story
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tier", "suite", "seed", "workers",
        "seconds", "dir", "failures", "json", "html"])]
    pub(super) replay: Option<PathBuf>,
    /// Write the summary as JSON to a file, or with `-` to standard output; the table then goes to
    /// standard error
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write the summary as a page, with a drawing of the crash states of one run
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// The length and depth of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TierArg {
    /// Up to a minute
    Smoke,
    /// Up to half an hour
    Full,
    /// Until stopped
    Soak,
}

/// A part of the crash suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SuiteArg {
    /// Power losses, failing calls and rot, on a simulated disk
    Sim,
    /// Each bit of five stores, flipped: all of them in the full tier, one of 1,000 in smoke
    Flips,
    /// Real processes on real files, killed
    Kill,
    /// A real server with many clients, killed amid their writes and judged by them
    Server,
    /// Mistakes made on purpose, each of which must be noticed; needs the feature `mutants`
    Mutants,
    /// Known bugs, ours and others', as scenarios
    Museum,
}
