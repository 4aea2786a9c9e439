//! The configuration of a server, as values. `sources` reads them, `settings` validates them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::admission::Caps;
use super::failure::Failure;
use super::shared::Limits;
use super::sources::{Entry, Settings, Source};
use crate::Options;

/// The configuration of a server. Names of sizes and times end with their unit. 0 means "no limit" only
/// where the field says so.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// A Unix socket to listen on.
    pub unix: Option<PathBuf>,
    /// The HTTP address of `/livez`, `/readyz`, `/health` and `/metrics`. `None` turns them off.
    pub metrics: Option<SocketAddr>,
    /// Serve those without TLS or token, even where other machines can reach them.
    pub metrics_open: bool,
    /// The file of tokens. Without it every client may do everything.
    pub tokens: Option<PathBuf>,
    /// The certificate chain for TLS, in PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// The authorities, in PEM, that must have signed a client's certificate. Without it clients need
    /// none.
    pub tls_client_ca: Option<PathBuf>,
    /// The log level: error, warn, info, debug, trace.
    pub log: String,
    /// As text or as JSON.
    pub log_format: LogFormat,
    /// Threads that serve connections. 0 for one per processor.
    pub threads: usize,
    /// Threads for blocking work.
    pub pool_threads: usize,
    /// Requests that may wait for those threads.
    pub pool_queue: usize,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections that have not completed the handshake.
    pub max_ungreeted: usize,
    /// Connections from one address. 0 for any number.
    pub max_per_address: usize,
    /// The longest body of a packet.
    pub max_packet_bytes: u32,
    /// Requests of one connection that are in flight.
    pub max_in_flight: usize,
    /// Streams and watches of one connection.
    pub max_subscriptions: usize,
    /// Unread output of one connection above which it is not read.
    pub max_output_bytes: usize,
    /// Unread output of all connections together. Above half of it a client that does not read gets no
    /// more answers; above it no client gets an answer of unknown length.
    pub max_output_mib: u64,
    /// Memory for unfinished packets of all connections together. A connection whose packet does not
    /// fit is not read until it does.
    pub max_input_mib: u64,
    /// Time for the handshake.
    pub handshake_ms: u64,
    /// Time without a packet while nothing is in flight. 0 for no limit.
    pub idle_ms: u64,
    /// Time for a packet that has begun.
    pub packet_ms: u64,
    /// Time in which a client must read some of its output.
    pub write_ms: u64,
    /// Time for requests in flight when the server stops.
    pub drain_ms: u64,
    /// Time for which `/readyz` announces a stop before the drain begins. Without a `metrics` address
    /// it is 0.
    pub drain_notice_ms: u64,
    /// Time for which a stream may keep its snapshot.
    pub stream_ms: u64,
    /// A write that would wait longer is a stall, which `/readyz` reports.
    pub stall_ms: u64,
    /// A flush of the log that takes longer is logged. 0 for none.
    pub slow_flush_ms: u64,
    /// Time for which idempotency keys are kept.
    pub once_hours: u64,
    /// Size of the store's cache.
    pub cache_mib: u64,
    /// An asynchronous commit is flushed after this time at the latest.
    pub flush_interval_ms: u64,
    /// Asynchronous commits that a power loss may lose, at most.
    pub max_unsynced_mib: u64,
    /// Log since the last checkpoint that triggers the next one.
    pub checkpoint_log_mib: u64,
    /// Size of a log segment. There are always at least two.
    pub log_segment_mib: u64,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

