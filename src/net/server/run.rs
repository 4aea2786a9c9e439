//! The server as a process: from its settings to its end by a signal.
//!
//! ```text
//!   settings, log, addresses, then the store --> READY
//!        serves <---- SIGHUP: reload ----'
//!          '--- SIGTERM, SIGINT: STOPPING, drain, close
//! ```

use std::path::Path;

use super::bound_sockets::BoundSockets;
use super::config::Config;
use super::failure::Failure;
use super::logs::LogFilter;
use super::notify::Notifier;
use super::reload::Reloader;
use super::server::Server;
use super::settings::changed;
use super::sources::Sources;
use crate::{Error, Store};

/// Serves the store in `directory` until SIGTERM or SIGINT. SIGHUP reloads the settings.
///
/// # Errors
/// Any error of starting the server or of closing the store. If an address is taken or a setting is
/// wrong, no store is made.
pub fn serve(directory: &Path, sources: Sources) -> Result<(), Failure> {
    let config = sources.config()?;
    let log_filter = LogFilter::start(&config)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        runtime.worker_threads(config.threads);
    }
    let runtime = runtime.enable_all().thread_name("syncline-serve").build();
    let runtime = runtime.map_err(Failure::io("start the runtime"))?;
    runtime.block_on(run(directory, Reloader { sources, config, log_filter }))
}

async fn run(directory: &Path, mut reloader: Reloader) -> Result<(), Failure> {
    let notifier = Notifier::from_environment();
    let openings = BoundSockets::bind(&reloader.config)?;
    let store = open(directory, &reloader.config)?;
    let mut signals = Signals::begin().map_err(Failure::io("wait for signals"))?;
    tell_start(&store, &reloader.config);
    let server = match Server::start_on(store.clone(), openings, &reloader.config) {
        Ok(server) => server,
        Err(failure) => {
            store.close()?;
            return Err(failure);
        }
    };
    drop(store);
    tell_addresses(&server, &reloader.config);
    notifier.ready();
    loop {
        match signals.next().await {
            Signal::Reload => {
                notifier.reloading();
                reloader.reload(&server);
                notifier.ready();
            }
            Signal::End(signal) => {
                tracing::info!(signal, "ending");
                notifier.stopping();
                break;
            }
        }
    }
    let result = server.stop().await;
    match &result {
        Ok(()) => tracing::info!("the store is closed"),
        Err(Failure::Store(Error::Poisoned { .. })) => {
            tracing::error!("the store is closed with a poisoned log: restart to recover");
        }
        Err(failure) => tracing::error!("{failure}"),
    }
    result
}

fn open(directory: &Path, config: &Config) -> Result<Store, Failure> {
    let store = config.store_options().open(directory)?;
    if store.keyspaces().is_empty() {
        // The keyspace that clients use by default.
        store.keyspace("default")?;
    }
    Ok(store)
}

/// Logs the store, its recovery, and the settings that differ from their defaults.
fn tell_start(store: &Store, config: &Config) {
    let stats = store.stats();
    let (recovery, id, directory) = (&stats.recovery, store.id(), store.directory());
    let version = env!("CARGO_PKG_VERSION");
    let incarnation = stats.watermarks.incarnation.get();
    tracing::info!(version, store = %id, %directory, incarnation, "the store is open");
    let ms = recovery.duration.as_millis();
    if recovery.was_clean {
        tracing::info!(ms, "it had been closed: nothing was recovered");
    } else {
        let (commits, bytes) = (recovery.records_replayed, recovery.bytes_replayed);
        let cut = recovery.bytes_cut;
        tracing::info!(ms, commits, bytes, cut, "it had not been closed: its log was replayed");
    }
    tracing::info!(settings = %changed(config), "all other settings have their defaults");
}

fn tell_addresses(server: &Server, config: &Config) {
    for address in server.addresses() {
        tracing::info!(%address, "listening");
    }
    if let Some(path) = &config.unix {
        tracing::info!(path = %path.display(), "listening");
    }
    if let Some(address) = server.metrics_address() {
        tracing::info!(%address, "metrics");
    }
}

enum Signal {
    Reload,
    End(&'static str),
}

#[cfg(unix)]
struct Signals {
    hang_up: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn begin() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn begin() -> std::io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Signal {
        // If the handler cannot be installed, the process runs until it is killed.
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::End("Ctrl-C"),
            Err(_) => std::future::pending().await,
        }
    }
}
