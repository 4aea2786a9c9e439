//! The client: one connection that is always there, or on its way back.
//!
//! ```text
//!   Client --- call ---> the link that is up, or is waited for
//!                           ^
//!   supervisor: attend it; when it ends, connect anew, with back-off
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::address::{Address, Tls};
use super::backoff::Backoff;
use super::deadline::Deadline;
use super::error::{Error, Result};
use super::greeting::connect;
use super::link::{End, Link, Parts};
use super::options::ClientOptions;
use crate::lsn::{Incarnation, StoreId};
use crate::proto::Request;

/// A connection to a server, shared by all its clones and by any number of tasks.
///
/// It comes back by itself when it is lost. What was under way then is tried again where that is
/// safe: reads, writes with an idempotency key, and whatever never left this process.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    timeout: Option<Duration>,
}

/// Ends the connection with the last clone.
struct Inner {
    shared: Arc<Shared>,
    supervisor: AbortHandle,
}

struct Shared {
    address: Address,
    tls: Option<Tls>,
    options: ClientOptions,
    state: watch::Sender<Up>,
}

/// What there is to send requests on.
enum Up {
    Link(Arc<Link>),
    /// Nothing, and why the last try failed.
    Down(Option<Error>),
}

impl Client {
    /// Connects to `host:port` or `unix:PATH`, without token and TLS.
    ///
    /// # Errors
    /// As [`ClientOptions::connect`].
    pub async fn connect(address: &str) -> Result<Client> {
        Client::options().connect(address).await
    }

    /// How to connect otherwise.
    pub fn options() -> ClientOptions {
        ClientOptions::default()
    }

    pub(super) async fn start(address: &str, options: ClientOptions) -> Result<Client> {
        Client::start_at(address.parse()?, options).await
    }

    pub(super) async fn start_at(address: Address, options: ClientOptions) -> Result<Client> {
        let tls = address.tls(&options)?;
        let link = connect(&address, tls.as_ref(), &options).await?;
        let timeout = options.request_timeout;
        let (state, _) = watch::channel(Up::Link(Arc::clone(&link)));
        let shared = Arc::new(Shared { address, tls, options, state });
        let supervisor = tokio::spawn(supervise(Arc::clone(&shared), link)).abort_handle();
        Ok(Client { inner: Arc::new(Inner { shared, supervisor }), timeout })
    }

    /// The same connection with another deadline for each request.
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
            Up::Down(_) => (0, 0),
        }
    }

    /// The store that is served, and its life: as they were when the connection was made.
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

    /// The time that each request may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn limits(&self) -> &ClientOptions {
        &self.inner.shared.options
    }

    /// Asks for a stream or watch: on the next connection if this one ends before that is sent.
    pub(super) async fn subscribe(&self, request: &Request<'_>, credit: u32) -> Result<Parts> {
        loop {
            match self.link(&Deadline::NONE).await?.subscribe(request, credit).await {
                Err(Error::NotSent { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    /// The link that is up. Waits for one for as long as it may take to connect.
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
                Up::Down(Some(error)) if !error.is_retryable() => return Err(error.clone()),
                Up::Down(Some(error)) => Some(error.clone()),
            };
            let changed = tokio::time::timeout_at(patience, state.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let late = || Error::connect(&shared.address, std::io::ErrorKind::TimedOut.into());
                return Err(why.unwrap_or_else(late));
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.supervisor.abort();
        if let Up::Link(link) = &*self.shared.state.borrow() {
            link.end(End::Cut("the client is gone".into()));
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.inner.shared.address.to_string();
        f.debug_struct("Client")
            .field("address", &address)
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

async fn supervise(shared: Arc<Shared>, mut link: Arc<Link>) {
    loop {
        // A server that ends idle connections is asked three times before it would.
        let idle = Duration::from_millis(u64::from(link.greeting.idle_timeout_ms));
        let keep_alive = match idle.is_zero() {
            true => shared.options.keep_alive,
            false => shared.options.keep_alive.min(idle / 3),
        };
        link.attend(keep_alive).await;
        drop(shared.state.send_replace(Up::Down(None)));
        let mut backoff = Backoff::new(&shared.options);
        link = loop {
            match connect(&shared.address, shared.tls.as_ref(), &shared.options).await {
                Ok(link) => break link,
                Err(error) => drop(shared.state.send_replace(Up::Down(Some(error)))),
            }
            tokio::time::sleep(backoff.next()).await;
        };
        drop(shared.state.send_replace(Up::Link(Arc::clone(&link))));
    }
}
