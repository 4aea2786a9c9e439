//! Where the server's log lines go: standard error, as text or as JSON.
//!
//! `tracing` with its own subscriber, because a line of a connection carries who it is without
//! each place that logs having to say so; what the engine says through `log` joins it.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use super::config::{Config, LogFormat};
use super::failure::Failure;

/// Begins to log. A process that logs somewhere already goes on as it does.
pub(crate) fn start(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| Failure::Config(format!("log = {:?}: {error}", config.log)))?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let _ = match config.log_format {
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    Ok(())
}
