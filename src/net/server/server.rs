//! A server: a store, its listeners, and everything that runs beside them.
//!
//! ```text
//!   start   listen, then accept
//!   drain   say so where probes ask, for a time; accept no more; tell every connection; wait until
//!           they are through, for a time; cut off the rest; end the pool and the operations
//!   close   the store: everything is made durable, and a last checkpoint is written
//!
//! Probes are answered to the very end: whoever asks whether the process lives must not kill it
//! while it makes things durable.
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

use super::config::Config;
use super::descriptors;
use super::failure::Failure;
use super::gate::Gate;
use super::http::{self, Opening};
use super::listen;
use super::mailbox::Mailbox;
use super::openings::Openings;
use super::pool::Pool;
use super::shared::Shared;
use super::signs;
use super::tls::Tls;
use super::tokens::{Keys, Tokens};
#[cfg(unix)]
use super::unix::SocketFile;
use crate::Store;
use crate::net::service::{Service, Swept};

/// Old idempotency keys are looked for so often.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// The next part of a sweep that was not finished is done after this time.
const SWEEP_ON: Duration = Duration::from_secs(10);
/// Tokens that have expired are looked for so often.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// A server that runs.
pub struct Server {
    inside: Arc<Inside>,
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

/// What connections and the server know of each other.
pub(super) struct Inside {
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Arc<Gate>,
    /// Of those that are told at a time why they are turned away.
    pub(super) told: Arc<Semaphore>,
    next: AtomicU64,
    mailboxes: Mutex<HashMap<u64, Weak<Mailbox>>>,
    is_empty: Notify,
}

impl Inside {
    pub(super) fn enter(&self, mailbox: &Arc<Mailbox>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.mailboxes.lock().insert(number, Arc::downgrade(mailbox));
        number
    }

    pub(super) fn leave(&self, number: u64) {
        let mut mailboxes = self.mailboxes.lock();
        mailboxes.remove(&number);
        if mailboxes.is_empty() {
            self.is_empty.notify_waiters();
        }
    }

    fn tell_all(&self, tell: fn(&Mailbox)) {
        let mailboxes: Vec<_> = self.mailboxes.lock().values().cloned().collect();
        mailboxes.iter().filter_map(Weak::upgrade).for_each(|mailbox| tell(&mailbox));
    }

    /// Waits until nobody is inside.
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
    /// Serves `store` as `config` says. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Failure::Config`] for what is not safe, and whatever keeps it from listening.
    pub async fn start(store: Store, config: &Config) -> Result<Server, Failure> {
        Server::start_on(store, Openings::bind(config)?, config)
    }

    /// Serves `store` on what is open already.
    pub(super) fn start_on(
        store: Store,
        openings: Openings,
        config: &Config,
    ) -> Result<Server, Failure> {
        let Openings { tcp, http, tls, tokens, .. } = openings;
        // 1. What connections need.
        let mut caps = config.caps();
        let places = descriptors::places(caps.connections)?;
        caps.connections = places.connections;
        let service = Arc::new(Service::new(store)?);
        let pool = Pool::start(config.pool_threads, config.pool_queue)
            .map_err(Failure::io("start the pool's threads"))?;
        let inside = Arc::new(Inside {
            shared: Arc::new(Shared::new(service, pool, config.limits(), Keys::new(tokens))),
            gate: Gate::new(caps),
            told: Arc::new(Semaphore::new(places.told)),
            next: AtomicU64::new(0),
            mailboxes: Mutex::default(),
            is_empty: Notify::new(),
        });
        // 2. The listeners.
        let address = |listener: &tokio::net::TcpListener| {
            listener.local_addr().map_err(Failure::io("find out where it listens"))
        };
        let mut server = Server {
            addresses: tcp.iter().map(address).collect::<Result<_, _>>()?,
            metrics: http.as_ref().map(Opening::address).transpose()?,
            tls: None,
            #[cfg(unix)]
            unix: None,
            tasks: Vec::new(),
            http: None,
            end: watch::Sender::new(false),
            inside,
        };
        #[cfg(unix)]
        if let Some((listener, file)) = openings.unix {
            server.unix = Some(file);
            server.spawn(listen::accept_unix(listener, Arc::clone(&server.inside)));
        }
        for listener in tcp {
            server.spawn(listen::accept_tcp(listener, tls.clone(), Arc::clone(&server.inside)));
        }
        server.tls = tls;
        if let Some(opening) = http {
            let shared = Arc::clone(&server.inside.shared);
            let serving = http::run(opening, places.http, shared, server.end.subscribe());
            server.http = Some(tokio::spawn(serving));
        }
        server.spawn(watch_tokens(Arc::clone(&server.inside)));
        server.spawn(Arc::clone(&server.inside.shared.watermarks).run());
        server.spawn(signs::tell_of_poison(Arc::clone(&server.inside.shared)));
        if config.slow_flush_ms > 0 {
            let slow = Duration::from_millis(config.slow_flush_ms);
            server.spawn(signs::tell_of_slow_flushes(Arc::clone(&server.inside.shared), slow));
        }
        let age = Duration::from_secs(config.once_hours.saturating_mul(3600));
        server.spawn(sweep(Arc::clone(&server.inside.shared), age));
        Ok(server)
    }

