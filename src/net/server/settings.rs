//! The table of all settings: name, allowed values, help. Values are checked against it; `--help` and
//! `docs/settings.md` are made from it.

use std::fmt::Write;
use std::net::SocketAddr;

use toml::Value;

use super::config::Config;
use crate::net::proto::MAX_BODY;

pub(super) struct Setting {
    pub(super) name: &'static str,
    form: Form,
    help: &'static str,
    /// Whether SIGHUP changes it in a running server.
    pub(super) reload: Reload,
}

/// What a running server does with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    /// The change takes effect at the next start.
    Never,
    /// The change takes effect at once.
    Value,
    /// The file is read again, also if the setting names the same one.
    File,
}

enum Form {
    /// `HOST:PORT`, several of them.
    Addresses,
    /// `IP:PORT`.
    Address,
    File,
    Level,
    Choice(&'static [&'static str]),
    Flag,
    /// At least and at most.
    Number(u64, u64),
    /// As a number; 0 is allowed too, with this meaning.
    OrZero(u64, u64, &'static str),
}

/// A month in milliseconds: the largest time limit.
const MONTH_MS: u64 = 31 * 24 * 3600 * 1000;
/// The largest number of threads, connections or requests.
const MANY: u64 = 1 << 20;
/// A tebibyte, in MiB.
const TIB: u64 = 1 << 20;

const fn setting(name: &'static str, form: Form, help: &'static str) -> Setting {
    Setting { name, form, help, reload: Reload::Never }
}

const fn reloaded(name: &'static str, reload: Reload, form: Form, help: &'static str) -> Setting {
    Setting { name, form, help, reload }
}

use Form::{Address, Addresses, Choice, File, Flag, Level, Number, OrZero};

/// All settings, in the order of the documentation.
pub(super) const SETTINGS: &[Setting] = &[
    setting("listen", Addresses, "Addresses to listen on, separated by commas"),
    setting("unix", File, "A Unix socket to listen on, for its owner alone"),
    setting("metrics", Address, "Where /livez, /readyz, /health and /metrics are"),
    setting(
        "metrics_open",
        Flag,
        "Serve those without TLS or token where others can reach them too",
    ),
    reloaded(
        "tokens",
        Reload::File,
        File,
        "The file of tokens; without it every client may do everything",
    ),
    reloaded("tls_cert", Reload::File, File, "The certificate chain for TLS, in PEM"),
    reloaded("tls_key", Reload::File, File, "Its private key, in PEM"),
    reloaded(
        "tls_client_ca",
        Reload::File,
        File,
        "Authorities, in PEM: TLS clients need a certificate signed by one of them",
    ),
    reloaded("log", Reload::Value, Level, "The log level: error, warn, info, debug, trace or off"),
    setting("log_format", Choice(&["text", "json"]), "The format of log lines"),
    setting("threads", OrZero(1, 1024, "one per processor"), "Threads that serve connections"),
    setting("pool_threads", Number(1, 1024), "Threads for blocking work"),
    setting("pool_queue", Number(1, MANY), "Requests that may wait for those threads"),
    setting("max_connections", Number(1, MANY), "Connections in all"),
    setting("max_ungreeted", Number(1, MANY), "Connections that have not completed the handshake"),
    setting("max_per_address", OrZero(1, MANY, "no limit"), "Connections from one address"),
    setting("max_packet_bytes", Number(4096, MAX_BODY as u64), "The longest body of a packet"),
    setting("max_in_flight", Number(1, MANY), "Requests of a connection that are in flight"),
    setting("max_subscriptions", Number(1, MANY), "Streams and watches of a connection"),
    setting(
        "max_output_bytes",
        Number(4096, 1 << 30),
        "Unread output of a connection above which it is not read",
    ),
    setting(
        "max_output_mib",
        Number(1, TIB),
        "Unread output of all connections; above half of it a client that does not read gets no more",
    ),
    setting(
        "max_input_mib",
        Number(1, TIB),
        "Unfinished packets of all connections; above it no long packet is read",
    ),
    setting("handshake_ms", Number(1, MONTH_MS), "Time for the handshake"),
    setting(
        "idle_ms",
        OrZero(1, MONTH_MS, "no limit"),
        "Time without a packet while nothing is in flight",
    ),
    setting("packet_ms", Number(1, MONTH_MS), "Time for a packet that has begun"),
    setting("write_ms", Number(1, MONTH_MS), "Time in which a client must read some of its output"),
    setting(
        "drain_notice_ms",
        OrZero(1, MONTH_MS, "at once"),
        "Time for which /readyz announces a stop before the drain begins",
    ),
    setting(
        "drain_ms",
        OrZero(1, MONTH_MS, "at once"),
        "Time for requests in flight when the server stops",
    ),
    setting("stream_ms", Number(1, MONTH_MS), "Time for which a stream may keep its snapshot"),
    setting(
        "stall_ms",
        Number(1, MONTH_MS),
        "A write that would wait longer is a stall, which /readyz reports",
    ),
    setting(
        "slow_flush_ms",
        OrZero(1, MONTH_MS, "none"),
        "A flush of the log that takes longer is logged",
    ),
    setting("once_hours", Number(1, 24 * 366 * 10), "Time for which idempotency keys are kept"),
    setting("cache_mib", Number(1, TIB), "Size of the store's cache"),
    setting(
        "flush_interval_ms",
        Number(1, MONTH_MS),
        "An asynchronous commit is flushed after this time at the latest",
    ),
    setting(
        "max_unsynced_mib",
        Number(1, TIB),
        "Asynchronous commits that a power loss may lose, at most",
    ),
    setting(
        "checkpoint_log_mib",
        Number(1, TIB),
        "Log since the last checkpoint that triggers the next one",
    ),
    setting(
        "log_segment_mib",
        Number(1, 2048),
        "Size of a log segment, chosen when the store is made",
    ),
];

