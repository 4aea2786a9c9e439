//! What a client's connection is like, for those who want to watch it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::client::Client;
use super::error::Error;
use super::supervisor::Up;
use crate::engine::base::lsn::{Incarnation, StoreId};

/// The connection of a client, at a moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Connection {
    /// It is there.
    Up {
        /// The store that is served.
        store: StoreId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// It is not; the next one is being made.
    Down {
        /// Why the last try failed, if there was one since it ended.
        error: Option<Error>,
    },
    /// There will be none any more.
    Closed,
}

/// Figures of a client's connections since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionFigures {
    /// Connections that were made, the first one included.
    pub made: u64,
    /// Tries to make one that failed.
    pub failed: u64,
    /// Connections that ended, or that a server ended.
    pub lost: u64,
}

/// The changes of a client's connection. What comes too fast is passed over: the newest is told.
/// It does not keep the connection.
pub struct ConnectionEvents {
    state: watch::Receiver<Up>,
    /// [`Connection::Closed`] has been told.
    is_over: bool,
}

impl Client {
    /// What the connection is like now.
    pub fn connection(&self) -> Connection {
        Connection::of(&self.shared().state.borrow())
    }

    /// What became of connections so far.
    pub fn connection_figures(&self) -> ConnectionFigures {
        let counts = &self.shared().counts;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ConnectionFigures {
            made: count(&counts.made),
            failed: count(&counts.failed),
            lost: count(&counts.lost),
        }
    }

    /// Asks to be told when the connection changes, from now on.
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
