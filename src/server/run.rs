//! The server as a process: from its configuration to its end by a signal.

use std::path::Path;

use super::config::Config;
use super::failure::Failure;
use super::logs;
use super::server::Server;
use crate::Error;

/// Serves the store in `directory` until the process is told to end (SIGTERM, SIGINT).
///
/// # Errors
/// What keeps the server from starting; what closing the store says.
pub fn serve(directory: &Path, config: &Config) -> Result<(), Failure> {
    logs::start(config)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        runtime.worker_threads(config.threads);
    }
    let runtime = runtime.enable_all().thread_name("syncline-serve").build();
    let runtime = runtime.map_err(Failure::io("start the runtime"))?;
    let store = config.store_options().open(directory)?;
    if store.keyspaces().is_empty() {
        // A new store has what clients use that name none.
        store.keyspace("default")?;
    }
    runtime.block_on(async {
        let server = match Server::start(store.clone(), config).await {
            Ok(server) => server,
            Err(failure) => {
                store.close()?;
                return Err(failure);
            }
        };
        drop(store);
        for address in server.addresses() {
            tracing::info!(%address, "listening");
        }
        if let Some(path) = &config.unix {
            tracing::info!(path = %path.display(), "listening");
        }
        if let Some(address) = server.metrics_address() {
            tracing::info!(%address, "metrics");
        }
        let signal = ended().await.map_err(Failure::io("wait for signals"))?;
        tracing::info!(signal, "ending");
        let result = server.stop().await;
        match &result {
            Ok(()) => tracing::info!("the store is closed"),
            Err(Failure::Store(Error::Poisoned { .. })) => {
                tracing::error!("the store is closed with a poisoned log: start anew to recover");
            }
            Err(failure) => tracing::error!("{failure}"),
        }
        result
    })
}

/// Waits until the process is told to end.
#[cfg(unix)]
async fn ended() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

#[cfg(not(unix))]
async fn ended() -> std::io::Result<&'static str> {
    tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
}
