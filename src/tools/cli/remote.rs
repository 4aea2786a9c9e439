//! The commands over a connection: `--connect ADDR` in place of the directory.

use std::io::{self, Write as _};
use std::ops::Bound;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::{Format, GetArgs, JobArgs, KeyArgs, PutArgs, ScanArgs};
use super::connect::Asked;
use super::failure::{CommandResult, Failure, Status};
use super::messages::{complain, no_keyspace, not_found, note};
use super::output::{RowWriter, print_value};
use crate::net::client::{Applied, Code, Error, JobState, Keyspace, Write};
use crate::{CommitMode, Lsn, Verification, Watermarks};

/// The time limit of long operations: a large store may take hours.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Turns a missing keyspace into an answer with status 1.
fn unless_missing(outcome: CommandResult, keyspace: &str) -> CommandResult {
    match outcome {
        Err(Failure::Client(error)) if error.code() == Some(Code::NoSuchKeyspace) => {
            no_keyspace(keyspace)
        }
        outcome => outcome,
    }
}

pub(super) fn put(server: &Asked<'_>, args: &PutArgs, key: &[u8], value: &[u8]) -> CommandResult {
    let mut how = if args.job { Write::job() } else { Write::from(CommitMode::from(args.mode)) };
    if let Some(once) = &args.once {
        how = how.once(once.as_encoded_bytes());
    }
    let name = args.place.keyspace.as_str();
    let (job, now) = server.with(async |client| {
        let put = async |keyspace: Keyspace| keyspace.put_with(key, value, how.clone()).await;
        let job = match put(client.existing_keyspace(name)).await {
            // As in a directory, the keyspace is created if needed.
            Err(error) if error.code() == Some(Code::NoSuchKeyspace) => {
                put(client.keyspace(name).await?).await?
            }
            outcome => outcome?,
        };
        // A token that may only write cannot read the value.
        let now = match args.once {
            Some(_) => client.existing_keyspace(name).get(key).await.ok(),
            None => None,
        };
        Ok((job, now))
    })?;
    if args.once.is_some() {
        let is_other = now.is_some_and(|now| now.as_deref() != Some(value));
        note(&applied(job.applied(), is_other));
    }
    if args.job {
        say(job.id())?;
    }
    Ok(Status::Done)
}

/// The note about a put with an idempotency key.
fn applied(by: Option<Applied>, is_other: bool) -> String {
    let by = match by {
        Some(Applied::Now) => "applied now",
        Some(Applied::Before) => "not applied: the idempotency key was applied before",
        None => "applied, now or before: it is not known which",
    };
    let rest = if is_other { "; the value that is there is another one" } else { "" };
    format!("{by}{rest}")
}

pub(super) fn get(server: &Asked<'_>, args: &GetArgs, key: &[u8]) -> CommandResult {
    let name = args.at.place.keyspace.as_str();
    let outcome =
        server.with(async |client| match client.existing_keyspace(name).get(key).await? {
            Some(value) => print_value(args, &value),
            None => not_found(&args.at),
        });
    unless_missing(outcome, name)
}

/// Another client may delete the key between the two requests. It is gone in any case.
pub(super) fn del(server: &Asked<'_>, args: &KeyArgs, key: &[u8]) -> CommandResult {
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

/// The bounds of keys.
pub(super) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

pub(super) fn scan(
    server: &Asked<'_>,
    args: &ScanArgs,
    bounds: Option<Bounds>,
    format: Format,
) -> CommandResult {
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

/// The watermarks, as `info` shows them.
pub(super) fn marks(watermarks: &Watermarks) -> Value {
    json!({
        "appended": watermarks.appended.get(),
        "visible": watermarks.visible.get(),
        "durable": watermarks.durable.get(),
        "checkpoint": watermarks.checkpoint.get(),
    })
}

/// The content of `info`.
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

pub(super) fn drop_keyspace(server: &Asked<'_>, name: &str) -> CommandResult {
    let outcome = server.with(async |client| {
        client.drop_keyspace(name).await?;
        Ok(Status::Done)
    });
    unless_missing(outcome, name)
}

/// Makes a checkpoint, and returns its LSN.
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

/// `job`: prints a job's state. A job that did not succeed gives status 1.
pub(super) fn job(args: &JobArgs) -> CommandResult {
    let Some(server) = args.remote.is_asked() else {
        return Err(Failure::Usage("job needs --connect ADDR".into()));
    };
    let wait = args.wait.map(Duration::try_from_secs_f64).transpose();
    let wait =
        wait.map_err(|_| Failure::Usage("--wait: give a number of seconds, 0 or more".into()))?;
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
            complain(&error.to_string());
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
