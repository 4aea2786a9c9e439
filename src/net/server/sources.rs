//! Sources of settings, in order of precedence: flags, the environment, a file, defaults.
//!
//! All sources use the same names: `max_connections = 100` in the file,
//! `SYNCLINE_MAX_CONNECTIONS=100` in the environment, `--set max_connections=100` as a flag. Each value
//! remembers its source, so that an error can name setting, source and line.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;
use toml::de::DeTable;

use super::config::Config;
use super::failure::Failure;
use super::settings::{find, shown};

const PREFIX: &str = "SYNCLINE_";

/// Variables that are not settings: the command line or the tests use them.
const OTHERS: &[&str] = &["BLESS", "CONNECT", "KILL_SECONDS", "MUTANT", "SEED", "SEEDS", "TRACE"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Source::Variable(name) => write!(f, "the variable {name}"),
            Source::Flag(text) => f.write_str(text),
        }
    }
}

/// All sources of settings. The file can be read again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file of settings.
    pub file: Option<PathBuf>,
    /// From environment variables.
    pub environment: Settings,
    /// From flags.
    pub flags: Settings,
}

impl Sources {
    /// Reads the file, and merges all sources.
    ///
    /// # Errors
    /// As [`Settings::of_file`] and [`Config::from_settings`].
    pub fn config(&self) -> Result<Config, Failure> {
        let file = self.file.as_deref().map(Settings::of_file).transpose()?;
        let rest = [self.environment.clone(), self.flags.clone()];
        Config::from_settings(file.into_iter().chain(rest))
    }
}

/// Settings from one source. Each name is known, and each value is valid.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) source: Source,
}

impl Settings {
    /// The settings in a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has an unknown name or an invalid value.
    pub fn of_file(path: &Path) -> Result<Settings, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(Failure::io(format!("read {}", path.display())))?;
        Settings::of_text(&text, path)
    }

    fn of_text(text: &str, path: &Path) -> Result<Settings, Failure> {
        let source = |start: usize| Source::File { path: path.to_owned(), line: line(text, start) };
        let wrong = |error: toml::de::Error| {
            let source = source(error.span().map_or(0, |span| span.start));
            Failure::Config(format!("{source}: {}", error.message()))
        };
        let spans = DeTable::parse(text).map_err(wrong)?;
        let values: toml::Table = toml::from_str(text).map_err(wrong)?;
        let mut settings = Settings::default();
        let mut names: Vec<_> = spans.get_ref().keys().collect();
        names.sort_unstable_by_key(|name| name.span().start);
        for name in names {
            let source = source(name.span().start);
            let name = name.get_ref().as_ref();
            let value = values.get(name).expect("the same text has the same names");
            let setting = find(name).map_err(|why| Failure::Config(format!("{source}: {why}")))?;
            let checked = setting.check(value);
            checked.map_err(|why| wrong_value(&source, name, &shown(value), &why))?;
            settings.entries.push(Entry { name: setting.name, value: value.clone(), source });
        }
        Ok(settings)
    }

    /// The settings in an environment.
    ///
    /// # Errors
    /// A variable with the prefix `SYNCLINE_` that is not a setting, or an invalid value. Variables that
    /// Kubernetes sets for a service called `syncline` are ignored.
    pub fn of_environment(
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            if OTHERS.contains(&name) || is_from_kubernetes(name) {
                continue;
            }
            let name = name.to_ascii_lowercase();
            settings.read(&name, &text, Source::Variable(variable))?;
        }
        Ok(settings)
    }

    /// One setting, as in `--set max_connections=100`.
    ///
    /// # Errors
    /// There is no `=`, the name is unknown, or the value is invalid.
    pub fn of_assignment(text: &str) -> Result<Settings, Failure> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::Config(format!("--set {text}: NAME=VALUE is expected")));
        };
        let mut settings = Settings::default();
        settings.read(name.trim(), value.trim(), Source::Flag(format!("--set {text}")))?;
        Ok(settings)
    }

    /// Adds a setting given by its dedicated flag, as in `--cache-mib 100`.
    ///
    /// # Errors
    /// The value is invalid.
    pub fn add_flag(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let flag = format!("--{}", name.replace('_', "-"));
        self.read(name, text, Source::Flag(flag))
    }

    /// Appends the settings of another source, which take precedence over these.
    pub fn add(&mut self, others: Settings) {
        self.entries.extend(others.entries);
    }

    fn read(&mut self, name: &str, text: &str, source: Source) -> Result<(), Failure> {
        let setting = find(name).map_err(|why| Failure::Config(format!("{source}: {why}")))?;
        let value = setting.read(text).map_err(|why| wrong_value(&source, name, text, &why))?;
        self.entries.push(Entry { name: setting.name, value, source });
        Ok(())
    }
}

fn wrong_value(source: &Source, name: &str, value: &str, why: &str) -> Failure {
    Failure::Config(format!("{source}: {name} = {value}: {why}"))
}

/// Whether Kubernetes sets this variable in every container, for a service called `syncline`.
fn is_from_kubernetes(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}

/// The number of the line that contains the byte at `at`.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(settings: Result<Settings, Failure>) -> String {
        settings.unwrap_err().to_string()
    }

    fn environment(name: &str, value: &str) -> Result<Settings, Failure> {
        Settings::of_environment([(name.to_owned(), value.to_owned())].into_iter())
    }

    #[test]
    fn an_error_names_setting_source_and_line() {
        let path = Path::new("server.toml");
        let file = |text: &str| told(Settings::of_text(text, path));
        assert_eq!(
            file("# all\nthreads = 1\n\nmax_connections = 0\n"),
            "server.toml, line 4: max_connections = 0: 1 to 1048576 is expected"
        );
        assert_eq!(
            file("threads = 1\nmax_conections = 3"),
            "server.toml, line 2: there is no setting \"max_conections\": did you mean \
             max_connections?"
        );
        assert!(file("threads = 'many'").contains("line 1: threads = \"many\": 1 to 1024"));
        assert!(file("threads = 1\nthreads = 2").contains("line 2: "), "twice");
        assert!(file("threads = 1\n[server]\nthreads = 2").contains("no setting \"server\""));
        assert!(file("a =").starts_with("server.toml, line 1: "));
        assert_eq!(
            told(environment("SYNCLINE_IDLE_MS", "-3")),
            "the variable SYNCLINE_IDLE_MS: idle_ms = -3: 1 to 2678400000 is expected, or 0 (no \
             limit)"
        );
        assert!(told(environment("SYNCLINE_MAX_CONECTIONS", "3")).contains("mean max_connections"));
        assert!(told(environment("SYNCLINE_ANYTHING", "3")).contains("SYNCLINE_ANYTHING"));
        assert!(told(Settings::of_assignment("threads")).contains("--set threads: NAME=VALUE"));
        assert!(told(Settings::of_assignment("threads=x")).contains("--set threads=x: threads"));
        let flag = Settings::default().add_flag("cache_mib", "0").unwrap_err().to_string();
        assert!(flag.starts_with("--cache-mib: cache_mib = 0: "), "{flag}");
    }

    #[test]
    fn variables_that_are_not_settings_are_ignored() {
        for name in ["SYNCLINE_CONNECT", "SYNCLINE_PORT_7411_TCP", "SYNCLINE_SERVICE_HOST", "PATH"]
        {
            assert!(environment(name, "x").unwrap().entries.is_empty(), "{name}");
        }
        assert_eq!(environment("SYNCLINE_THREADS", "2").unwrap().entries[0].name, "threads");
    }
}