    /// Lets in by these tokens from now on. Those who came in by one that is gone have to go.
    ///
    /// # Errors
    /// [`Failure::Config`] if there were none and are some now, or the other way round: whether a
    /// token is needed does not change while the server runs.
    pub(super) fn exchange_tokens(&self, tokens: Option<Tokens>) -> Result<(), Failure> {
        let keys = &self.inside.shared.keys;
        match tokens {
            None if keys.are_needed() => Err(only_at_start("tokens")),
            None => Ok(()),
            Some(tokens) => {
                if !keys.replace(tokens) {
                    return Err(only_at_start("tokens"));
                }
                self.inside.tell_all(Mailbox::withdrawn);
                Ok(())
            }
        }
    }

    /// Speaks TLS by this certificate from now on.
    ///
    /// # Errors
    /// [`Failure::Config`], as of tokens.
    pub(super) fn exchange_tls(&self, tls: Option<Tls>) -> Result<(), Failure> {
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

    /// The TCP addresses that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.inside.gate.connections()
    }

    /// The memory of what clients have not read yet.
    #[cfg(test)]
    pub(crate) fn unread_bytes(&self) -> usize {
        self.inside.shared.budget.held()
    }

    /// The memory of packets that clients have not finished.
    #[cfg(test)]
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.inside.shared.room.held()
    }

    /// Where the metrics are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Ends the server: what is in flight is finished, as long as the configuration allows, and
    /// the store is closed.
    ///
    /// # Errors
    /// What closing the store says.
    pub async fn stop(self) -> Result<(), Failure> {
        // 1. Whoever sends clients here is told first; then nobody comes in any more.
        self.inside.shared.readiness.drain();
        if self.http.is_some() {
            tokio::time::sleep(self.inside.shared.limits.notice).await;
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        for task in self.tasks {
            let _ = task.await;
        }
        #[cfg(unix)]
        drop(self.unix);
        // 2. Those who are inside finish what they have begun.
        let connections = self.inside.gate.connections();
        tracing::info!(connections, "draining");
        self.inside.tell_all(Mailbox::drain);
        let patience = self.inside.shared.limits.drain;
        if tokio::time::timeout(patience, self.inside.emptied()).await.is_err() {
            tracing::warn!(connections = self.inside.gate.connections(), "cut off");
            self.inside.tell_all(Mailbox::cut_off);
        }
        // 3. What threads have begun comes to its end, and everything is made durable.
        let shared = Arc::clone(&self.inside.shared);
        drop(self.inside);
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
    Failure::Config(format!("to begin with {what}, or to do without, takes a new start"))
}

/// Has those go whose tokens expire.
async fn watch_tokens(inside: Arc<Inside>) {
    loop {
        tokio::time::sleep(EXPIRE_EVERY).await;
        if inside.shared.keys.expire(SystemTime::now()) {
            inside.tell_all(Mailbox::withdrawn);
        }
    }
}

/// Forgets old idempotency keys, now and then.
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
                tracing::info!(keys, "old idempotency keys are forgotten");
            }
            Err(error) => tracing::warn!("old idempotency keys: {error}"),
        });
    }
}
