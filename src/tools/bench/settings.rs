//! The settings of a run.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a run.
#[derive(Debug)]
pub struct Settings {
    /// The parent of the run's directory; default: the current directory.
    pub dir: Option<PathBuf>,
    /// The length of one measurement.
    pub measure_time: Duration,
    /// How often everything is measured.
    pub rounds: u32,
    /// How often a measurement is made again that something else disturbed.
    pub again: u32,
    /// How many different keys there are.
    pub keys: u64,
    /// The length of a measurement of `steady`.
    pub steady_time: Duration,
    /// The memory that an engine may use in `large`, in bytes.
    pub large_memory_bytes: u64,
    /// The longest time for which `large` overwrites.
    pub large_time: Duration,
    /// The cache of each store.
    pub cache_bytes: u64,
    /// The workloads, each once.
    pub families: Vec<Family>,
    /// Names of the engines to measure; empty: all.
    pub engines: Vec<String>,
    /// Numbers of threads; empty: the default of each workload.
    pub threads: Vec<usize>,
    /// Sizes of values, as with `threads`.
    pub value_bytes: Vec<usize>,
    /// Puts per commit, as with `threads`.
    pub batches: Vec<usize>,
    /// Operations per second (open loop).
    pub rate: Option<f64>,
    /// The seed of every random draw.
    pub seed: u64,
    /// The command line, for the record.
    pub command: String,
}

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Family {
    /// The bare device: the cost of a flush, done in several ways
    Flush,
    /// Commits in each mode: the ladder from the floor to Async to Sync
    Commit,
    /// Asynchronous commits that a power loss would lose
    Window,
    /// Random gets: hit, miss, zipfian, beside a writer, from a cold cache
    Read,
    /// Scans: full, and of 100 rows
    Scan,
    /// YCSB A to F
    Mixed,
    /// Every row put into an empty store
    Load,
    /// Overwrites of a few rows: bytes to the device
    Hot,
    /// Puts and gets where the data are 4 and 16 times the memory that a store may use
    Large,
    /// Opening after close and after kill
    Recover,
    /// Disk space after loading, overwriting and deleting
    Space,
    /// Puts and gets as the data grow: 1, 4 and 16 times as many keys
    Growth,
    /// Overwrites for a minute and more: the rate over time, through checkpoints and compactions
    Steady,
}

impl Family {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Family; 13] = [
        Family::Flush,
        Family::Commit,
        Family::Window,
        Family::Read,
        Family::Scan,
        Family::Mixed,
        Family::Load,
        Family::Hot,
        Family::Large,
        Family::Recover,
        Family::Space,
        Family::Growth,
        Family::Steady,
    ];
}
