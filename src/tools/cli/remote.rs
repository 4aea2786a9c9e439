//! The commands over a connection: `--connect ADDR` in place of the directory.
//!
//! The directory comes first on the command line. Where a server stands for it, a marker is put
//! in its place before the words are read, so that keys and values are where they always are.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use super::args::{Format, GetArgs, JobArgs, KeyArgs, PutArgs, Remote, ScanArgs};
use super::failure::{Failure, Outcome, Status};
use super::info::marks;
use super::kv::{no_keyspace, not_found};
use super::output::RowWriter;
use super::scan::Bounds;
use crate::net::client::{Applied, Client, ClientOptions, Code, Error, JobState, Keyspace, Write};
use crate::tools::bench::Target;
use crate::{CommitMode, Lsn, Verification};

/// A large store takes its time: what takes long is waited for as long as the server lives.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What stands in the directory's place.
pub(super) const MARKER: &str = "(a server)";

/// Puts the marker into the place of the directory if a server is to be asked.
pub(super) fn mark(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let is_connect =
        |word: &OsString| word == "--connect" || word.as_encoded_bytes().starts_with(b"--connect=");
    let options = words.iter().take_while(|word| *word != "--");
    const COMMANDS: [&str; 10] = [
        "put",
        "get",
        "del",
        "scan",
        "import",
        "info",
        "verify",
        "keyspaces",
        "drop",
        "checkpoint",
    ];
    let takes_one = words.get(1).is_some_and(|word| COMMANDS.iter().any(|name| word == name));
    // One that is asked for help, or of whom nothing is said, has no place for it.
    let is_job = words.get(1).is_some_and(|word| word == "job") && words.len() > 2;
    if is_job || takes_one && options.skip(2).any(is_connect) {
        words.insert(2, MARKER.into());
    }
    words
}

/// A server that is to be asked.
pub(super) struct Asked<'a> {
    address: &'a str,
    remote: &'a Remote,
}

impl Remote {
    /// The server, if one is named.
    pub(super) fn is_asked(&self) -> Option<Asked<'_>> {
        self.connect.as_deref().map(|address| Asked { address, remote: self })
    }

    /// The same, for a benchmark.
    pub(super) fn target(&self) -> Result<Option<Target>, Failure> {
        let Some(asked) = self.is_asked() else { return Ok(None) };
        Ok(Some(Target { address: asked.address.to_owned(), options: asked.options()? }))
    }
}

impl Asked<'_> {
    fn options(&self) -> Result<ClientOptions, Failure> {
        let mut options = Client::options();
        if let Some(file) = &self.remote.token_file {
            let token = fs::read_to_string(file);
            let token = token.map_err(Failure::io(format!("read {}", file.display())))?;
            options = options.token(token.trim());
        }
        if let Some(file) = &self.remote.tls_roots {
            options = options.tls_roots(file);
        }
        if self.remote.tls_system_roots {
            options = options.tls_system_roots();
        }
        if let (Some(chain), Some(key)) =
            (&self.remote.tls_client_cert, &self.remote.tls_client_key)
        {
            options = options.client_certificate(chain, key);
        }
        if let Some(name) = &self.remote.tls_name {
            options = options.tls_name(name);
        }
        Ok(options)
    }

    /// Connects, and does the work.
    fn with<T>(&self, work: impl AsyncFnOnce(Client) -> Result<T, Failure>) -> Result<T, Failure> {
        let options = self.options()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::io("start a runtime"))?;
        runtime.block_on(async { work(options.connect(self.address).await?).await })
    }
}

/// A connection that is there between requests too.
pub(super) struct Session {
    runtime: tokio::runtime::Runtime,
    pub(super) client: Client,
}

impl Asked<'_> {
    /// Connects, for many requests.
    pub(super) fn session(&self) -> Result<Session, Failure> {
        let options = self.options()?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Failure::io("start a runtime"))?;
        let client = runtime.block_on(options.connect(self.address))?;
        Ok(Session { runtime, client })
    }
}

