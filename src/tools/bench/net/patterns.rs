//! `bench patterns`: the same asynchronous write, and several ways to learn that it is durable.
//!
//! Each task writes, waits in its way, and writes again; all share one connection. A watch of the
//! watermarks beside them reports when a write was durable. That report takes the network too: a write
//! counts as durable from the first time at which this process could know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::super::directory::BenchDir;
use super::super::draws::{Chance, shuffled};
use super::super::engine::Guarantee;
use super::super::error::BenchError;
use super::super::record::{Record, Row};
use super::super::rows::key;
use super::super::values::Value;
use super::super::{measure, stop};
use super::codecs;
use super::common::{Found, NetSettings, figure, record, row, runtime};
use super::durable::Durable;
use super::host::{Host, own_cpu};
use super::lean::{self, KEYSPACE};
use crate::CommitMode;
use crate::net::client::{Client, Job, Write};
use crate::tools::present::aside::aside;

/// Jobs in flight.
const TASKS: usize = 64;

/// A way to learn the end of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// Polls at an interval in milliseconds.
    ShortPoll(u64),
    /// One request, which is answered at the end.
    LongPoll,
    /// An event from the server.
    Push,
    /// A sync write, which is answered when it is durable.
    Sync,
}

impl Pattern {
    const ALL: [Pattern; 6] = [
        Pattern::ShortPoll(1),
        Pattern::ShortPoll(10),
        Pattern::ShortPoll(100),
        Pattern::LongPoll,
        Pattern::Push,
        Pattern::Sync,
    ];

    fn name(self) -> String {
        match self {
            Pattern::ShortPoll(ms) => format!("poll {ms} ms"),
            Pattern::LongPoll => "long poll".into(),
            Pattern::Push => "push".into(),
            Pattern::Sync => "sync request".into(),
        }
    }
}

/// State that all tasks of a measurement share.
struct Shared {
    durable: Durable,
    over: AtomicBool,
    requests: AtomicU64,
    jobs: AtomicU64,
    latency_ns: Mutex<Histogram<u64>>,
    to_know_ns: Mutex<Histogram<u64>>,
}

/// Measures the patterns, and the codecs.
///
/// # Errors
/// The server cannot be started or reached, or answers with an error.
pub fn run(settings: &NetSettings) -> Result<Record, BenchError> {
    let dir = BenchDir::create(settings.dir.as_deref())?;
    let host = Host::start(settings.connect.as_ref(), &dir.path)?;
    runtime(1)?.block_on(lean::fill(&host.dial, settings.keys, settings.value_bytes))?;
    let mut found: Vec<Vec<Found>> = Pattern::ALL.iter().map(|_| Vec::new()).collect();
    'rounds: for round in 0..settings.rounds {
        for index in shuffled(Pattern::ALL.len(), round, settings.seed) {
            let pattern = Pattern::ALL[index];
            aside(format_args!("round {} of {}: {}", round + 1, settings.rounds, pattern.name()));
            match runtime(1)?.block_on(measure(pattern, settings, &host)) {
                // Ctrl-C ends the server as well.
                Err(_) if stop::is_asked() => break 'rounds,
                one => found[index].push(one?),
            }
            if stop::is_asked() {
                break 'rounds;
            }
        }
    }
    let patterns = Pattern::ALL.iter().zip(&found);
    let mut rows: Vec<Row> =
        patterns.filter_map(|(pattern, found)| row(name(*pattern, settings), found)).collect();
    rows.extend(codecs::rows(settings));
    Ok(record(settings, &dir, &["client"], rows))
}

fn name(pattern: Pattern, settings: &NetSettings) -> Row {
    Row {
        workload: "patterns".into(),
        variant: format!("an async put until it is known durable, {TASKS} at a time"),
        engine: "client".into(),
        mode: pattern.name(),
        guarantee: Some(Guarantee::PowerLoss),
        threads: 1,
        value_bytes: settings.value_bytes,
        distribution: "uniform".into(),
        seconds: settings.measure_time.as_secs_f64(),
        keys: settings.keys,
        ..Row::default()
    }
}

