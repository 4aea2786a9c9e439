//! `bench server`: modes, connections, requests in flight; the lean load and the full client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;

use super::super::directory::BenchDir;
use super::super::draws::{Chance, shuffled};
use super::super::engine::Guarantee;
use super::super::error::BenchError;
use super::super::record::{Record, Row};
use super::super::rows::key;
use super::super::values::Value;
use super::super::{measure, stop};
use super::common::{Found, NetSettings, figure, record, row, runtime};
use super::host::{Host, Meter};
use super::lean::{self, KEYSPACE, Load, Work};
use crate::CommitMode;
use crate::net::client::{Keyspace, Write};
use crate::net::proto::Mode;
use crate::tools::present::aside::aside;

/// Settings of `bench server`.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Settings of every benchmark of a server.
    pub net: NetSettings,
    /// Numbers of connections.
    pub connections: Vec<usize>,
    /// Requests in flight on each.
    pub in_flight: Vec<usize>,
    /// The load generators, each in turn.
    pub loads: Vec<By>,
}

/// A load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Packets and nothing else
    Lean,
    /// Our client, with all the connections
    Pool,
    /// Our client, one connection with all requests in flight
    #[value(name = "one")]
    Multiplexed,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Lean => "lean",
            By::Pool => "pool",
            By::Multiplexed => "one",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    by: By,
    work: Work,
    connections: usize,
    in_flight: usize,
}

/// Measures a server.
///
/// # Errors
/// It cannot be started or reached, or answers with an error.
pub fn run(settings: &ServerSettings) -> Result<Record, BenchError> {
    let cases = cases(settings);
    let settings = &settings.net;
    let dir = BenchDir::create(settings.dir.as_deref())?;
    let host = Host::start(settings.connect.as_ref(), &dir.path)?;
    runtime(1)?.block_on(lean::fill(&host.dial, settings.keys, settings.value_bytes))?;
    let mut found: Vec<Vec<Found>> = cases.iter().map(|_| Vec::new()).collect();
    'rounds: for round in 0..settings.rounds {
        for index in shuffled(cases.len(), round, settings.seed) {
            let case = cases[index];
            aside(format_args!("round {} of {}: {case:?}", round + 1, settings.rounds));
            match measure(case, settings, &host) {
                // Ctrl-C ends the server as well.
                Err(_) if stop::is_asked() => break 'rounds,
                one => found[index].push(one?),
            }
            if stop::is_asked() {
                break 'rounds;
            }
        }
    }
    let rows =
        cases.iter().zip(&found).filter_map(|(case, found)| row(name(case, settings), found));
    Ok(record(settings, &dir, &["lean", "pool", "one"], rows.collect()))
}

fn cases(settings: &ServerSettings) -> Vec<Case> {
    let mut cases = Vec::new();
    for work in Work::ALL {
        for &in_flight in &settings.in_flight {
            for &connections in &settings.connections {
                let case = |by| Case { by, work, connections, in_flight };
                // With one connection, pool and multiplexed are the same.
                let is_new = |by: &By| connections > 1 || *by != By::Multiplexed;
                cases.extend(settings.loads.iter().copied().filter(is_new).map(case));
            }
        }
    }
    cases
}

fn name(case: &Case, settings: &NetSettings) -> Row {
    let guarantee = match case.work {
        Work::Get => None,
        Work::Put(Mode::Sync) => Some(Guarantee::PowerLoss),
        Work::Put(Mode::Async | Mode::Job) => Some(Guarantee::ProcessEnd),
    };
    Row {
        workload: "server".into(),
        variant: format!("{}, {} in flight", case.work.name(), case.in_flight),
        engine: case.by.name().into(),
        mode: case.work.name().into(),
        guarantee,
        threads: case.connections,
        value_bytes: settings.value_bytes,
        distribution: "uniform".into(),
        seconds: settings.measure_time.as_secs_f64(),
        keys: settings.keys,
        ..Row::default()
    }
}

fn measure(case: Case, settings: &NetSettings, host: &Host) -> Result<Found, BenchError> {
    let load = Load {
        work: case.work,
        connections: case.connections,
        in_flight: case.in_flight,
        keys: settings.keys,
        value_bytes: settings.value_bytes,
        seed: settings.seed,
        time: settings.measure_time,
    };
    let meter = Meter::start(host);
    let mut found = match case.by {
        By::Lean => {
            let loaded = runtime(1)?.block_on(lean::run(&host.dial, load))?;
            let each = |bytes: u64| bytes as f64 / loaded.ops.max(1) as f64;
            let figures = vec![
                figure("bytes out each", each(loaded.bytes_out), "bytes"),
                figure("bytes in each", each(loaded.bytes_in), "bytes"),
            ];
            let (ops, elapsed, latency_ns) = (loaded.ops, loaded.elapsed, loaded.latency_ns);
            Found { ops, elapsed, latency_ns, figures }
        }
        By::Pool => runtime(2)?.block_on(through_client(host, load, case.connections))?,
        By::Multiplexed => runtime(2)?.block_on(through_client(host, load, 1))?,
    };
    found.figures.extend(meter.figures(host));
    if let Some(memory) = host.memory() {
        found.figures.push(figure("server memory", memory.resident as f64, "bytes"));
    }
    Ok(found)
}

/// The same load through the client: one task per request in flight.
async fn through_client(host: &Host, load: Load, connections: usize) -> Result<Found, BenchError> {
    let in_all = load.connections * load.in_flight;
    let each = u32::try_from(in_all / connections).expect("a number of requests");
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(host.client(each).await?);
    }
    let (warm, over) = (Instant::now() + load.time / 4, Arc::new(AtomicBool::new(false)));
    let tasks = (0..in_all).map(|index| {
        let keyspace = clients[index % connections].existing_keyspace(KEYSPACE);
        tokio::spawn(ask(keyspace, load, index, warm, Arc::clone(&over)))
    });
    let tasks: Vec<_> = tasks.collect();
    tokio::time::sleep_until((warm + load.time).into()).await;
    over.store(true, Ordering::Relaxed);
    let mut latency_ns = measure::new_histogram();
    for task in tasks {
        let one = task.await.map_err(std::io::Error::other).map_err(BenchError::io("ask"))?;
        latency_ns.add(&one?).expect("the same bounds");
    }
    Ok(Found { ops: latency_ns.len(), elapsed: load.time, latency_ns, figures: Vec::new() })
}

async fn ask(
    keyspace: Keyspace,
    load: Load,
    index: usize,
    warm: Instant,
    over: Arc<AtomicBool>,
) -> Result<Histogram<u64>, BenchError> {
    let mut chance = Chance::new(load.seed, index);
    let mut value = Value::of(load.value_bytes);
    // Two digits are enough, for a thousand tasks with a histogram each.
    let mut latency_ns = Histogram::new_with_bounds(1, 3_600_000_000_000, 2).expect("bounds");
    while !over.load(Ordering::Relaxed) {
        let number = chance.below(load.keys);
        let key = key(number);
        let begun = Instant::now();
        let how = match load.work {
            Work::Get => None,
            Work::Put(Mode::Async) => Some(Write::from(CommitMode::Async)),
            Work::Put(Mode::Sync) => Some(Write::from(CommitMode::Sync)),
            Work::Put(Mode::Job) => Some(Write::job()),
        };
        match how {
            None => drop(keyspace.get(&key).await?),
            Some(how) => drop(keyspace.put_with(&key, value.row(number), how).await?),
        }
        let now = Instant::now();
        if begun >= warm {
            latency_ns.saturating_record((now - begun).as_nanos() as u64);
        }
    }
    Ok(latency_ns)
}
