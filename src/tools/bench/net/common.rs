//! Settings of the benchmarks of a served store, and the way from their measurements to rows.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::super::directory::BenchDir;
use super::super::error::BenchError;
use super::super::record::{EngineInfo, Figure, Machine, Record, Row, RunInfo, Spread};
use super::super::{measure, report};
use crate::net::client::{self, ClientOptions};

/// Settings of every benchmark of a server.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// A running server; by default one is started.
    pub connect: Option<Target>,
    /// The directory for the store of a started server; default: the current directory.
    pub dir: Option<PathBuf>,
    /// The length of one measurement.
    pub measure_time: Duration,
    /// How often everything is measured.
    pub rounds: u32,
    /// How many different keys there are.
    pub keys: u64,
    /// The size of a value.
    pub value_bytes: usize,
    /// The seed of every random draw.
    pub seed: u64,
    /// The command line, for the record.
    pub command: String,
}

/// A running server.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address.
    pub address: String,
    /// How to connect to it.
    pub options: ClientOptions,
}

/// The result of one measurement.
pub(super) struct Found {
    pub(super) ops: u64,
    pub(super) elapsed: Duration,
    pub(super) latency_ns: Histogram<u64>,
    pub(super) figures: Vec<Figure>,
}

impl Found {
    pub(super) fn ops_per_s(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

pub(super) fn figure(name: &str, value: f64, unit: &str) -> Figure {
    Figure { name: name.into(), value, unit: unit.into() }
}

/// The row of a case, from its rounds; `None` if it was never measured.
pub(super) fn row(name: Row, rounds: &[Found]) -> Option<Row> {
    let median = |of: &dyn Fn(&Found) -> f64| Spread::of(rounds.iter().map(of)).map(|s| s.median);
    let quantile = |quantile: f64| {
        median(&|found| found.latency_ns.value_at_quantile(quantile) as f64 / 1000.0)
    };
    let mut all = measure::new_histogram();
    for found in rounds {
        all.add(&found.latency_ns).expect("the same bounds");
    }
    let figures = rounds.first()?.figures.iter().map(|known| {
        let same = rounds.iter().flat_map(|found| &found.figures);
        let same = same.filter(|other| other.name == known.name).map(|other| other.value);
        Figure { value: Spread::of(same).expect("one at least").median, ..known.clone() }
    });
    let spread = Spread::of(rounds.iter().map(Found::ops_per_s))?;
    Some(Row {
        batch: 1,
        rows_per_op: 1.0,
        ops_per_s: spread.median,
        p50_us: quantile(0.5)?,
        p90_us: quantile(0.9)?,
        p99_us: quantile(0.99)?,
        p999_us: quantile(0.999)?,
        max_us: quantile(1.0)?,
        latency: report::points(&all),
        rounds: rounds.len(),
        ops_per_s_spread: spread,
        figures: figures.collect(),
        ..name
    })
}

/// The record around the rows.
pub(super) fn record(
    settings: &NetSettings,
    dir: &BenchDir,
    engines: &[&str],
    results: Vec<Row>,
) -> Record {
    let machine = Machine::examine(&dir.path);
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let engine = |name: &&str| EngineInfo {
        name: (*name).to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..EngineInfo::default()
    };
    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s: since_1970.map_or(0, |time| time.as_secs()),
        command: settings.command.clone(),
        rounds: settings.rounds,
        seconds: settings.measure_time.as_secs_f64(),
        keys: settings.keys,
        seed: settings.seed,
        cache_bytes: 256 << 20,
        warnings: machine.warnings(&dir.path),
        ..RunInfo::default()
    };
    Record { machine, run, engines: engines.iter().map(engine).collect(), results }
}

impl From<client::Error> for BenchError {
    fn from(error: client::Error) -> BenchError {
        BenchError::Engine { engine: "server", message: error.to_string() }
    }
}

pub(super) fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, BenchError> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().map_err(BenchError::io("start a runtime"))
}