async fn measure(
    pattern: Pattern,
    settings: &NetSettings,
    host: &Host,
) -> Result<Found, BenchError> {
    let client = host.client(1024).await?;
    let observer = host.client(1024).await?;
    let shared = Arc::new(Shared {
        durable: Durable::default(),
        over: AtomicBool::new(false),
        requests: AtomicU64::new(0),
        jobs: AtomicU64::new(0),
        latency_ns: Mutex::new(measure::new_histogram()),
        to_know_ns: Mutex::new(measure::new_histogram()),
    });
    let watching = tokio::spawn(observe(observer, Arc::clone(&shared)));
    let (server_before, own_before) = (host.cpu(), own_cpu());
    let before = client.traffic();
    let begun = Instant::now();
    let tasks = (0..TASKS).map(|index| {
        tokio::spawn(work(client.clone(), pattern, settings.clone(), index, Arc::clone(&shared)))
    });
    let tasks: Vec<_> = tasks.collect();
    tokio::time::sleep(settings.measure_time).await;
    shared.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.map_err(std::io::Error::other).map_err(BenchError::io("wait"))??;
    }
    let elapsed = begun.elapsed();
    watching.abort();
    let after = client.traffic();
    let jobs = shared.jobs.load(Ordering::Relaxed);
    let each = |number: f64| number / jobs.max(1) as f64;
    let to_know = shared.to_know_ns.lock().clone();
    let mut figures = vec![
        figure("requests each", each(shared.requests.load(Ordering::Relaxed) as f64), ""),
        figure("bytes each", each((after.0 + after.1 - before.0 - before.1) as f64), "bytes"),
        figure("durable to known p50", to_know.value_at_quantile(0.5) as f64 / 1e3, "us"),
        figure("durable to known p99", to_know.value_at_quantile(0.99) as f64 / 1e3, "us"),
    ];
    let cpu = |name, before: Option<Duration>, now: Option<Duration>| {
        Some(figure(name, each((now? - before?).as_secs_f64() * 1e6), "us"))
    };
    figures.extend(cpu("server CPU each", server_before, host.cpu()));
    figures.extend(cpu("client CPU each", own_before, own_cpu()));
    let latency_ns = shared.latency_ns.lock().clone();
    Ok(Found { ops: jobs, elapsed, latency_ns, figures })
}

async fn observe(client: Client, shared: Arc<Shared>) {
    let mut moves = client.watch_watermarks(Duration::ZERO);
    while let Some(Ok(watermarks)) = moves.next().await {
        shared.durable.at(watermarks.durable.get(), Instant::now());
    }
}

async fn work(
    client: Client,
    pattern: Pattern,
    settings: NetSettings,
    index: usize,
    shared: Arc<Shared>,
) -> Result<(), BenchError> {
    let keyspace = client.existing_keyspace(KEYSPACE);
    let mut chance = Chance::new(settings.seed, index);
    let mut value = Value::of(settings.value_bytes);
    while !shared.over.load(Ordering::Relaxed) {
        let number = chance.below(settings.keys);
        let how = match pattern {
            Pattern::Sync => Write::from(CommitMode::Sync),
            _ => Write::job(),
        };
        let begun = Instant::now();
        let job = keyspace.put_with(key(number), value.row(number), how).await?;
        let requests = 1 + wait(&job, pattern).await?;
        let known = Instant::now();
        let lsn = job.id().rsplit_once('-').map_or("", |(_, lsn)| lsn);
        let lsn = u64::from_str_radix(lsn, 16).unwrap_or(0);
        shared.durable.at(lsn, known);
        let durable = shared.durable.since(lsn).unwrap_or(known);
        let to_know = known.saturating_duration_since(durable);
        shared.to_know_ns.lock().saturating_record(to_know.as_nanos() as u64);
        shared.latency_ns.lock().saturating_record((known - begun).as_nanos() as u64);
        shared.requests.fetch_add(requests, Ordering::Relaxed);
        shared.jobs.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Waits for the end, and returns the number of requests that it took.
async fn wait(job: &Job, pattern: Pattern) -> Result<u64, BenchError> {
    match pattern {
        Pattern::Sync => Ok(0),
        Pattern::LongPoll => job.wait(Duration::from_secs(60)).await.map(|_| 1).map_err(Into::into),
        Pattern::Push => {
            job.watch().next().await.transpose()?;
            Ok(1)
        }
        Pattern::ShortPoll(ms) => {
            let mut requests = 0;
            loop {
                requests += 1;
                if job.status().await?.is_final() {
                    return Ok(requests);
                }
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
        }
    }
}
