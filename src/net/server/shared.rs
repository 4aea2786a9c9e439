//! The state that all connections of a server share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::http::Readiness;
use super::input_budget::InputBudget;
use super::log_limiter::LogLimiter;
use super::metrics::Metrics;
use super::output_budget::OutputBudget;
use super::peer::Peer;
use super::pool::Pool;
use super::tokens::{Authenticator, LoginError};
use super::watermarks::WatermarkWatcher;
use crate::net::proto::HEADER;
use crate::net::service::Service;

/// Burst and period of log lines for failed logins.
const FAILED_AT_ONCE: u32 = 10;
const FAILED_EVERY: Duration = Duration::from_secs(5);
/// Period of log lines for connections turned away.
const TURNED_AWAY_EVERY: Duration = Duration::from_secs(10);

/// The shared state. Constant after construction, except for parts with their own synchronisation.
pub(crate) struct Shared {
    pub(crate) service: Arc<Service>,
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
    pub(crate) output_budget: Arc<OutputBudget>,
    pub(crate) input_budget: Arc<InputBudget>,
    pub(crate) authenticator: Authenticator,
    failed_logins: LogLimiter,
    turned_away: LogLimiter,
    pub(crate) metrics: Metrics,
    pub(crate) watermarks: Arc<WatermarkWatcher>,
    pub(crate) readiness: Readiness,
}

/// Limits on what connections may use, and on how long the server waits for them.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The longest body of a packet.
    pub(crate) max_packet_bytes: u32,
    /// Connections in all.
    pub(crate) max_connections: usize,
    /// Requests that may wait for a thread of the pool.
    pub(crate) pool_queue: usize,
    /// Requests of a connection that are in flight.
    pub(crate) max_in_flight: usize,
    /// Streams and watches of a connection.
    pub(crate) max_subscriptions: usize,
    /// Unread output, and queued requests, of a connection above which it is not read.
    pub(crate) max_output_bytes: usize,
    /// Unread output of all connections together.
    pub(crate) max_output_in_all: usize,
    /// Unfinished packets of all connections together, in bytes.
    pub(crate) max_input_in_all: usize,
    /// Time for the handshake.
    pub(crate) handshake: Duration,
    /// Time without a packet while nothing is in flight.
    pub(crate) idle: Option<Duration>,
    /// Time for a packet that has begun.
    pub(crate) packet: Duration,
    /// Time in which a client must read some of its output.
    pub(crate) write: Duration,
    /// Time for requests in flight when the server stops.
    pub(crate) drain: Duration,
    /// Time between the announcement of the drain on `/readyz` and its beginning.
    pub(crate) notice: Duration,
    /// Time for which a stream may keep its snapshot.
    pub(crate) stream: Duration,
    /// Time for which a request waits for the memory of its answer.
    pub(crate) memory: Duration,
    /// A write that waits longer is a stall.
    pub(crate) stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_packet_bytes: crate::net::proto::MAX_BODY,
            max_connections: 20_000,
            pool_queue: 4096,
            max_in_flight: 4096,
            max_subscriptions: 64,
            max_output_bytes: 64 << 10,
            max_output_in_all: 256 << 20,
            max_input_in_all: 256 << 20,
            handshake: Duration::from_secs(5),
            idle: Some(Duration::from_secs(600)),
            packet: Duration::from_secs(30),
            write: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            notice: Duration::from_secs(1),
            stream: Duration::from_secs(60),
            memory: Duration::from_secs(10),
            stall: Duration::from_secs(5),
        }
    }
}

impl Shared {
    pub(crate) fn new(
        service: Arc<Service>,
        pool: Pool,
        limits: Limits,
        authenticator: Authenticator,
    ) -> Shared {
        let watermarks = Arc::new(WatermarkWatcher::new(Arc::clone(&service)));
        let output_budget = OutputBudget::new(limits.max_output_in_all);
        let longest = limits.max_packet_bytes as usize + HEADER;
        let input_budget = InputBudget::new(limits.max_input_in_all.max(longest));
        let failed_logins = LogLimiter::new(FAILED_AT_ONCE, FAILED_EVERY);
        let turned_away = LogLimiter::new(1, TURNED_AWAY_EVERY);
        let (metrics, readiness) = (Metrics::default(), Readiness::default());
        Shared {
            service,
            pool,
            limits,
            output_budget,
            input_budget,
            authenticator,
            failed_logins,
            turned_away,
            metrics,
            watermarks,
            readiness,
        }
    }

    /// Counts and logs a failed login. `kept_back` is the number of lines suppressed before it.
    pub(crate) fn login_failed(&self, peer: Peer, error: &LoginError) {
        self.metrics.logins_failed.inc();
        if let Some(kept_back) = self.failed_logins.admit() {
            tracing::warn!(%peer, kept_back, "login failed: {error}");
        }
    }

    /// Logs a connection that was turned away.
    pub(crate) fn turned_away(&self, address: Option<IpAddr>, why: &str) {
        if let Some(kept_back) = self.turned_away.admit() {
            let address = address.map_or_else(|| "a Unix socket".into(), |ip| ip.to_string());
            tracing::warn!(address, kept_back, "a connection was turned away: {why}");
        }
    }
}
