//! The client: one connection, which is made again when it is lost.
//!
//! ```text
//!   Client --- call ---> the link that is up; waits for one if none is
//!                           ^
//!   supervisor: attends it; when it ends, connects again, with back-off
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::address::Address;
use super::deadline::Deadline;
use super::endpoints::Endpoints;
use super::error::{Error, Result};
use super::link::{End, EndsWith, Link};
use super::options::ClientOptions;
use super::parts::Parts;
use super::supervisor::{Last, Shared, Up, supervise};
use crate::engine::base::lsn::{Incarnation, StoreId};
use crate::net::proto::Request;

/// How long requests in flight are answered when a client without a time limit is closed.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// A connection to a server, shared by all its clones and by any number of tasks.
///
/// When it is lost, the client connects again by itself. It then repeats the requests that are safe to
/// repeat: reads, writes with an idempotency key, and those that never left this process.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    timeout: Option<Duration>,
}

impl ClientOptions {
    /// Connects.
    ///
    /// # Errors
    /// A malformed address, no connection, or a server that does not let the client in.
    pub async fn connect(self, address: &str) -> Result<Client> {
        self.connect_any([address]).await
    }

    /// Connects to one of several servers of the same store, tried in this order. When a connection
    /// is lost, the server after it is tried first.
    ///
    /// # Errors
    /// As [`ClientOptions::connect`], of the server that was tried last.
    pub async fn connect_any(
        self,
        addresses: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Client> {
        let addresses = addresses.into_iter().map(|address| address.as_ref().parse());
        Client::start(addresses.collect::<Result<_>>()?, self).await
    }
}

/// Ends the connection with the last clone.
struct Inner {
    shared: Arc<Shared>,
    supervisor: AbortHandle,
}

impl Client {
    /// Connects to `host:port` or `unix:PATH`, without a token and without TLS.
    ///
    /// # Errors
    /// As [`ClientOptions::connect`].
    pub async fn connect(address: &str) -> Result<Client> {
        Client::options().connect(address).await
    }

    /// Options for a connection, for example with a token or TLS.
    pub fn options() -> ClientOptions {
        ClientOptions::default()
    }

    pub(super) async fn start(addresses: Vec<Address>, options: ClientOptions) -> Result<Client> {
        let endpoints = Endpoints::new(addresses, &options)?;
        let link = endpoints.connect(&options, None).await?;
        let timeout = options.request_timeout;
        let shared = Arc::new(Shared::new(endpoints, options, Arc::clone(&link)));
        let last = Last(Arc::clone(&shared));
        let supervisor = tokio::spawn(supervise(last, link)).abort_handle();
        Ok(Client { inner: Arc::new(Inner { shared, supervisor }), timeout })
    }

    /// A client on the same connection, with another deadline for each request and each part of a range.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Client {
        Client { inner: Arc::clone(&self.inner), timeout: Some(timeout) }
    }

    /// Whether the connection is up.
    pub fn is_connected(&self) -> bool {
        matches!(&*self.inner.shared.state.borrow(), Up::Link(link) if link.is_open())
    }

    /// Bytes out and in on the present connection, for benchmarks.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn traffic(&self) -> (u64, u64) {
        match &*self.inner.shared.state.borrow() {
            Up::Link(link) => link.traffic(),
            Up::Down(_) | Up::Over(_) => (0, 0),
        }
    }

    /// The served store and its incarnation, as of the handshake.
    ///
    /// # Errors
    /// No connection can be made.
    pub async fn store(&self) -> Result<(StoreId, Incarnation)> {
        let link = self.link(&Deadline::NONE).await?;
        Ok((link.greeting.store, link.greeting.incarnation))
    }

    /// The server's name and version.
    ///
    /// # Errors
    /// No connection can be made.
    pub async fn server(&self) -> Result<String> {
        Ok(self.link(&Deadline::NONE).await?.greeting.server.clone())
    }

    /// Ends the connection, for all clones. Requests in flight are still answered, for as long as a
    /// request may take. Later requests end with [`Error::Closed`].
    pub async fn close(&self) {
        let link = self.inner.shared.finish("the client was closed");
        self.inner.supervisor.abort();
        let Some(link) = link else { return };
        let patience = self.timeout.unwrap_or(LAST_ANSWERS).as_millis();
        let patience_ms = u32::try_from(patience).unwrap_or(u32::MAX);
        link.drain(&mut link.state.lock(), patience_ms);
        let keep_alive = self.inner.shared.keep_alive(&link);
        Link::see_off(EndsWith(link), keep_alive).await;
    }

    /// The deadline of each request.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn limits(&self) -> &ClientOptions {
        &self.inner.shared.options
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Begins a stream or watch, on the next connection if this one ends before the request is sent.
    pub(super) async fn subscribe(
        &self,
        request: &Request<'_>,
        credit: u32,
        deadline: &Deadline,
    ) -> Result<Parts> {
        loop {
            let link = self.link(deadline).await?;
            let asked = deadline.before_sending(link.subscribe(request, credit)).await;
            match asked {
                Err(Error::NotSent { .. }) if !deadline.is_over_after(Duration::ZERO) => {}
                outcome => return outcome,
            }
        }
    }

    /// The link that is up. Waits for one at most as long as connecting may take.
    pub(super) async fn link(&self, deadline: &Deadline) -> Result<Arc<Link>> {
        let shared = &self.inner.shared;
        if let Up::Link(link) = &*shared.state.borrow()
            && link.is_open()
        {
            return Ok(Arc::clone(link));
        }
        let patience = deadline.at_most(shared.options.connect_timeout);
        let mut state = shared.state.subscribe();
        loop {
            let why = match &*state.borrow_and_update() {
                Up::Link(link) if link.is_open() => return Ok(Arc::clone(link)),
                Up::Link(_) | Up::Down(None) => None,
                Up::Over(error) => return Err(error.clone()),
                Up::Down(Some(error)) if !error.is_retryable() => return Err(error.clone()),
                Up::Down(Some(error)) => Some(error.clone()),
            };
            let changed = tokio::time::timeout_at(patience, state.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let late =
                    || Error::connect(&shared.endpoints, std::io::ErrorKind::TimedOut.into());
                return Err(why.unwrap_or_else(late));
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(link) = self.shared.finish("the client is gone") {
            link.end(End::gone());
        }
        self.supervisor.abort();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.inner.shared.endpoints.to_string();
        f.debug_struct("Client")
            .field("addresses", &address)
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
