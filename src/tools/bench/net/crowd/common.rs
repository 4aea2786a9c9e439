//! Settings and measurements that the cases of a crowd share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::super::record::Row;
use super::super::common::{Found, NetSettings};
use super::super::host::{Host, Memory};
use super::super::lean::{Load, Work};

/// Time between two readings of the memory.
const LOOK: Duration = Duration::from_millis(20);

/// A case of `bench crowd`.
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

/// Settings of `bench crowd`.
#[derive(Clone, Debug)]
pub struct CrowdSettings {
    /// Settings of every benchmark of a server.
    pub net: NetSettings,
    /// The cases, each once.
    pub cases: Vec<CrowdCase>,
    /// Connections of `idle` and `deaf`.
    pub connections: usize,
    /// Connections of `watch`.
    pub watchers: usize,
    /// Writes per second that they watch.
    pub jobs_per_s: u32,
    /// Sync puts in flight, of `behind`.
    pub puts: usize,
    /// The server's limit on unread output of all clients, if it is a server of our own.
    pub max_output_mib: u64,
}

/// The rows of a case with their results of one round.
pub(super) type Rows = Vec<(Row, Found)>;

/// A row's name.
pub(super) fn name(
    settings: &CrowdSettings,
    variant: String,
    mode: &str,
    connections: usize,
) -> Row {
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

/// Gets of a few clients beside the crowd, one in flight each.
pub(super) fn gets(settings: &CrowdSettings, connections: usize) -> Load {
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

/// Does `work`, and measures the server's peak of memory meanwhile.
pub(super) fn with_peak<T>(host: &Host, work: impl FnOnce() -> T) -> (T, Option<Memory>) {
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

/// The ratio of the 99th percentiles of two measurements.
pub(super) fn p99_ratio(of: &Found, to: &Found) -> f64 {
    let p99 = |found: &Found| found.latency_ns.value_at_quantile(0.99) as f64;
    p99(of) / p99(to).max(1.0)
}
