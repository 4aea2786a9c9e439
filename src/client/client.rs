//! The client: one connection that is always there, or on its way back.
//!
//! ```text
//!   Client --- call ---> the link that is up, or is waited for
//!                           ^
//!   supervisor: attend it; when it ends, connect anew, with back-off
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::address::{Address, Tls};
use super::answer::Answer;
use super::backoff::Backoff;
use super::error::{Error, Result};
use super::greeting::connect;
use super::link::{Link, Parts};
use super::options::ClientOptions;
use crate::lsn::{Incarnation, StoreId};
use crate::proto::{Code, Request};

/// Longer than any process lives: 30 years.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

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

/// Whether a request that may have been done is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It reads, or carries an idempotency key.
    Safe,
    /// It would be done twice.
    Unsafe,
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
        let address: Address = address.parse()?;
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
        let link = self.link(None).await?;
        Ok((link.greeting.store, link.greeting.incarnation))
    }

    /// The server's name and version.
    ///
    /// # Errors
    /// No connection can be made.
    pub async fn server(&self) -> Result<String> {
        Ok(self.link(None).await?.greeting.server.clone())
    }

    /// Asks, and asks again where that is safe.
    pub(super) async fn call(&self, request: &Request<'_>, repeat: Repeat) -> Result<Answer> {
        self.call_for(request, repeat, self.timeout).await
    }

    /// The time that a request may take if its work alone takes `work`.
    pub(super) fn timeout_over(&self, work: Duration) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.saturating_add(work))
    }

    pub(super) async fn call_for(
        &self,
        request: &Request<'_>,
        repeat: Repeat,
        timeout: Option<Duration>,
    ) -> Result<Answer> {
        let until = timeout.map(after);
        let mut backoff = None;
        let mut tries = self.inner.shared.options.tries;
        loop {
            let error = match self.try_call(request, timeout, until).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tries -= 1;
            if tries == 0 || !may_repeat(&error, repeat) {
                return Err(error);
            }
            let backoff = backoff.get_or_insert_with(|| Backoff::new(&self.inner.shared.options));
            let pause = backoff.next();
            if until.is_some_and(|until| until < after(pause)) {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_call(
        &self,
        request: &Request<'_>,
        timeout: Option<Duration>,
        until: Option<Instant>,
    ) -> Result<Answer> {
        let link = self.link(until).await?;
        let (Some(timeout), Some(until)) = (timeout, until) else {
            return link.ask(request, 0).await;
        };
        let left = until.saturating_duration_since(Instant::now());
        let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let asked = tokio::time::timeout(left, link.ask(request, deadline_ms)).await;
        asked.unwrap_or(Err(Error::TimedOut { after: timeout }))
    }

    /// Asks for a stream or watch: on the next connection if this one ends before that is sent.
    pub(super) async fn subscribe(&self, request: &Request<'_>, credit: u32) -> Result<Parts> {
        loop {
            match self.link(None).await?.subscribe(request, credit).await {
                Err(Error::NotSent { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    /// The link that is up. Waits for one for as long as it may take to connect.
    async fn link(&self, until: Option<Instant>) -> Result<Arc<Link>> {
        let shared = &self.inner.shared;
        if let Up::Link(link) = &*shared.state.borrow()
            && link.is_open()
        {
            return Ok(Arc::clone(link));
        }
        let patience = after(shared.options.connect_timeout);
        let patience = until.map_or(patience, |until| until.min(patience));
        let mut state = shared.state.subscribe();
        loop {
            let why = match &*state.borrow_and_update() {
                Up::Link(link) if link.is_open() => return Ok(Arc::clone(link)),
                Up::Link(_) | Up::Down(None) => None,
                Up::Down(Some(error)) if !error.is_retryable() => return Err(error.clone()),
                Up::Down(Some(error)) => Some(error.clone()),
            };
            let changed = tokio::time::timeout_at(patience.into(), state.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let late = || Error::connect(&shared.address, std::io::ErrorKind::TimedOut.into());
                return Err(why.unwrap_or_else(late));
            }
        }
    }
}

/// The moment when `time` is over. A time too long to be added to the clock is a very long one.
fn after(time: Duration) -> Instant {
    Instant::now() + time.min(LONGEST)
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.supervisor.abort();
        if let Up::Link(link) = &*self.shared.state.borrow() {
            link.end("the client is gone");
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

/// Whether a request that came to this is sent again.
fn may_repeat(error: &Error, repeat: Repeat) -> bool {
    match error {
        Error::NotSent { .. } => true,
        Error::Lost { .. } => repeat == Repeat::Safe,
        Error::Server(failure) => {
            let is_passing = matches!(
                failure.code,
                Code::TooBusy | Code::TooManyInFlight | Code::ShuttingDown | Code::CacheExhausted
            );
            is_passing && (repeat == Repeat::Safe || error.is_undone())
        }
        // The connection was waited for already, and the deadline is the caller's own.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Failure;

    #[test]
    fn only_what_is_safe_is_repeated() {
        let lost = Error::Lost { reason: String::new() };
        let not_sent = Error::NotSent { reason: String::new() };
        let server = |code| Error::Server(Failure::new(code, ""));
        let appended = Error::Server(
            Failure::new(Code::ShuttingDown, "").with("job", "a job that is under way"),
        );
        let late = Error::TimedOut { after: Duration::ZERO };
        for (error, read, write) in [
            (&lost, true, false),
            (&not_sent, true, true),
            (&server(Code::TooBusy), true, true),
            (&server(Code::ShuttingDown), true, true),
            (&appended, true, false),
            (&server(Code::Poisoned), false, false),
            (&server(Code::Internal), false, false),
            (&server(Code::Denied), false, false),
            (&late, false, false),
        ] {
            assert_eq!(may_repeat(error, Repeat::Safe), read, "{error}");
            assert_eq!(may_repeat(error, Repeat::Unsafe), write, "{error}");
        }
    }
}
