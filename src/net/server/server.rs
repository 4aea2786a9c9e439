//! A server: a store, its listeners, and its background tasks.
//!
//! ```text
//!   start   listen, then accept
//!   drain   announce it on /readyz for a time; stop accepting; notify every connection; wait for
//!           them, for a time; cut off the rest; end the pool and the long operations
//!   close   the store: everything is made durable, and a last checkpoint is written
//! ```
//!
//! Probes are answered to the very end: otherwise a supervisor might kill the process while it makes
//! data durable.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use super::admission::Admission;
use super::bound_sockets::BoundSockets;
use super::config::Config;
use super::descriptors;
use super::device_watch;
use super::failure::Failure;
use super::http::{self, HttpListener};
use super::listen;
use super::mailbox::Mailbox;
use super::pool::Pool;
use super::shared::Shared;
use super::tls::Tls;
use super::tokens::{Authenticator, Tokens};
#[cfg(unix)]
use super::unix::SocketFile;
use crate::Store;
use crate::net::service::{Service, Swept};

/// Time between two sweeps of old idempotency keys.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Time between two parts of one sweep.
const SWEEP_ON: Duration = Duration::from_secs(10);
/// Time between two searches for expired tokens.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// A running server.
pub struct Server {
    state: Arc<ServerState>,
    addresses: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    tls: Option<Tls>,
    #[cfg(unix)]
    unix: Option<SocketFile>,
    tasks: Vec<JoinHandle<()>>,
    http: Option<JoinHandle<()>>,
    /// Ends `http`.
    end: watch::Sender<bool>,
}

/// The state that the server shares with its accept loops and connections.
pub(super) struct ServerState {
    pub(super) shared: Arc<Shared>,
    pub(super) admission: Arc<Admission>,
    /// Limits how many tasks at a time tell a client why it is turned away.
    pub(super) refusals: Arc<Semaphore>,
    next: AtomicU64,
    mailboxes: Mutex<HashMap<u64, Weak<Mailbox>>>,
    is_empty: Notify,
}

impl ServerState {
    pub(super) fn register(&self, mailbox: &Arc<Mailbox>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.mailboxes.lock().insert(number, Arc::downgrade(mailbox));
        number
    }

    pub(super) fn unregister(&self, number: u64) {
        let mut mailboxes = self.mailboxes.lock();
        mailboxes.remove(&number);
        if mailboxes.is_empty() {
            self.is_empty.notify_waiters();
        }
    }

    fn notify_all(&self, tell: fn(&Mailbox)) {
        let mailboxes: Vec<_> = self.mailboxes.lock().values().cloned().collect();
        mailboxes.iter().filter_map(Weak::upgrade).for_each(|mailbox| tell(&mailbox));
    }

    /// Waits until no connection is registered.
    async fn emptied(&self) {
        loop {
            let empty = self.is_empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if self.mailboxes.lock().is_empty() {
                return;
            }
            empty.await;
        }
    }
}

impl Server {
    /// Serves `store` as configured. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Failure::Config`] for a configuration that is unsafe, and any error of binding the addresses.
    pub async fn start(store: Store, config: &Config) -> Result<Server, Failure> {
        Server::start_on(store, BoundSockets::bind(config)?, config)
    }

    /// Serves `store` on sockets that are bound already.
    pub(super) fn start_on(
        store: Store,
        sockets: BoundSockets,
        config: &Config,
    ) -> Result<Server, Failure> {
        let BoundSockets { tcp, http, tls, tokens, .. } = sockets;
        // 1. The shared state of connections.
        let mut caps = config.caps();
        let quota = descriptors::quota(caps.connections)?;
        caps.connections = quota.connections;
        let service = Arc::new(Service::new(store)?);
        let pool = Pool::start(config.pool_threads, config.pool_queue)
            .map_err(Failure::io("start the pool's threads"))?;
        let state = Arc::new(ServerState {
            shared: Arc::new(Shared::new(
                service,
                pool,
                config.limits(),
                Authenticator::new(tokens),
            )),
            admission: Admission::new(caps),
            refusals: Arc::new(Semaphore::new(quota.refusals)),
            next: AtomicU64::new(0),
            mailboxes: Mutex::default(),
            is_empty: Notify::new(),
        });
        // 2. The listeners.
        let address = |listener: &tokio::net::TcpListener| {
            listener.local_addr().map_err(Failure::io("get the address of a listening socket"))
        };
        let mut server = Server {
            addresses: tcp.iter().map(address).collect::<Result<_, _>>()?,
            metrics: http.as_ref().map(HttpListener::address).transpose()?,
            tls: None,
            #[cfg(unix)]
            unix: None,
            tasks: Vec::new(),
            http: None,
            end: watch::Sender::new(false),
            state,
        };
        #[cfg(unix)]
        if let Some((listener, file)) = sockets.unix {
            server.unix = Some(file);
            server.spawn(listen::accept_unix(listener, Arc::clone(&server.state)));
        }
        for listener in tcp {
            server.spawn(listen::accept_tcp(listener, tls.clone(), Arc::clone(&server.state)));
        }
        server.tls = tls;
        if let Some(listener) = http {
            let shared = Arc::clone(&server.state.shared);
            let serving = http::run(listener, quota.http, shared, server.end.subscribe());
            server.http = Some(tokio::spawn(serving));
        }
        server.spawn(watch_tokens(Arc::clone(&server.state)));
        server.spawn(Arc::clone(&server.state.shared.watermarks).run());
        server.spawn(device_watch::report_poison(Arc::clone(&server.state.shared)));
        if config.slow_flush_ms > 0 {
            let slow = Duration::from_millis(config.slow_flush_ms);
            server.spawn(device_watch::report_slow_flushes(Arc::clone(&server.state.shared), slow));
        }
        let age = Duration::from_secs(config.once_hours.saturating_mul(3600));
        server.spawn(sweep(Arc::clone(&server.state.shared), age));
        Ok(server)
    }

