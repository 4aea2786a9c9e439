//! Reading the settings anew while the server runs, as SIGHUP asks for.
//!
//! Tokens, TLS and what is logged change at once, each for itself: what cannot be read or makes no
//! sense is logged, and what was there before stays. Of every other setting that has changed it is
//! logged that it counts from the next start on.

use super::config::Config;
use super::failure::Failure;
use super::logs::Levels;
use super::server::Server;
use super::settings::{Reload, SETTINGS, table};
use super::sources::Sources;
use super::tls::Tls;
use super::tokens::Tokens;

/// What the settings were when they were read last.
pub(super) struct Reloader {
    pub(super) sources: Sources,
    pub(super) config: Config,
    pub(super) levels: Levels,
}

impl Reloader {
    /// Reads everything anew.
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
            ("what is logged", true, self.levels.change(&config.log)),
        ];
        let mut taken = Vec::new();
        for (what, is_set, done) in done {
            match done {
                Ok(()) if is_set => taken.push(what),
                Ok(()) => {}
                Err(failure) => tracing::error!("{failure}: no change of: {what}"),
            }
        }
        let (before, now) = (table(&self.config), table(&config));
        for setting in SETTINGS.iter().filter(|setting| setting.reload == Reload::Never) {
            if before.get(setting.name) != now.get(setting.name) {
                tracing::warn!(setting = setting.name, "changed: it counts from the next start on");
            }
        }
        self.config = config;
        if !taken.is_empty() {
            tracing::info!("settings were read anew: {}", taken.join(", "));
        }
    }
}

fn reload_tokens(server: &Server, config: &Config) -> Result<(), Failure> {
    let tokens = config.tokens.as_deref().map(Tokens::load).transpose()?;
    server.exchange_tokens(tokens)
}

fn reload_tls(server: &Server, config: &Config) -> Result<(), Failure> {
    server.exchange_tls(Tls::load(config)?)
}
