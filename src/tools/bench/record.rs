//! The result of a run, as the JSON file holds it and as table and page show it.
//!
//! ```text
//!   Record
//!     machine      processor, disk, file system
//!     run          time, settings, warnings
//!     engines      versions, modes, and what each mode loses
//!     results      one Row per (workload, engine, mode, threads, sizes)
//! ```
//!
//! - RESULTS-1 Table and page use nothing else: both can be made again from the file.
//! - RESULTS-2 Field names never change their meaning. New fields have defaults, so that files of earlier
//!   versions can still be read; fields that they lack are empty.
//! - RESULTS-3 All numbers are finite. A figure that could not be measured is absent (`null`), never 0.

use serde::{Deserialize, Serialize};

use super::engine::Guarantee;

/// The name of the floor among the engines.
pub const FLOOR: &str = "floor";

/// The name of our own store among the engines.
pub const SYNCLINE: &str = "syncline";

/// The figure that [`Ratio::DiskBytes`] compares.
pub const DISK_BYTES: &str = "disk_bytes_per_live_byte";

/// The result of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The machine under the figures.
    pub machine: Machine,
    /// Time, settings and warnings.
    #[serde(default)]
    pub run: RunInfo,
    /// The engines that took part.
    #[serde(default)]
    pub engines: Vec<EngineInfo>,
    /// The figures.
    pub results: Vec<Row>,
}

/// A description of the machine. A fact that could not be found out is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The model of the processor.
    pub cpu: String,
    /// How many threads run at a time.
    pub cores: usize,
    /// The main memory.
    pub memory_bytes: u64,
    /// The operating system.
    pub os: String,
    /// The version of its kernel.
    pub kernel: String,
    /// The file system beneath the stores.
    pub file_system: String,
    /// How it is mounted.
    pub mount_options: String,
    /// The device that is mounted.
    pub mount_source: String,
    /// The block device: model, whether it spins, whether it caches writes.
    pub device: String,
}

/// When and how the figures were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// The version of the harness and of our own store.
    pub version: String,
    /// When it began, in seconds since 1970.
    pub started_unix_s: u64,
    /// The command line.
    pub command: String,
    /// How often everything was measured, in turns.
    pub rounds: u32,
    /// The length of one measurement.
    pub seconds: f64,
    /// How many different keys there are.
    pub keys: u64,
    /// The seed of every random draw, the order of the cases in each round included.
    pub seed: u64,
    /// The cache that each engine may use.
    pub cache_bytes: u64,
    /// How long the whole run took.
    pub took_s: f64,
    /// The share of the processors' time that the host gave to others (steal), over the whole run.
    pub steal_percent: Option<f64>,
    /// The load average over a minute when the run began.
    pub load_before: Option<f64>,
    /// Reasons to distrust the figures: a file system in memory, a build without optimization.
    pub warnings: Vec<String>,
}

/// A store that took part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// As in [`Row::engine`].
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is, and how it is set up here.
    #[serde(default)]
    pub about: String,
    /// Its modes.
    pub modes: Vec<ModeInfo>,
}

/// A way of committing that a store offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeInfo {
    /// As in [`Row::mode`].
    pub name: String,
    /// What an acknowledged commit survives.
    pub guarantee: Guarantee,
    /// The commits that a kill of the process loses.
    pub lost_on_kill: String,
    /// The commits that a power loss loses.
    pub lost_on_power_loss: String,
}

/// The figures that a ratio compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ratio {
    /// Operations per second: higher is better.
    #[default]
    #[serde(rename = "throughput")]
    Throughput,
    /// The median latency: lower is better.
    #[serde(rename = "p50 latency")]
    MedianLatency,
    /// Device bytes per user byte: lower is better.
    #[serde(rename = "device bytes")]
    DeviceBytes,
    /// Bytes that the files take per byte of the rows that are there: lower is better.
    #[serde(rename = "disk bytes")]
    DiskBytes,
}