    /// Replaces the tokens. Connections whose token is gone are ended.
    ///
    /// # Errors
    /// [`Failure::Config`] if there were no tokens before, or are none now: whether a token is needed
    /// does not change while the server runs.
    pub(super) fn replace_tokens(&self, tokens: Option<Tokens>) -> Result<(), Failure> {
        let authenticator = &self.state.shared.authenticator;
        match tokens {
            None if authenticator.is_required() => Err(only_at_start("tokens")),
            None => Ok(()),
            Some(tokens) => {
                if !authenticator.replace(tokens) {
                    return Err(only_at_start("tokens"));
                }
                self.state.notify_all(Mailbox::withdrawn);
                Ok(())
            }
        }
    }

    /// Replaces the certificate for new connections.
    ///
    /// # Errors
    /// [`Failure::Config`] if TLS was off and is now on, or the reverse.
    pub(super) fn replace_tls(&self, tls: Option<Tls>) -> Result<(), Failure> {
        match (&self.tls, tls) {
            (None, None) => Ok(()),
            (Some(before), Some(now)) => {
                before.replace(&now);
                Ok(())
            }
            _ => Err(only_at_start("TLS")),
        }
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    /// The TCP addresses of the server.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Number of open connections.
    pub fn connections(&self) -> usize {
        self.state.admission.connections()
    }

    /// Bytes of memory for output that clients have not read yet.
    #[cfg(test)]
    pub(crate) fn unread_bytes(&self) -> usize {
        self.state.shared.output_budget.held()
    }

    /// Bytes of memory for packets that clients have not finished.
    #[cfg(test)]
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.state.shared.input_budget.held()
    }

    /// The address of `/metrics`.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Stops the server: finishes requests in flight, for as long as the configuration allows, and
    /// closes the store.
    ///
    /// # Errors
    /// Any error of closing the store.
    pub async fn stop(self) -> Result<(), Failure> {
        // 1. Load balancers learn of the drain from `/readyz`; then no more connections are accepted.
        self.state.shared.readiness.drain();
        if self.http.is_some() {
            tokio::time::sleep(self.state.shared.limits.notice).await;
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        for task in self.tasks {
            let _ = task.await;
        }
        #[cfg(unix)]
        drop(self.unix);
        // 2. Connections finish their requests in flight.
        let connections = self.state.admission.connections();
        tracing::info!(connections, "draining");
        self.state.notify_all(Mailbox::drain);
        let patience = self.state.shared.limits.drain;
        if tokio::time::timeout(patience, self.state.emptied()).await.is_err() {
            let connections = self.state.admission.connections();
            tracing::warn!(connections, "the drain took too long: connections are cut off");
            self.state.notify_all(Mailbox::cut_off);
        }
        // 3. Tasks of the pool finish, and everything is made durable.
        let shared = Arc::clone(&self.state.shared);
        drop(self.state);
        let closing = tokio::task::spawn_blocking(move || {
            shared.pool.close();
            shared.service.close();
            shared.service.store().clone().close()
        });
        let closed = closing.await.map_err(|error| Failure::Io {
            action: "close the store".into(),
            source: std::io::Error::other(error),
        });
        self.end.send_replace(true);
        if let Some(http) = self.http {
            let _ = http.await;
        }
        Ok(closed??)
    }
}

fn only_at_start(what: &str) -> Failure {
    Failure::Config(format!("turning {what} on or off needs a restart of the server"))
}

/// Ends connections whose token expires.
async fn watch_tokens(state: Arc<ServerState>) {
    loop {
        tokio::time::sleep(EXPIRE_EVERY).await;
        if state.shared.authenticator.expire(SystemTime::now()) {
            state.notify_all(Mailbox::withdrawn);
        }
    }
}

/// Deletes old idempotency keys periodically.
async fn sweep(shared: Arc<Shared>, age: Duration) {
    let lane = shared.pool.lane();
    let more = Arc::new(AtomicBool::new(false));
    loop {
        let is_unfinished = more.swap(false, Ordering::Relaxed);
        tokio::time::sleep(if is_unfinished { SWEEP_ON } else { SWEEP_EVERY }).await;
        let (service, more) = (Arc::clone(&shared.service), Arc::clone(&more));
        let _ = shared.pool.submit(lane, move || match service.sweep_once(age) {
            Ok(Swept { keys: 0, .. }) => {}
            Ok(Swept { keys, is_unfinished }) => {
                more.store(is_unfinished, Ordering::Relaxed);
                tracing::info!(keys, "deleted old idempotency keys");
            }
            Err(error) => tracing::warn!("cannot delete old idempotency keys: {error}"),
        });
    }
}
