//! Compares the store in the next life with the books.
//!
//! | judged | must be |
//! |---|---|
//! | every key | as its last answered write has it, or its unanswered one |
//! | a key of pipelined writes | as the last answered one of these has it, or a later one |
//! | an unanswered batch | whole or absent |
//! | an unanswered write with an idempotency key | sent again, applied only if it was not before; a third time never, even after a newer write of the key |
//! | an answered write with an idempotency key | sent again after a newer write of the key, without effect |
//! | a job of an answered write | durable, by short poll, long poll and push |
//! | a job beyond the end of its life | lost |
//! | a job of a long operation | interrupted |
//! | the whole store, at times | clean |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::super::Clause;
use super::super::sim::Violation;
use super::super::summary::ServerSummary;
use super::books::{Books, KEYSPACES, Key, Left, Sent, describe, version_of};
use super::host::unanswered;
use super::life::{read, repeat, send};
use super::pipeline;
use crate::CommitMode;
use crate::engine::base::lsn::Lsn;
use crate::engine::store::Token;
use crate::net::client::{Applied, Client, Code, Error, JobState};

/// The judge's number as a writer in the books.
const JUDGE: u64 = u64::MAX;
/// The timeout of a long poll. A former life's job is answered at once.
const POLL: Duration = Duration::from_secs(5);

/// Judges the store after a kill, and counts the judgements.
pub(super) async fn judge(
    client: &Client,
    books: &Mutex<Books>,
    tally: &mut ServerSummary,
) -> Result<(), Violation> {
    let found = contents(client).await?;
    let (applied, left) = books.lock().judge(&found)?;
    let Left { under_way, repeated, jobs, operations } = left;
    let piped = pipeline::judge(client, books).await;
    tally.rows += piped.map_err(|error| unanswered("reading", &error))??;
    tally.rows += books.lock().rows();
    tally.unanswered += under_way.len() as u64;
    tally.unanswered_found += applied;
    jobs_of_writes(client, &jobs, tally).await?;
    for job in &operations {
        state(client, job, &JobState::Interrupted, tally).await?;
    }
    for sent in under_way.iter().filter(|sent| sent.once.is_some()) {
        first_retry(client, sent, &found).await?;
        books.lock().settle(sent);
        again(client, books, sent, tally).await?;
    }
    for sent in &repeated {
        again(client, books, sent, tally).await?;
    }
    Ok(())
}

/// Checks the whole store.
pub(super) async fn verify(client: &Client, tally: &mut ServerSummary) -> Result<(), Violation> {
    let found = client.verify().await.map_err(|error| unanswered("a check", &error))?;
    tally.checks += 1;
    match found.problems.first() {
        None => Ok(()),
        Some(problem) => Err(Violation::of(Clause::Sound, problem.clone())),
    }
}

/// All keys, from a snapshot per keyspace: there are no writes meanwhile.
async fn contents(client: &Client) -> Result<BTreeMap<Key, u64>, Violation> {
    let mut found = BTreeMap::new();
    for (number, keyspace) in KEYSPACES.iter().enumerate() {
        let entries = client.existing_keyspace(*keyspace).range::<Vec<u8>>(..).entries().await;
        let mut entries = entries.map_err(|error| unanswered("reading", &error))?;
        while let Some(entry) = entries.next().await {
            let (key, value) = match entry {
                Ok(entry) => entry,
                // The kill came before it was created. A lost write there shows as a lost key.
                Err(Error::Server(no)) if no.code == Code::NoSuchKeyspace => break,
                Err(error) => return Err(unanswered("reading", &error)),
            };
            let key = (number, String::from_utf8_lossy(&key).into_owned());
            let version = version_of(&key, &value)?;
            found.insert(key, version);
        }
    }
    Ok(found)
}

async fn jobs_of_writes(
    client: &Client,
    jobs: &[String],
    tally: &mut ServerSummary,
) -> Result<(), Violation> {
    let durable = JobState::Durable;
    let ask = |(at, job): (usize, &String)| {
        let job = client.job(job.as_str());
        async move {
            let state = match at % 8 {
                0 => job.wait(POLL).await,
                _ => job.status().await,
            };
            (job, state)
        }
    };
    let polled = jobs.iter().enumerate().filter(|(at, _)| at % 4 != 3).map(ask);
    for (job, state) in join_all(polled).await {
        told(job.id(), state, &durable, tally)?;
    }
    // A repeated write is answered with the present position, which may be another write's: the two
    // have one job.
    let watched: BTreeSet<&str> = jobs.iter().skip(3).step_by(4).map(String::as_str).collect();
    let mut events = client.watch_jobs(watched.iter().copied());
    let mut ends = 0;
    while let Some(event) = events.next().await {
        let (job, state) = match event {
            Ok((job, state)) => (job, Ok(state)),
            Err(error) => (String::new(), Err(error)),
        };
        told(&job, state, &durable, tally)?;
        ends += 1;
    }
    if ends != watched.len() {
        let what = format!("a watch of {} jobs reported {ends} ends", watched.len());
        return Err(Violation::of(Clause::Receipts, what));
    }
    // A position that the life never reached is lost.
    if let Some(token) = jobs.last().and_then(|job| job.parse::<Token>().ok()) {
        let beyond = Token { lsn: Lsn::new(0xffff_ffff_fff8), ..token };
        state(client, &beyond.to_string(), &JobState::Lost, tally).await?;
    }
    Ok(())
}

async fn state(
    client: &Client,
    job: &str,
    expected: &JobState<'static>,
    tally: &mut ServerSummary,
) -> Result<(), Violation> {
    told(job, client.job(job).status().await, expected, tally)
}

fn told(
    job: &str,
    state: Result<JobState<'static>, Error>,
    expected: &JobState<'static>,
    tally: &mut ServerSummary,
) -> Result<(), Violation> {
    let state = state.map_err(|error| unanswered("asking after a job", &error))?;
    if state != *expected {
        let what = format!("job {job} of a former life is reported as {state}: it is {expected}");
        return Err(Violation::of(Clause::Receipts, what));
    }
    *tally.jobs.entry(state.to_string()).or_default() += 1;
    Ok(())
}

/// Sends an unanswered write again.
async fn first_retry(
    client: &Client,
    sent: &Sent,
    found: &BTreeMap<Key, u64>,
) -> Result<(), Violation> {
    let (key, version) = &sent.changes[0];
    let was_applied = found.get(key) == version.as_ref();
    let retried = send(client, sent, CommitMode::Async.into()).await;
    let job = retried.map_err(|error| unanswered("a retry", &error))?;
    let is_known = job.applied() == Some(Applied::Before);
    if is_known != was_applied {
        let said = if is_known { "known, but it is not there" } else { "unknown, but it is there" };
        let what = format!("the idempotency key of {} is {said}", describe(sent));
        return Err(Violation::of(Clause::Receipts, what));
    }
    for (key, version) in &sent.changes {
        let found = read(client, key).await.map_err(|error| unanswered("a get", &error))??;
        if found != *version {
            let what = format!("{} was sent again, and is not there", describe(sent));
            return Err(Violation::of(Clause::Receipts, what));
        }
    }
    Ok(())
}

/// Sends an applied write again, after a newer write of its key.
async fn again(
    client: &Client,
    books: &Mutex<Books>,
    sent: &Sent,
    tally: &mut ServerSummary,
) -> Result<(), Violation> {
    let judged = repeat(client, books, JUDGE, sent, CommitMode::Async).await;
    tally.retries += 1;
    judged.map_err(|error| unanswered("a retry", &error))?
}