/// One line of the table: one engine in one mode under one load.
///
/// A figure is the median over the rounds unless its field says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// The family: `commit`, `read`, `scan`, `mixed`, `load`, `hot`, `recover`, `large`, `flush`,
    /// `window`.
    pub workload: String,
    /// The part of the family: `put`, `batch`, `hit`, `miss`, `A`, ... Rows of one workload, variant,
    /// threads, sizes and rate measure the same thing and belong side by side.
    pub variant: String,
    /// [`FLOOR`], [`SYNCLINE`] or the name of a peer.
    pub engine: String,
    /// The mode of the engine.
    pub mode: String,
    /// What an acknowledged commit survives; absent where nothing is committed.
    pub guarantee: Option<Guarantee>,
    /// Threads at work at the same time.
    pub threads: usize,
    /// The size of a value.
    pub value_bytes: usize,
    /// Puts per commit; 1 also where nothing is committed.
    pub batch: usize,
    /// How keys were drawn: `random order`, `sorted`, `uniform`, `zipfian`, `latest`.
    pub distribution: String,
    /// Operations per second that were scheduled over all threads (open loop). Latencies then count
    /// from the scheduled start.
    pub rate: Option<f64>,
    /// Operations per second. An operation is one call: a commit, a get, a scan, an opening.
    pub ops_per_s: f64,
    /// Rows that one operation touches on average: 1 for gets, the batch for commits, the length
    /// of a scan.
    pub rows_per_op: f64,
    /// The median latency.
    pub p50_us: f64,
    /// Its 90th percentile.
    pub p90_us: f64,
    /// Its 99th percentile.
    pub p99_us: f64,
    /// Its 99.9th percentile.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// The distribution of the latencies of all rounds together, for a chart: pairs of (quantile,
    /// microseconds), both ascending. The last quantile is 1.
    pub latency: Vec<(f64, f64)>,
    /// Commits that shared one flush of the log.
    pub commits_per_flush: Option<f64>,
    /// Bytes written to the device per byte of keys and values, as the device counts them.
    pub device_bytes_per_user_byte: Option<f64>,
    /// The same as the process's account has it: every page that became dirty, less what was removed
    /// before it was written. Without journal and metadata; a large page counts whole.
    pub dirtied_bytes_per_user_byte: Option<f64>,
    /// Processor time of the whole process for each operation, the threads of the engine included.
    pub cpu_us_per_op: Option<f64>,
    /// This row's figure divided by that of its floor, by `ratio_is`.
    pub ratio_to_floor: Option<f64>,
    /// What `ratio_to_floor` compares.
    pub ratio_is: Ratio,
    /// The mode of the floor that it is compared with: the best one in most rounds.
    pub floor: Option<String>,
    /// Throughput against that of one thread alone.
    pub ratio_to_1_thread: Option<f64>,
    /// Of our own rows: how many times as good as the best peer that does the same with the same
    /// guarantee, by `peer_ratio_is`. Above 1 we are ahead, whatever is compared. The median of
    /// the ratios to the best peer of each round.
    pub ratio_to_best_peer: Option<f64>,
    /// What `ratio_to_best_peer` compares.
    pub peer_ratio_is: Ratio,
    /// The peer that was the best one in most rounds.
    pub best_peer: Option<String>,
    /// In how many rounds it was measured.
    pub rounds: usize,
    /// The length of one measurement.
    pub seconds: f64,
    /// How many different keys there were.
    pub keys: u64,
    /// Over the rounds.
    pub ops_per_s_spread: Spread,
    /// Over the rounds.
    pub ratio_to_floor_spread: Option<Spread>,
    /// Over the rounds.
    pub ratio_to_best_peer_spread: Option<Spread>,
    /// In how many rounds something else took the processors, so that it was measured again.
    pub disturbed: usize,
    /// What a reader must know before comparing this row; empty for most.
    pub note: String,
    /// How it went on, where that is measured (`steady`). Of the last round.
    pub course: Vec<Moment>,
    /// Figures that only this workload has.
    pub figures: Vec<Figure>,
}

