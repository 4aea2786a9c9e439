//! Reload of the settings on SIGHUP.
//!
//! Tokens, TLS and the log level change at once, independently of each other. If one cannot be read or
//! is invalid, that is logged, and the old one stays. For every other setting that has changed a
//! warning is logged: it takes effect at the next start.

use super::config::Config;
use super::failure::Failure;
use super::logs::LogFilter;
use super::server::Server;
use super::settings::{Reload, SETTINGS, table};
use super::sources::Sources;
use super::tls::Tls;
use super::tokens::Tokens;

/// The settings as last read.
pub(super) struct Reloader {
    pub(super) sources: Sources,
    pub(super) config: Config,
    pub(super) log_filter: LogFilter,
}

impl Reloader {
    /// Reads all settings and files again.
    pub(super) fn reload(&mut self, server: &Server) {
        let config = match self.sources.config() {
            Ok(config) => config,
            Err(failure) => {
                tracing::error!("{failure}: all settings stay as they were");
                return;
            }
        };
        let (has_tokens, has_tls) = (config.tokens.is_some(), config.tls_cert.is_some());
        let done = [
            ("tokens", has_tokens, reload_tokens(server, &config)),
            ("TLS", has_tls, reload_tls(server, &config)),
            ("log level", true, self.log_filter.change(&config.log)),
        ];
        let mut taken = Vec::new();
        for (what, is_set, done) in done {
            match done {
                Ok(()) if is_set => taken.push(what),
                Ok(()) => {}
                Err(failure) => tracing::error!("{failure}: {what} not reloaded"),
            }
        }
        let (before, now) = (table(&self.config), table(&config));
        for setting in SETTINGS.iter().filter(|setting| setting.reload == Reload::Never) {
            if before.get(setting.name) != now.get(setting.name) {
                tracing::warn!(setting = setting.name, "changed: takes effect at the next start");
            }
        }
        self.config = config;
        if !taken.is_empty() {
            tracing::info!("settings reloaded: {}", taken.join(", "));
        }
    }
}

fn reload_tokens(server: &Server, config: &Config) -> Result<(), Failure> {
    let tokens = config.tokens.as_deref().map(Tokens::load).transpose()?;
    server.replace_tokens(tokens)
}

fn reload_tls(server: &Server, config: &Config) -> Result<(), Failure> {
    server.replace_tls(Tls::load(config)?)
}