impl Session {
    /// Waits for an answer.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// What a keyspace that is missing means: an answer (status 1), and no failure.
fn unless_missing(outcome: Outcome, keyspace: &str) -> Outcome {
    match outcome {
        Err(Failure::Client(error)) if error.code() == Some(Code::NoSuchKeyspace) => {
            no_keyspace(keyspace)
        }
        outcome => outcome,
    }
}

pub(super) fn put(server: &Asked<'_>, args: &PutArgs, key: &[u8], value: &[u8]) -> Outcome {
    let mut how = if args.job { Write::job() } else { Write::from(CommitMode::from(args.mode)) };
    if let Some(once) = &args.once {
        how = how.once(once.as_encoded_bytes());
    }
    let name = args.place.keyspace.as_str();
    let (job, now) = server.with(async |client| {
        let put = async |keyspace: Keyspace| keyspace.put_with(key, value, how.clone()).await;
        let job = match put(client.existing_keyspace(name)).await {
            // As with a directory, it is made if needed.
            Err(error) if error.code() == Some(Code::NoSuchKeyspace) => {
                put(client.keyspace(name).await?).await?
            }
            outcome => outcome?,
        };
        // Whoever may only write cannot be told.
        let now = match args.once {
            Some(_) => client.existing_keyspace(name).get(key).await.ok(),
            None => None,
        };
        Ok((job, now))
    })?;
    if args.once.is_some() {
        let is_other = now.is_some_and(|now| now.as_deref() != Some(value));
        super::note(&applied(job.applied(), is_other));
    }
    if args.job {
        say(job.id())?;
    }
    Ok(Status::Done)
}

/// What is said of a put with an idempotency key.
fn applied(by: Option<Applied>, is_other: bool) -> String {
    let by = match by {
        Some(Applied::Now) => "applied now",
        Some(Applied::Before) => "not applied: the idempotency key was applied before",
        None => "applied, now or before: it is not known which",
    };
    let rest = if is_other { "; the value that is there is another one" } else { "" };
    format!("{by}{rest}")
}

pub(super) fn get(server: &Asked<'_>, args: &GetArgs, key: &[u8]) -> Outcome {
    let name = args.at.place.keyspace.as_str();
    let outcome =
        server.with(async |client| match client.existing_keyspace(name).get(key).await? {
            Some(value) => super::kv::print(args, &value),
            None => not_found(&args.at),
        });
    unless_missing(outcome, name)
}

/// Somebody else may delete the key between the two requests: it is gone then all the same.
pub(super) fn del(server: &Asked<'_>, args: &KeyArgs, key: &[u8]) -> Outcome {
    let name = args.place.keyspace.as_str();
    let outcome = server.with(async |client| {
        let keyspace = client.existing_keyspace(name);
        if keyspace.get(key).await?.is_none() {
            return not_found(args);
        }
        keyspace.delete(key).await?;
        Ok(Status::Done)
    });
    unless_missing(outcome, name)
}

pub(super) fn scan(
    server: &Asked<'_>,
    args: &ScanArgs,
    bounds: Option<Bounds>,
    format: Format,
) -> Outcome {
    let name = args.place.keyspace.as_str();
    let outcome = server.with(async |client| {
        let mut out = RowWriter::to_stdout(format);
        if let Some(bounds) = bounds {
            let mut range = client.existing_keyspace(name).range(bounds);
            if let Some(limit) = args.limit {
                range = range.limit(limit);
            }
            if args.reverse {
                range = range.descending();
            }
            let mut entries = range.entries().await?;
            while let Some((key, value)) = entries.next().await.transpose()? {
                out.row(&key, &value).map_err(Failure::output)?;
            }
        }
        out.finish().map_err(Failure::output)?;
        Ok(Status::Done)
    });
    unless_missing(outcome, name)
}

/// What `info` prints.
pub(super) fn describe(server: &Asked<'_>) -> Result<Value, Failure> {
    server.with(async |client| {
        let (store, _) = client.store().await?;
        let stats = client.stats().await?;
        let watermarks = stats.watermarks;
        let figures = stats.figures.into_iter().map(|(name, figure)| (name, figure.into()));
        Ok(json!({
            "server": client.server().await?,
            "id": store.to_string(),
            "incarnation": watermarks.incarnation.get(),
            "watermarks": marks(&watermarks),
            "figures": serde_json::Map::from_iter(figures),
        }))
    })
}

pub(super) fn keyspaces(server: &Asked<'_>) -> Result<Vec<String>, Failure> {
    server.with(async |client| Ok(client.keyspaces().await?))
}

pub(super) fn drop_keyspace(server: &Asked<'_>, name: &str) -> Outcome {
    let outcome = server.with(async |client| {
        client.drop_keyspace(name).await?;
        Ok(Status::Done)
    });
    unless_missing(outcome, name)
}

/// Makes a checkpoint, and returns up to where it is.
pub(super) fn checkpoint(server: &Asked<'_>) -> Result<Lsn, Failure> {
    server.with(async |client| {
        let client = client.within(PATIENCE);
        Ok(client.checkpoint().await?.checkpoint)
    })
}

pub(super) fn verify(server: &Asked<'_>) -> Result<Verification, Failure> {
    server.with(async |client| {
        let client = client.within(PATIENCE);
        Ok(client.verify().await?)
    })
}

/// `job`: prints a job's state. A job that ended badly is an answer, with status 1.
pub(super) fn job(args: &JobArgs) -> Outcome {
    let Some(server) = args.remote.is_asked() else {
        return Err(Failure::Usage("job needs --connect ADDR".into()));
    };
    let wait = args.wait.map(Duration::try_from_secs_f64).transpose();
    let wait = wait.map_err(|_| Failure::Usage("--wait: not a length of time".into()))?;
    let state = server.with(async |client| {
        let job = client.job(&args.id);
        Ok(match wait {
            None => job.status().await,
            Some(time) => job.wait(time).await,
        })
    })?;
    let is_unknown =
        |error: &Error| matches!(error.code(), Some(Code::NoSuchJob | Code::UnknownLife));
    let state = match state {
        Err(error @ Error::Server(_)) if is_unknown(&error) => {
            super::complain(&error.to_string());
            return Ok(Status::No);
        }
        state => state?,
    };
    say(&state.to_string())?;
    Ok(match state {
        JobState::Lost | JobState::Failed { .. } | JobState::Cancelled | JobState::Interrupted => {
            Status::No
        }
        _ => Status::Done,
    })
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failure::output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(words: &str) -> String {
        let words = mark(words.split(' ').map(OsString::from));
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn a_server_takes_the_place_of_the_directory() {
        assert_eq!(marked("s get DIR KEY"), "s get DIR KEY");
        assert_eq!(marked("s get --connect A KEY"), "s get (a server) --connect A KEY");
        assert_eq!(marked("s get KEY --connect=A"), "s get (a server) KEY --connect=A");
        assert_eq!(marked("s job ID"), "s job (a server) ID");
        assert_eq!(marked("s job"), "s job");
        assert_eq!(marked("s drop --connect A NAME"), "s drop (a server) --connect A NAME");
        assert_eq!(marked("s put DIR -- --connect V"), "s put DIR -- --connect V");
        assert_eq!(marked("s bench server --connect A"), "s bench server --connect A");
    }
}