/// The setting of this name.
///
/// # Errors
/// There is none; the message suggests a similar name.
pub(super) fn find(name: &str) -> Result<&'static Setting, String> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
        return Ok(setting);
    }
    let near = SETTINGS.iter().map(|setting| (distance(name, setting.name), setting.name)).min();
    let hint = match near {
        Some((distance, near)) if distance <= 1 + near.len() / 4 => {
            format!(": did you mean {near}?")
        }
        _ => String::new(),
    };
    Err(format!("there is no setting {name:?}{hint}"))
}

impl Setting {
    /// Parses a value from a flag or the environment.
    ///
    /// # Errors
    /// Why the value is not allowed.
    pub(super) fn read(&self, text: &str) -> Result<Value, String> {
        let value = match self.form {
            Number(..) | OrZero(..) => match text.parse::<i64>() {
                Ok(number) => Value::Integer(number),
                Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => {
                    return Err(format!("the number is too large: {}", self.range()));
                }
                Err(_) => return Err(format!("this is not a whole number: {}", self.range())),
            },
            Flag => match text {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                _ => return Err("true or false is expected".into()),
            },
            Addresses => Value::Array(text.split(',').map(|part| part.trim().into()).collect()),
            Address | File | Level | Choice(_) => Value::String(text.to_owned()),
        };
        self.check(&value).map(|()| value)
    }

    /// Checks that a value is allowed.
    ///
    /// # Errors
    /// Which values are.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        let is_right = match (&self.form, value) {
            (Number(least, most), Value::Integer(number)) => {
                u64::try_from(*number).is_ok_and(|number| (*least..=*most).contains(&number))
            }
            (OrZero(least, most, _), Value::Integer(number)) => {
                let within = |number| number == 0 || (*least..=*most).contains(&number);
                u64::try_from(*number).is_ok_and(within)
            }
            (Flag, Value::Boolean(_)) => true,
            (Addresses, Value::Array(all)) => {
                !all.is_empty() && all.iter().all(|one| one.as_str().is_some_and(is_host_and_port))
            }
            (Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (File, Value::String(text)) => !text.is_empty(),
            (Level, Value::String(text)) => is_filter(text),
            (Choice(choices), Value::String(text)) => choices.contains(&text.as_str()),
            _ => false,
        };
        if is_right { Ok(()) } else { Err(self.range()) }
    }

    /// The allowed values, for an error.
    fn range(&self) -> String {
        match self.form {
            Number(least, most) => format!("{least} to {most} is expected"),
            OrZero(least, most, zero) => {
                format!("{least} to {most} is expected, or 0 ({zero})")
            }
            Flag => "true or false is expected".into(),
            Addresses => "addresses such as 127.0.0.1:7411 are expected".into(),
            Address => "an address such as 127.0.0.1:9411 is expected".into(),
            File => "a path is expected".into(),
            Level => "error, warn, info, debug, trace or off is expected".into(),
            Choice(choices) => format!("{} is expected", choices.join(" or ")),
        }
    }

    /// The help, with the meaning of 0.
    fn explained(&self) -> String {
        match self.form {
            OrZero(.., zero) => format!("{} (0: {zero})", self.help),
            _ => self.help.to_owned(),
        }
    }
}

