//! The supervisor keeps a connection: it attends it, and makes the next one when it ends.
//!
//! ```text
//!   connect --> up --> attend --> down --.
//!      ^                                 | a pause, unless the connection lived long enough
//!      '---------------------------------'
//! ```
//!
//! Only the supervisor puts a connection up. The end of the client (its last clone, or the runtime)
//! puts [`Up::Over`] there, after which nothing is put up any more. So nothing is left behind,
//! whichever of the two comes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::backoff::{pause, pauses};
use super::endpoints::Endpoints;
use super::error::{Error, Result};
use super::link::{End, EndsWith, Link};
use super::options::ClientOptions;
use crate::engine::base::lsn::StoreId;

/// After a connection that lived this long, or the longest pause if that is shorter, the next one is
/// made without a pause, and the back-off starts over.
const LONG_LIVED: Duration = Duration::from_secs(5);

/// What a client's clones and its supervisor share.
pub(super) struct Shared {
    pub(super) endpoints: Endpoints,
    pub(super) options: ClientOptions,
    /// The store that was met first.
    pub(super) store: StoreId,
    pub(super) state: watch::Sender<Up>,
    pub(super) counts: Counts,
}

/// The connection that requests are sent on, if there is one.
pub(super) enum Up {
    Link(Arc<Link>),
    /// No connection, and why the last try failed.
    Down(Option<Error>),
    /// No connection any more.
    Over(Error),
}

/// Counts of connections since the client was made.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) made: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// Puts up [`Up::Over`] when the supervisor is gone, even if it never ran.
pub(super) struct Last(pub(super) Arc<Shared>);

impl Shared {
    pub(super) fn new(endpoints: Endpoints, options: ClientOptions, link: Arc<Link>) -> Shared {
        let store = link.greeting.store;
        let counts = Counts { made: AtomicU64::new(1), ..Counts::default() };
        Shared { endpoints, options, store, state: watch::channel(Up::Link(link)).0, counts }
    }

    /// Puts up a new state, unless the client is over. Returns false if it is.
    fn put(&self, up: Up) -> bool {
        self.state.send_if_modified(|now| {
            let goes_on = !matches!(now, Up::Over(_));
            if goes_on {
                *now = up;
            }
            goes_on
        })
    }

    /// Puts up [`Up::Over`]. Returns the connection that was up.
    pub(super) fn finish(&self, why: &str) -> Option<Arc<Link>> {
        let mut last = None;
        self.state.send_if_modified(|now| {
            if matches!(now, Up::Over(_)) {
                return false;
            }
            let over = Up::Over(Error::Closed { reason: why.to_owned() });
            if let Up::Link(link) = std::mem::replace(now, over) {
                last = Some(link);
            }
            true
        });
        last
    }

    /// Connects to the store that was met first, or to any if the options allow it.
    async fn connect(&self) -> Result<Arc<Link>> {
        let expected = (!self.options.any_store).then_some(self.store);
        let link = self.endpoints.connect(&self.options, expected).await;
        let count = if link.is_ok() { &self.counts.made } else { &self.counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
        link
    }

    /// The silence after which the server of this link gets a ping. A server that ends idle
    /// connections gets three before it would.
    pub(super) fn keep_alive(&self, link: &Link) -> Option<Duration> {
        let silence = Some(self.options.keep_alive).filter(|silence| !silence.is_zero())?;
        let idle = Duration::from_millis(u64::from(link.greeting.idle_timeout_ms));
        Some(if idle.is_zero() { silence } else { silence.min(idle / 3) })
    }
}

/// Runs until it is aborted.
pub(super) async fn supervise(last: Last, mut link: Arc<Link>) {
    let shared = &last.0;
    let mut draining = JoinSet::new();
    let mut backoff = pauses(&shared.options);
    let long_lived = shared.options.backoff_max.min(LONG_LIVED);
    loop {
        let keep_alive = shared.keep_alive(&link);
        link.attend(keep_alive).await;
        shared.counts.lost.fetch_add(1, Ordering::Relaxed);
        shared.put(Up::Down(None));
        let was_long_lived = link.begun.elapsed() >= long_lived;
        draining.spawn(Link::see_off(EndsWith(link), keep_alive));
        while draining.try_join_next().is_some() {}
        match was_long_lived {
            true => backoff = pauses(&shared.options),
            false => pause(&mut backoff).await,
        }
        link = loop {
            match shared.connect().await {
                Ok(link) => break link,
                Err(error) => {
                    shared.put(Up::Down(Some(error)));
                }
            }
            pause(&mut backoff).await;
        };
        if !shared.put(Up::Link(Arc::clone(&link))) {
            // The client ended while this connection was being made.
            return link.end(End::gone());
        }
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(link) = self.0.finish("the runtime that the client was made in has ended") {
            link.end(End::gone());
        }
    }
}
