//! `bench server`, `bench patterns`, `bench crowd`: what a store costs over a connection.
//!
//! ```text
//!   server     throughput and latency: modes x connections x in flight
//!   patterns   ways to wait for an asynchronous write: requests, bytes, time to know
//!   crowd      thousands of connections: idle, watching, deaf; and gets behind a thousand puts
//!   codecs     what a request costs as bytes: bincode, JSON, RESP
//!      |
//!   lean       a load generator of packets and nothing else     host   the server's process
//!     wire     one of its connections                           durable   when what was durable
//! ```
//!
//! - BENCHNET-1 The server is a process of its own, with its own CPU figures; it shares the processors
//!   with the load, so the load is made by one thread and little code, and its CPU is told too.
//! - BENCHNET-2 All cases are measured in turns, round after round, in another order each; what is printed
//!   is the median over the rounds.
//! - BENCHNET-3 Each connection keeps its number of requests in flight: for as many answers as one read
//!   brings, as many requests leave in one write. With one in flight nothing is pipelined.
//! - BENCHNET-4 Latency counts from when a request was handed to the socket to when its answer was read,
//!   with one reading of the clock for each read and write.

mod codecs;
mod crowd;
mod durable;
mod host;
mod lean;
mod patterns;
mod server;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::record::{EngineInfo, Figure, Machine, Record, Row, Run, Spread};
use super::{BenchError, Place, measure, report, warnings};
use crate::net::client::{self, ClientOptions};

pub use crowd::{CrowdCase, CrowdSettings, run as run_crowd};
pub use patterns::run as run_patterns;
pub use server::{By, ServerSettings, run as run_server};

/// What is measured, and how thoroughly.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// A server that runs already; otherwise one is started.
    pub connect: Option<Target>,
    /// Where that one has its store; the current directory if not given.
    pub dir: Option<PathBuf>,
    /// The length of one measurement.
    pub measure_time: Duration,
    /// How often everything is measured.
    pub rounds: u32,
    /// How many different keys there are.
    pub keys: u64,
    /// The size of a value.
    pub value_bytes: usize,
    /// What chance follows from.
    pub seed: u64,
    /// The command line, for the record.
    pub command: String,
}

/// A server that runs already.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it is.
    pub address: String,
    /// How it is spoken to.
    pub options: ClientOptions,
}

/// What one measurement found.
struct Found {
    ops: u64,
    elapsed: Duration,
    latency_ns: Histogram<u64>,
    figures: Vec<Figure>,
}

impl Found {
    fn ops_per_s(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

fn figure(name: &str, value: f64, unit: &str) -> Figure {
    Figure { name: name.into(), value, unit: unit.into() }
}

/// The row of a case, from its rounds; `None` if it was never measured.
fn row(name: Row, rounds: &[Found]) -> Option<Row> {
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
fn record(settings: &NetSettings, place: &Place, engines: &[&str], results: Vec<Row>) -> Record {
    let machine = Machine::examine(&place.dir);
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let engine = |name: &&str| EngineInfo {
        name: (*name).to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        modes: Vec::new(),
    };
    let run = Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s: since_1970.map_or(0, |time| time.as_secs()),
        command: settings.command.clone(),
        rounds: settings.rounds,
        seconds: settings.measure_time.as_secs_f64(),
        keys: settings.keys,
        seed: settings.seed,
        cache_bytes: 256 << 20,
        warnings: warnings(&machine, &place.dir),
    };
    Record { machine, run, engines: engines.iter().map(engine).collect(), results }
}

impl From<client::Error> for BenchError {
    fn from(error: client::Error) -> BenchError {
        BenchError::Engine { engine: "server", message: error.to_string() }
    }
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, BenchError> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().map_err(BenchError::io("start a runtime"))
}