/// The Levenshtein distance of two words, of which at most 100 letters count.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, letter) in a.chars().take(100).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// A level, or several: `warn,syncline::server=debug`.
fn is_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |text: &str| LEVELS.iter().any(|level| text.eq_ignore_ascii_case(level));
    text.split(',').map(str::trim).all(|part| match part.rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(part),
    })
}

/// The values by name, as in a file. Settings without a value are absent.
pub(super) fn table(config: &Config) -> toml::Table {
    toml::Table::try_from(config).expect("settings are plain values")
}

fn defaults() -> toml::Table {
    table(&Config::default())
}

/// The settings that differ from their defaults.
pub(super) fn changed(config: &Config) -> String {
    let (defaults, now) = (defaults(), table(config));
    let changed = SETTINGS.iter().filter_map(|setting| {
        let value = now.get(setting.name)?;
        let is_new = defaults.get(setting.name) != Some(value);
        is_new.then(|| format!("{}={}", setting.name, plain(value)))
    });
    changed.collect::<Vec<_>>().join(" ")
}

/// The help text on all settings: names, help, defaults, and which of them SIGHUP reloads.
pub fn settings_help() -> String {
    let defaults = defaults();
    let mut text = String::from(
        "Settings, for --set NAME=VALUE, SYNCLINE_NAME in the environment, and NAME = VALUE in a \
         file.\nSIGHUP reloads those marked *, and the files that they name:\n",
    );
    for setting in SETTINGS {
        let mark = if setting.reload == Reload::Never { ' ' } else { '*' };
        let default =
            defaults.get(setting.name).map(|value| format!(" [default: {}]", plain(value)));
        let (name, help) = (setting.name, setting.explained());
        let _ = write!(text, "\n {mark}{name:<20} {help}{}", default.unwrap_or_default());
    }
    text
}

/// A value in the form of a flag.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(","),
        other => shown(other),
    }
}

/// A value roughly in the form of a file.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(date) => date.to_string(),
        Value::Array(all) => format!("[{}]", all.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Table(_) => "{ ... }".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in `docs/settings.md`.
    fn page() -> String {
        let (defaults, mut page) = (defaults(), String::new());
        for setting in SETTINGS {
            let default = defaults
                .get(setting.name)
                .map_or_else(String::new, |value| format!("`{}`", plain(value)));
            let reload = match setting.reload {
                Reload::Never => "",
                Reload::Value => "yes",
                Reload::File => "yes, and the file",
            };
            let (name, help) = (setting.name, setting.explained());
            let _ = writeln!(page, "| `{name}` | {default} | {reload} | {help} |");
        }
        page
    }

    #[test]
    fn the_document_lists_every_setting() {
        let document = include_str!("../../../docs/settings.md");
        let page = page();
        assert!(document.contains(&page), "docs/settings.md should contain:\n{page}");
    }

    #[test]
    fn every_setting_has_a_field_and_every_default_is_allowed() {
        let defaults = defaults();
        for setting in SETTINGS {
            if let Some(value) = defaults.get(setting.name) {
                setting.check(value).unwrap_or_else(|why| panic!("{}: {why}", setting.name));
            }
            assert!(settings_help().contains(setting.name));
        }
        for name in defaults.keys() {
            find(name).unwrap();
        }
    }

    #[test]
    fn invalid_values_are_refused() {
        let refused = |name: &str, text: &str| find(name).unwrap().read(text).unwrap_err();
        for text in ["0", "-1", "many", "", "1.5", "99999999999999999999", "1048577"] {
            assert!(refused("max_connections", text).contains("1 to 1048576"), "{text}");
        }
        assert!(refused("idle_ms", "-1").contains("0 (no limit)"));
        for text in ["", "inof", "verbose", "info,", "x=loud", "=info", "syncline"] {
            assert!(refused("log", text).contains("expected"), "{text}");
        }
        for text in ["", "127.0.0.1", ":1", "a:b", "a:70000", "a:1,,b:2"] {
            assert!(refused("listen", text).contains("addresses"), "{text}");
        }
        refused("metrics", "localhost:1");
        refused("metrics_open", "yes");
        refused("log_format", "xml");
        refused("tokens", "");
        let log = find("log").unwrap();
        for text in ["info", "OFF", "warn,syncline::server=debug, x=trace"] {
            log.read(text).unwrap();
        }
    }

    #[test]
    fn an_error_for_a_misspelt_name_suggests_the_right_one() {
        let told = |name| find(name).map(|setting| setting.name).unwrap_err();
        assert!(told("max_conections").contains("did you mean max_connections?"));
        assert!(told("thread").contains("did you mean threads?"));
        assert!(!told("no_such_thing").contains("mean"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
