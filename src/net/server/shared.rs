//! What all connections of a server share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::claim::Room;
use super::http::Readiness;
use super::metrics::Metrics;
use super::peer::Peer;
use super::pool::Pool;
use super::seldom::Seldom;

use super::tokens::{Keys, Refused};
use super::watermarks::WatermarkWatcher;
use crate::net::proto::HEADER;
use crate::net::service::Service;

/// Logins that failed are logged: so many at once, and then one in a time.
const FAILED_AT_ONCE: u32 = 10;
const FAILED_EVERY: Duration = Duration::from_secs(5);
/// Connections that are turned away are logged as often as this at most.
const TURNED_AWAY_EVERY: Duration = Duration::from_secs(10);

/// What all connections share. Constant after construction, but for what guards itself.
pub(crate) struct Shared {
    pub(crate) service: Arc<Service>,
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) room: Arc<Room>,
    pub(crate) keys: Keys,
    /// Logins that failed, for the log.
    failed_logins: Seldom,
    /// Connections that were turned away, for the log.
    turned_away: Seldom,
    pub(crate) metrics: Metrics,
    pub(crate) watermarks: Arc<WatermarkWatcher>,
    pub(crate) readiness: Readiness,
}

/// How much is given to a connection, and how long it is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The longest body of a packet.
    pub(crate) max_packet_bytes: u32,
    /// Connections in all.
    pub(crate) max_connections: usize,
    /// Requests that may wait for a thread of the pool.
    pub(crate) pool_queue: usize,
    /// Requests of a connection that are under way.
    pub(crate) max_in_flight: usize,
    /// Streams and watches of a connection.
    pub(crate) max_subscriptions: usize,
    /// With so much to be written, and with so much to be done, nothing more is read.
    pub(crate) max_output_bytes: usize,
    /// The same for all connections together.
    pub(crate) max_output_in_all: usize,
    /// Memory of unfinished packets of all connections together.
    pub(crate) max_input_in_all: usize,
    /// Time for the handshake.
    pub(crate) handshake: Duration,
    /// Time without a packet while nothing is in flight.
    pub(crate) idle: Option<Duration>,
    /// Time for a packet that has begun.
    pub(crate) packet: Duration,
    /// Time in which a client takes some of what it is sent.
    pub(crate) write: Duration,
    /// Time for what is in flight when the server ends.
    pub(crate) drain: Duration,
    /// Time for which it is told that the server is about to end, before it begins to.
    pub(crate) notice: Duration,
    /// Time for which a stream may keep its snapshot.
    pub(crate) stream: Duration,
    /// Time for which a request waits for the memory of its answer.
    pub(crate) memory: Duration,
    /// A write that waits for so long is a stall.
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
    pub(crate) fn new(service: Arc<Service>, pool: Pool, limits: Limits, keys: Keys) -> Shared {
        let watermarks = Arc::new(WatermarkWatcher::new(Arc::clone(&service)));
        let budget = Budget::new(limits.max_output_in_all);
        let longest = limits.max_packet_bytes as usize + HEADER;
        let room = Room::new(limits.max_input_in_all.max(longest));
        let failed_logins = Seldom::new(FAILED_AT_ONCE, FAILED_EVERY);
        let turned_away = Seldom::new(1, TURNED_AWAY_EVERY);
        let (metrics, readiness) = (Metrics::default(), Readiness::default());
        Shared {
            service,
            pool,
            limits,
            budget,
            room,
            keys,
            failed_logins,
            turned_away,
            metrics,
            watermarks,
            readiness,
        }
    }

    /// Takes note that somebody did not come in.
    pub(crate) fn login_failed(&self, peer: Peer, refused: &Refused) {
        self.metrics.logins_failed.inc();
        if let Some(kept_back) = self.failed_logins.pass() {
            tracing::warn!(%peer, kept_back, "login failed: {refused}");
        }
    }

    /// Takes note that there was no room for a connection.
    pub(crate) fn turned_away(&self, address: Option<IpAddr>, why: &str) {
        if let Some(kept_back) = self.turned_away.pass() {
            let address = address.map_or_else(|| "a Unix socket".into(), |ip| ip.to_string());
            tracing::warn!(address, kept_back, "a connection was turned away: {why}");
        }
    }
}
