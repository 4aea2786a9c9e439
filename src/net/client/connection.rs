//! The state of a client's connection, and a watch of it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::client::Client;
use super::error::Error;
use super::supervisor::Up;
use crate::engine::base::lsn::{Incarnation, StoreId};

/// The state of a client's connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Connection {
    /// It is up.
    Up {
        /// The served store.
        store: StoreId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// It is down; the next one is being made.
    Down {
        /// Why the last try failed, if there was one since it ended.
        error: Option<Error>,
    },
    /// The client is closed.
    Closed,
}

/// Counts of a client's connections since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionFigures {
    /// Connections that were made, the first one included.
    pub made: u64,
    /// Tries to connect that failed.
    pub failed: u64,
    /// Connections that ended, or that a server ended.
    pub lost: u64,
}

/// The changes of a client's connection. A slow reader gets only the newest. It does not keep the
/// connection open.
pub struct ConnectionEvents {
    state: watch::Receiver<Up>,
    /// [`Connection::Closed`] has been told.
    is_over: bool,
}

impl Client {
    /// The present state of the connection.
    pub fn connection(&self) -> Connection {
        Connection::of(&self.shared().state.borrow())
    }

    /// Counts of connections so far.
    pub fn connection_figures(&self) -> ConnectionFigures {
        let counts = &self.shared().counts;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ConnectionFigures {
            made: count(&counts.made),
            failed: count(&counts.failed),
            lost: count(&counts.lost),
        }
    }

    /// Watches the connection for changes from now on.
    pub fn watch_connection(&self) -> ConnectionEvents {
        ConnectionEvents { state: self.shared().state.subscribe(), is_over: false }
    }
}

impl ConnectionEvents {
    /// The next change. `None` after [`Connection::Closed`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Connection> {
        if self.is_over {
            return None;
        }
        let now = match self.state.changed().await {
            Ok(()) => Connection::of(&self.state.borrow_and_update()),
            Err(_) => Connection::Closed,
        };
        self.is_over = matches!(now, Connection::Closed);
        Some(now)
    }
}

impl Connection {
    fn of(up: &Up) -> Connection {
        match up {
            Up::Link(link) if link.is_open() => Connection::Up {
                store: link.greeting.store,
                incarnation: link.greeting.incarnation,
            },
            Up::Link(_) => Connection::Down { error: None },
            Up::Down(error) => Connection::Down { error: error.clone() },
            Up::Over(_) => Connection::Closed,
        }
    }
}
