//! Where the server's log lines go: standard error, as text or as JSON. The server goes on without
//! whoever reads them.
//!
//! `tracing` with its own subscriber; what the engine says through `log` joins it. What is logged can be
//! changed while the process runs.

use std::fmt;

use tracing_log::AsLog;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::config::{Config, LogFormat};
use super::failure::Failure;

type Exchange = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// What is logged. A process that logs somewhere already goes on as it does, and nothing changes that.
pub(super) struct Levels(Option<Exchange>);

impl Levels {
    /// Begins to log.
    pub(super) fn start(config: &Config) -> Result<Levels, Failure> {
        let filter = filter(&config.log)?;
        let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
        // A line that cannot be written is lost. To say so on standard error would panic.
        let lines = lines.log_internal_errors(false);
        let is_ours = match config.log_format {
            LogFormat::Text => {
                let lines = lines.with_ansi(false);
                let lines = lines.with_env_filter(filter).with_filter_reloading();
                let handle = lines.reload_handle();
                let begun = lines.finish().try_init();
                begun.map(|()| exchange(move |new| handle.reload(new).map_err(|e| e.to_string())))
            }
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true);
                let lines = lines.with_env_filter(filter).with_filter_reloading();
                let handle = lines.reload_handle();
                let begun = lines.finish().try_init();
                begun.map(|()| exchange(move |new| handle.reload(new).map_err(|e| e.to_string())))
            }
        };
        Ok(Levels(is_ours.ok()))
    }

    /// From now on this is logged.
    pub(super) fn change(&self, log: &str) -> Result<(), Failure> {
        let filter = filter(log)?;
        let Some(exchange) = &self.0 else { return Ok(()) };
        exchange(filter).map_err(|why| Failure::Config(format!("log = {log}: {why}")))?;
        // The engine's lines are dropped by this before they come here.
        log::set_max_level(LevelFilter::current().as_log());
        Ok(())
    }
}

fn exchange(
    exchange: impl Fn(EnvFilter) -> Result<(), String> + Send + Sync + 'static,
) -> Exchange {
    Box::new(exchange)
}

fn filter(log: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(log).map_err(|error| Failure::Config(format!("log = {log}: {error}")))
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levels").finish_non_exhaustive()
    }
}
