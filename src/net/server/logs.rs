//! The server's log: lines on standard error, as text or as JSON. Lines that cannot be written are lost.
//!
//! `tracing` with its own subscriber, which also takes the engine's lines from `log`. The filter can be
//! replaced while the process runs.

use std::fmt;

use tracing_log::AsLog;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::config::{Config, LogFormat};
use super::failure::Failure;

type Exchange = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The filter of log lines. If the process has another subscriber already, this one has no effect.
pub(super) struct LogFilter(Option<Exchange>);

impl LogFilter {
    pub(super) fn start(config: &Config) -> Result<LogFilter, Failure> {
        let filter = filter(&config.log)?;
        let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
        // A report of a failed write would go to standard error as well, and panic.
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
        Ok(LogFilter(is_ours.ok()))
    }

    pub(super) fn change(&self, log: &str) -> Result<(), Failure> {
        let filter = filter(log)?;
        let Some(exchange) = &self.0 else { return Ok(()) };
        exchange(filter).map_err(|why| Failure::Config(format!("log = {log}: {why}")))?;
        // `log` drops the engine's lines below this level before they come here.
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

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFilter").finish_non_exhaustive()
    }
}