/// A part of a long measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// When it ended, in seconds since the measurement began.
    pub at_s: f64,
    /// Operations per second during it.
    pub ops_per_s: f64,
    /// The longest operation that ended during it.
    pub max_us: f64,
}

/// How one of our rows stands against the best peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Better in every round.
    Ahead,
    /// Better in some rounds and worse in others: the spread of the ratio contains 1.
    Level,
    /// Worse in every round.
    Behind,
}

/// A median and its spread over the rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of `values`, if there are any.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            (values[middle - 1] + values[middle]) / 2.0
        } else {
            values[middle]
        };
        Some(Spread { min, median, max })
    }
}

/// A figure that only some workloads have: `lost_commits_p99` of `window`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// The median over the rounds.
    pub value: f64,
    /// `us`, `ms`, `bytes`, `MiB/s`, or empty for a number.
    pub unit: String,
}

impl Row {
    /// Whether this is the floor.
    pub fn is_floor(&self) -> bool {
        self.engine == FLOOR
    }

    /// Against the best peer, if there is one.
    pub fn standing(&self) -> Option<Standing> {
        let median = self.ratio_to_best_peer?;
        let alone = Spread { min: median, median, max: median };
        let spread = self.ratio_to_best_peer_spread.unwrap_or(alone);
        Some(match spread {
            Spread { min, .. } if min > 1.0 => Standing::Ahead,
            Spread { max, .. } if max < 1.0 => Standing::Behind,
            _ => Standing::Level,
        })
    }

    /// How many times as good as its floor, whatever is compared: 1 is as good as the bare hardware, and
    /// more is better.
    pub fn of_floor(&self) -> Option<f64> {
        let ratio = self.ratio_to_floor?;
        Some(match self.ratio_is {
            Ratio::Throughput => ratio,
            Ratio::MedianLatency | Ratio::DeviceBytes | Ratio::DiskBytes => 1.0 / ratio,
        })
    }

    /// The named figure, if the workload has it.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }
}

impl Record {
    /// The text of the JSON file.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain numbers and strings");
        text.push('\n');
        text
    }

    /// Parses the text of a JSON file.
    ///
    /// # Errors
    /// The text is not a record: the message says where and why.
    pub fn from_json(text: &str) -> Result<Record, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let row = Row {
            workload: "commit".into(),
            guarantee: Some(Guarantee::PowerLoss),
            latency: vec![(0.5, 1.25), (1.0, 80.0)],
            ratio_is: Ratio::MedianLatency,
            ratio_to_floor: Some(1.1),
            figures: vec![Figure { name: "rows".into(), value: 3.0, unit: String::new() }],
            ..Row::default()
        };
        let record = Record { results: vec![row], ..Record::default() };
        assert_eq!(Record::from_json(&record.to_json()), Ok(record));
    }

    #[test]
    fn files_of_the_first_version_are_read() {
        let text = r#"{"machine": {"cpu": "x", "cores": 2}, "results": [{"workload": "read",
            "engine": "floor", "mode": "btreemap", "threads": 1, "ops_per_s": 5.0,
            "commits_per_flush": null, "ratio_to_floor": 1.0, "ratio_is": "p50 latency",
            "ops_per_s_spread": {"min": 4.0, "median": 5.0, "max": 6.0}}]}"#;
        let record = Record::from_json(text).unwrap();
        assert!(record.results[0].is_floor());
        assert_eq!(record.results[0].ratio_to_floor, Some(1.0));
        assert_eq!(record.results[0].guarantee, None);
        assert!(Record::from_json("{}").unwrap_err().contains("machine"));
    }

    #[test]
    fn a_spread_is_the_median_and_the_ends() {
        let odd = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(odd, Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even, Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