/// Settings that must be given together.
const TLS: [&str; 2] = ["tls_cert", "tls_key"];

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        let ms = |time: Duration| time.as_millis() as u64;
        Config {
            listen: vec!["127.0.0.1:7411".into()],
            unix: None,
            metrics: None,
            metrics_open: false,
            tokens: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            log: "info".into(),
            log_format: LogFormat::Text,
            threads: 0,
            pool_threads: 8,
            pool_queue: limits.pool_queue,
            max_connections: limits.max_connections,
            max_ungreeted: 4096,
            max_per_address: 0,
            max_packet_bytes: limits.max_packet_bytes,
            max_in_flight: limits.max_in_flight,
            max_subscriptions: limits.max_subscriptions,
            max_output_bytes: limits.max_output_bytes,
            max_output_mib: limits.max_output_in_all as u64 >> 20,
            max_input_mib: limits.max_input_in_all as u64 >> 20,
            handshake_ms: ms(limits.handshake),
            idle_ms: limits.idle.map_or(0, ms),
            packet_ms: ms(limits.packet),
            write_ms: ms(limits.write),
            drain_ms: ms(limits.drain),
            drain_notice_ms: ms(limits.notice),
            stream_ms: ms(limits.stream),
            stall_ms: ms(limits.stall),
            slow_flush_ms: 1000,
            once_hours: 24,
            cache_mib: 256,
            flush_interval_ms: 10,
            max_unsynced_mib: 16,
            checkpoint_log_mib: 256,
            log_segment_mib: 64,
        }
    }
}

impl Config {
    /// Merges the sources; a later one takes precedence over an earlier one.
    ///
    /// # Errors
    /// `tls_cert` without `tls_key`, or the reverse.
    pub fn from_settings(sources: impl IntoIterator<Item = Settings>) -> Result<Config, Failure> {
        let mut all = toml::Table::new();
        let mut pair: [Option<Source>; 2] = [None, None];
        for Entry { name, value, source } in sources.into_iter().flat_map(|all| all.entries) {
            if let Some(at) = TLS.iter().position(|half| *half == name) {
                pair[at] = Some(source);
            }
            all.insert(name.into(), value);
        }
        if let [Some(source), None] | [None, Some(source)] = &pair {
            let [cert, key] = TLS;
            return Err(Failure::Config(format!(
                "{source}: {cert} and {key} must be set together"
            )));
        }
        let config: Result<Config, _> = all.try_into();
        config.map_err(|error| Failure::Config(error.message().to_owned()))
    }

    /// The options for opening the store.
    pub fn store_options(&self) -> Options {
        Options::new()
            .cache_bytes(self.cache_mib << 20)
            .flush_interval(Duration::from_millis(self.flush_interval_ms))
            .max_unsynced_bytes(self.max_unsynced_mib << 20)
            .checkpoint_log_bytes(self.checkpoint_log_mib << 20)
            .segment_bytes(self.log_segment_mib << 20)
    }

    pub(crate) fn caps(&self) -> Caps {
        let per_address = if self.max_per_address == 0 { usize::MAX } else { self.max_per_address };
        Caps { connections: self.max_connections, ungreeted: self.max_ungreeted, per_address }
    }

