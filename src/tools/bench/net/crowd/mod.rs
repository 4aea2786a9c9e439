//! `bench crowd`: what many connections cost a server, and what one of them can do to the others.
//!
//! ```text
//!   behind   gets on a connection with a thousand sync puts in flight, and on one beside it
//!   idle     thousands of connections with a long poll each: memory for each
//!   watch    a thousand connections that watch asynchronous writes, at a given rate: events
//!            lost, time from durable to known, memory
//!   deaf     thousands that ask for much and never read: memory, and the gets of good clients
//! ```
//!
//! - CROWD-1 Each case of each round has a server and a store of its own, so that no memory is counted
//!   that another case has left behind. A server that runs already has none of the figures of
//!   memory and processor.
//! - CROWD-2 What is compared is measured one after the other on the same server; a ratio is taken in
//!   each round, and the median of the ratios is what counts.
//! - CROWD-3 The load is one thread. Its share of a processor stands beside every figure: near 1 it is
//!   the load that was measured, and `watch` says how late it was.
//! - CROWD-4 A process may have too few descriptors for so many connections: then there are fewer, and
//!   the result says so.

mod behind;
mod deaf;
mod descriptors;
mod idle;
mod watch;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::record::{Record, Row};
use super::super::{BenchError, Place, shuffled, stop};
use super::host::{Host, Memory};
use super::lean::{self, Load, Work};
use super::{Found, NetSettings, row, runtime};
use crate::tools::present::aside::aside;

/// How often memory is looked at while something happens.
const LOOK: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum CrowdCase {
    /// Gets behind sync puts of the same connection
    Behind,
    /// Connections that wait, with a long poll each
    Idle,
    /// Connections that watch asynchronous writes
    Watch,
    /// Connections that ask for much and never read
    Deaf,
}

/// What is measured, and how large the crowd is.
#[derive(Clone, Debug)]
pub struct CrowdSettings {
    /// What all of them have in common.
    pub net: NetSettings,
    /// The cases, each once.
    pub cases: Vec<CrowdCase>,
    /// Connections of `idle` and `deaf`.
    pub connections: usize,
    /// Connections of `watch`.
    pub watchers: usize,
    /// Writes that they watch, in a second.
    pub jobs_per_s: u32,
    /// Sync puts in flight, of `behind`.
    pub puts: usize,
    /// What all clients together may leave unread, of a server of our own.
    pub max_output_mib: u64,
}

/// What a case was, and what it found in one round.
type Rows = Vec<(Row, Found)>;

/// Measures the cases.
///
/// # Errors
/// The server cannot be started or reached, or answers with an error.
pub fn run(settings: &CrowdSettings) -> Result<Record, BenchError> {
    let net = &settings.net;
    let place = Place::create(net.dir.as_deref())?;
    let (settings, warning) = descriptors::fit(settings);
    warning.iter().for_each(|warning| aside(format_args!("{warning}")));
    let mut found: Vec<(Row, Vec<Found>)> = Vec::new();
    'rounds: for round in 0..net.rounds {
        for index in shuffled(settings.cases.len(), round, net.seed) {
            let case = settings.cases[index];
            aside(format_args!("round {} of {}: {case:?}", round + 1, net.rounds));
            let measured = match measure(case, &settings, &place) {
                // Ctrl-C ends the server as well.
                Err(_) if stop::is_asked() => break 'rounds,
                measured => measured?,
            };
            for (name, one) in measured {
                match found.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, rounds)) => rounds.push(one),
                    None => found.push((name, vec![one])),
                }
            }
            if stop::is_asked() {
                break 'rounds;
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| (&a.variant, &a.mode).cmp(&(&b.variant, &b.mode)));
    let rows = found.into_iter().filter_map(|(name, rounds)| row(name, &rounds));
    let mut record = super::record(net, &place, &["lean"], rows.collect());
    record.run.warnings.extend(warning);
    Ok(record)
}

fn measure(case: CrowdCase, settings: &CrowdSettings, place: &Place) -> Result<Rows, BenchError> {
    let net = &settings.net;
    // 1. A server, with every row in its store.
    let dir = place.dir.join("crowd");
    fs::create_dir_all(&dir).map_err(BenchError::io("make a directory for the store"))?;
    let own = [
        format!("max_connections={}", settings.connections + settings.watchers + 1000),
        format!("max_output_mib={}", settings.max_output_mib),
    ];
    let host = Host::start_with(net.connect.as_ref(), &dir, &own)?;
    let runtime = runtime(1)?;
    runtime.block_on(lean::fill(&host.dial, net.keys, net.value_bytes))?;
    // 2. The case.
    let found = match case {
        CrowdCase::Behind => runtime.block_on(behind::measure(&host, settings)),
        CrowdCase::Idle => runtime.block_on(idle::measure(&host, settings)),
        CrowdCase::Watch => watch::measure(&host, settings),
        CrowdCase::Deaf => deaf::measure(&host, settings),
    };
    // 3. Nothing is left of it.
    drop((runtime, host));
    let _ = fs::remove_dir_all(&dir);
    found
}

/// A row's name.
fn name(settings: &CrowdSettings, variant: String, mode: &str, connections: usize) -> Row {
    let net = &settings.net;
    Row {
        workload: "crowd".into(),
        variant,
        engine: "lean".into(),
        mode: mode.into(),
        threads: connections,
        value_bytes: net.value_bytes,
        distribution: "uniform".into(),
        seconds: net.measure_time.as_secs_f64(),
        keys: net.keys,
        ..Row::default()
    }
}

/// Gets of a few clients, one at a time each: what others have beside the crowd.
fn gets(settings: &CrowdSettings, connections: usize) -> Load {
    let net = &settings.net;
    Load {
        work: Work::Get,
        connections,
        in_flight: 1,
        keys: net.keys,
        value_bytes: net.value_bytes,
        seed: net.seed,
        time: net.measure_time,
    }
}

/// Does something, and looks how much memory the server has at most meanwhile.
fn with_peak<T>(host: &Host, work: impl FnOnce() -> T) -> (T, Option<Memory>) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut peak = host.memory();
            while !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
                if let (Some(peak), Some(now)) = (&mut peak, host.memory()) {
                    peak.resident = peak.resident.max(now.resident);
                    peak.own = peak.own.max(now.own);
                }
            }
            peak
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        (done, looking.join().expect("it only reads files"))
    })
}

/// 99th percentile of one against that of the other.
fn p99_ratio(of: &Found, to: &Found) -> f64 {
    let p99 = |found: &Found| found.latency_ns.value_at_quantile(0.99) as f64;
    p99(of) / p99(to).max(1.0)
}