    pub(crate) fn limits(&self) -> Limits {
        let ms = Duration::from_millis;
        let mib = |mib: u64| usize::try_from(mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        Limits {
            max_packet_bytes: self.max_packet_bytes,
            max_connections: self.max_connections,
            pool_queue: self.pool_queue,
            max_in_flight: self.max_in_flight,
            max_subscriptions: self.max_subscriptions,
            max_output_bytes: self.max_output_bytes,
            max_output_in_all: mib(self.max_output_mib),
            max_input_in_all: mib(self.max_input_mib),
            handshake: ms(self.handshake_ms),
            idle: (self.idle_ms > 0).then(|| ms(self.idle_ms)),
            packet: ms(self.packet_ms),
            write: ms(self.write_ms),
            drain: ms(self.drain_ms),
            notice: ms(if self.metrics.is_some() { self.drain_notice_ms } else { 0 }),
            stream: ms(self.stream_ms),
            memory: Limits::default().memory,
            stall: ms(self.stall_ms),
        }
    }

    /// Refuses an address that other machines can reach, unless tokens and TLS are configured.
    pub(crate) fn check_address(&self, address: SocketAddr) -> Result<(), Failure> {
        if address.ip().is_loopback() || self.is_guarded() {
            return Ok(());
        }
        Err(Failure::Config(format!(
            "other machines can reach {address}: that needs a file of tokens (tokens) \
             and TLS (tls_cert, tls_key)"
        )))
    }

    /// The same for the address of metrics.
    pub(crate) fn check_metrics_address(&self, address: SocketAddr) -> Result<(), Failure> {
        if self.is_guarded() {
            return Ok(());
        }
        Err(Failure::Config(format!(
            "other machines can reach metrics = {address}: that needs a file of tokens (tokens) \
             and TLS (tls_cert, tls_key), or metrics_open = true, which shows health and metrics \
             to all of them"
        )))
    }

    fn is_guarded(&self) -> bool {
        self.tokens.is_some() && self.tls_cert.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(all: &[(&str, &str)]) -> Settings {
        let all = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::of_environment(all).unwrap()
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.toml");
        let text = "threads = 1\npool_threads = 1\nidle_ms = 1\nlisten = ['[::1]:1']";
        std::fs::write(&path, text).unwrap();
        let file = Settings::of_file(&path).unwrap();
        let environment = environment(&[
            ("SYNCLINE_THREADS", "2"),
            ("SYNCLINE_POOL_THREADS", "2"),
            ("SYNCLINE_UNIX", "7"),
            ("SYNCLINE_METRICS_OPEN", "true"),
        ]);
        let flag = Settings::of_assignment("threads = 3").unwrap();
        let config = Config::from_settings([file, environment, flag]).unwrap();
        assert_eq!((config.threads, config.pool_threads, config.idle_ms), (3, 2, 1));
        assert_eq!(config.listen, ["[::1]:1"]);
        assert_eq!(config.unix.as_deref(), Some(std::path::Path::new("7")));
        assert!(config.metrics_open);
    }

    #[test]
    fn the_store_is_opened_with_the_configured_options() {
        let of = |text: &str| {
            let set = text.split(' ').map(|one| Settings::of_assignment(one).unwrap());
            Config::from_settings(set).unwrap().store_options()
        };
        let options = of("cache_mib=3 flush_interval_ms=4 max_unsynced_mib=5 \
                          checkpoint_log_mib=6 log_segment_mib=7");
        assert_eq!(options.cache_bytes, 3 << 20);
        assert_eq!(options.flush_interval, Duration::from_millis(4));
        assert_eq!(options.max_unsynced_bytes, 5 << 20);
        assert_eq!(options.checkpoint_log_bytes, 6 << 20);
        assert_eq!(options.segment_bytes, 7 << 20);
        // Defaults are those of the store.
        let (ours, default) = (Config::default().store_options(), Options::new());
        assert_eq!(format!("{ours:?}"), format!("{default:?}"));
    }

    #[test]
    fn a_certificate_without_a_key_is_refused_with_its_source() {
        let half = environment(&[("SYNCLINE_TLS_CERT", "c")]);
        let error = Config::from_settings([half.clone()]).unwrap_err().to_string();
        let together = "tls_cert and tls_key must be set together";
        assert_eq!(error, format!("the variable SYNCLINE_TLS_CERT: {together}"));
        let key = Settings::of_assignment("tls_key=k").unwrap();
        Config::from_settings([half, key]).unwrap();
    }

    #[test]
    fn a_public_address_needs_tokens_and_tls() {
        let mut config = Config::default();
        let (public, local) = ("0.0.0.0:1".parse().unwrap(), "[::1]:1".parse().unwrap());
        config.check_address(local).unwrap();
        assert!(config.check_address(public).is_err());
        config.tokens = Some("t".into());
        assert!(config.check_address(public).is_err());
        config.tls_cert = Some("c".into());
        config.check_address(public).unwrap();
    }
}
