//! One life of a server: clients write in all modes, pipelined, until it is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::super::Clause;
use super::super::sim::Violation;
use super::books::{
    Books, KEYSPACES, Key, Sent, describe, keyspace_of, name, shown, value, version_of,
};
use super::host::{Host, harness, unanswered};
use super::pipeline;
use crate::CommitMode;
use crate::engine::disk::sim::rng::SplitMix64;
use crate::net::client::{Applied, Batch, Client, Error, Job, JobState, Result as Answered, Write};

/// Connections, and the writers that share each.
const CONNECTIONS: u64 = 4;
const WRITERS: u64 = 8;
/// Keys of a writer, in each keyspace.
const KEYS: u64 = 6;
/// The time that a writer has to notice that its server is gone.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// The timeout of a long poll.
const POLL: Duration = Duration::from_secs(5);

/// The state that the tasks of a life share.
struct Life {
    books: Arc<Mutex<Books>>,
    /// The server was killed or is about to be, so that errors of connections are expected.
    is_over: AtomicBool,
    broken: Mutex<Option<Violation>>,
}

/// Writes for the time `after`, and then kills the server.
///
/// The runtime has one thread, so no writer runs between the store to `is_over` and the signal: the
/// kill meets all writers with requests under way.
pub(super) async fn live(
    host: &mut Host<'_>,
    books: &Arc<Mutex<Books>>,
    after: Duration,
    seed: u64,
) -> Result<(), Violation> {
    let mut rng = SplitMix64::new(seed);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(host.client().await?);
    }
    let (_cutter, cut) = host.cut_client(rng.next()).await?;
    for keyspace in KEYSPACES {
        let created = clients[0].keyspace(keyspace).await;
        created.map_err(|error| unanswered("making a keyspace", &error))?;
    }
    if !books.lock().is_filled {
        let filled = pipeline::fill(&clients[0]).await;
        filled.map_err(|error| unanswered("filling a keyspace", &error))?;
        books.lock().is_filled = true;
    }
    let life = Life { books: Arc::clone(books), is_over: false.into(), broken: Mutex::default() };
    let life = Arc::new(life);
    let mut writers: Vec<_> = (0..CONNECTIONS * WRITERS)
        .map(|number| {
            let client = clients[(number % CONNECTIONS) as usize].clone();
            let rng = SplitMix64::new(rng.next());
            let life = Arc::clone(&life);
            tokio::spawn(Writer { life, client, number, rng, last: None, uncut: None }.run())
        })
        .collect();
    for number in 0..WRITERS {
        let (life, client, rng) = (Arc::clone(&life), cut.clone(), SplitMix64::new(rng.next()));
        let (number, uncut) = (CONNECTIONS * WRITERS + number, Some(clients[0].clone()));
        writers.push(tokio::spawn(Writer { life, client, number, rng, last: None, uncut }.run()));
    }
    drop(cut);
    tokio::time::sleep(after).await;
    life.is_over.store(true, Ordering::Relaxed);
    let killed = host.kill();
    for mut writer in writers {
        match tokio::time::timeout(LAST_WORDS, &mut writer).await {
            Ok(ended) => ended.map_err(|panic| harness(format!("a writer: {panic}")))?,
            // It waits for the next server, which it must not reach.
            Err(_) => writer.abort(),
        }
    }
    let broken = life.broken.lock().take();
    // A server that ended by itself says more than the errors that the writers saw.
    killed.and(broken.map_or(Ok(()), Err))
}

/// Sends a write, for the first time or again.
pub(super) async fn send(client: &Client, sent: &Sent, how: Write) -> Answered<Job> {
    let how = match &sent.once {
        Some(once) => how.once(once.as_str()),
        None => how,
    };
    if let [(key, version)] = &sent.changes[..] {
        let keyspace = client.existing_keyspace(keyspace_of(key.0));
        return match version {
            Some(version) => keyspace.put_with(&key.1, value(key, *version), how).await,
            None => keyspace.delete_with(&key.1, how).await,
        };
    }
    let mut batch = Batch::new();
    for (key, version) in &sent.changes {
        let keyspace = KEYSPACES[key.0];
        batch.put(keyspace, &key.1, "overwritten in the same batch");
        match version {
            Some(version) => batch.put(keyspace, &key.1, value(key, *version)),
            None => batch.delete(keyspace, &key.1),
        }
    }
    client.write(&batch, how).await
}

/// Reads the version of a key.
pub(super) async fn read(client: &Client, key: &Key) -> Answered<Result<Option<u64>, Violation>> {
    let found = client.existing_keyspace(keyspace_of(key.0)).get(&key.1).await?;
    Ok(found.map(|found| version_of(key, &found)).transpose())
}

/// Puts a newer version of the first key of `sent`, an applied write with an idempotency key, and then
/// sends `sent` again. The server must know it and change nothing. The caller judges an error of the
/// client.
pub(super) async fn repeat(
    client: &Client,
    books: &Mutex<Books>,
    writer: u64,
    sent: &Sent,
    again: CommitMode,
) -> Answered<Result<(), Violation>> {
    let key = &sent.changes[0].0;
    let newer = {
        let mut books = books.lock();
        let version = books.next_version(key);
        let newer = (key.clone(), Some(version));
        let newer = Sent { changes: vec![newer], once: None, how: "an async put" };
        books.send(writer, newer.clone());
        newer
    };
    let answer = send(client, &newer, CommitMode::Async.into()).await;
    if answer.as_ref().is_err_and(Error::is_undone) {
        books.lock().never_sent(writer);
    }
    books.lock().answered(writer, answer?.id());
    let job = send(client, sent, again.into()).await?;
    if job.applied() != Some(Applied::Before) {
        let what = format!("{} was sent again and applied again", describe(sent));
        return Ok(Err(Violation::of(Clause::Receipts, what)));
    }
    let found = match read(client, key).await? {
        Ok(found) => found,
        Err(violation) => return Ok(Err(violation)),
    };
    let expected = newer.changes[0].1;
    if found != expected {
        let (key, found, expected) = (name(key), shown(found), shown(expected));
        let what =
            format!("{key} is {found} and not {expected} after a retry of {}", describe(sent));
        return Ok(Err(Violation::of(Clause::Receipts, what)));
    }
    Ok(Ok(()))
}

/// A task that writes.
struct Writer {
    life: Arc<Life>,
    client: Client,
    number: u64,
    rng: SplitMix64,
    /// The last answered write with an idempotency key.
    last: Option<Sent>,
    /// A client that is never cut off, if the writer's own client is at times.
    uncut: Option<Client>,
}

/// The next action of a writer.
#[derive(Clone, Copy)]
enum WriterAction {
    Put,
    Delete,
    Batch,
    Repeat,
    Read,
    Pipeline,
    Operation,
}

impl Writer {
    async fn run(mut self) {
        while !self.life.is_over.load(Ordering::Relaxed) {
            if let Err(violation) = self.act().await {
                self.life.broken.lock().get_or_insert(violation);
                return;
            }
        }
    }

    async fn act(&mut self) -> Result<(), Violation> {
        const ACTIONS: [WriterAction; 16] = [
            WriterAction::Put,
            WriterAction::Put,
            WriterAction::Put,
            WriterAction::Put,
            WriterAction::Put,
            WriterAction::Put,
            WriterAction::Put,
            WriterAction::Put,
            WriterAction::Put,
            WriterAction::Delete,
            WriterAction::Batch,
            WriterAction::Batch,
            WriterAction::Batch,
            WriterAction::Batch,
            WriterAction::Repeat,
            WriterAction::Read,
        ];
        let action = match self.rng.below(200) {
            0 => WriterAction::Operation,
            1..12 => WriterAction::Pipeline,
            chance => ACTIONS[chance as usize % ACTIONS.len()],
        };
        let action = match (action, &self.uncut) {
            // A writer that is cut off never learns the outcome of a write without an idempotency key.
            (
                WriterAction::Delete
                | WriterAction::Repeat
                | WriterAction::Pipeline
                | WriterAction::Operation,
                Some(_),
            ) => WriterAction::Put,
            (action, _) => action,
        };
        match action {
            WriterAction::Put => {
                let key = self.key();
                self.write(&[key], false).await
            }
            WriterAction::Delete => {
                let key = self.key();
                self.write(&[key], true).await
            }
            WriterAction::Batch => {
                // The same key in both keyspaces, and one more.
                let number = self.rng.below(KEYS);
                let mut keys: Vec<Key> = (0..2).map(|space| self.named(space, number)).collect();
                keys.push(self.named(self.number as usize % 2, (number + 1) % KEYS));
                let deletes = self.rng.below(3) == 0;
                self.write(&keys, deletes).await
            }
            WriterAction::Repeat => self.repeat().await,
            WriterAction::Read => self.read().await,
            WriterAction::Pipeline => self.pipeline().await,
            WriterAction::Operation => self.begin().await,
        }
    }

    fn named(&self, keyspace: usize, number: u64) -> Key {
        (keyspace, format!("{}-{number}", self.number))
    }

    fn key(&mut self) -> Key {
        let (space, number) = (self.rng.below(2) as usize, self.rng.below(KEYS));
        self.named(space, number)
    }

    /// Writes, in any mode, with an idempotency key or without. In a batch that deletes, only the last
    /// change is a delete.
    async fn write(&mut self, keys: &[Key], deletes: bool) -> Result<(), Violation> {
        let mode = self.rng.below(8);
        let one_in = if self.uncut.is_some() { 1 } else { 4 };
        let is_once = !(deletes && keys.len() == 1) && self.rng.below(one_in) == 0;
        let (how, mut words) = match mode {
            0 => (CommitMode::Sync.into(), ["a sync put", "a sync batch", "a sync delete"]),
            1..=4 => {
                (CommitMode::Async.into(), ["an async put", "an async batch", "an async delete"])
            }
            _ => (Write::job(), ["a put as a job", "a batch as a job", "a delete as a job"]),
        };
        if is_once {
            words = ["a put once", "a batch once", ""];
        }
        let sent = {
            let mut books = self.life.books.lock();
            let last = keys.len() - 1;
            let change = |(at, key): (usize, &Key)| {
                let version = books.next_version(key);
                (key.clone(), (!deletes || at < last).then_some(version))
            };
            let changes: Vec<_> = keys.iter().enumerate().map(change).collect();
            let once = is_once.then(|| {
                let (key, version) = &changes[0];
                format!("{} {}", name(key), version.unwrap_or(0))
            });
            let how = words[if keys.len() > 1 { 1 } else { 2 * usize::from(deletes) }];
            let sent = Sent { changes, once, how };
            books.send(self.number, sent.clone());
            sent
        };
        let job = match self.send(&sent, how).await? {
            Some(job) => job,
            None => return Ok(()),
        };
        if mode == 0 && !job.is_durable() {
            let what = format!("{} was answered before it was durable", describe(&sent));
            return Err(Violation::of(Clause::Receipts, what));
        }
        if job.applied() == Some(Applied::Before) && self.uncut.is_none() {
            let what = format!("{} was taken for an earlier write", describe(&sent));
            return Err(Violation::of(Clause::Receipts, what));
        }
        self.life.books.lock().answered(self.number, job.id());
        if is_once {
            self.last = Some(sent);
        }
        match mode {
            7 => self.follow(&job).await,
            _ => Ok(()),
        }
    }

    /// Sends a write. `None` after an excused error: then the write was not begun, or the server is
    /// gone. A writer that was cut off sends it again until it is answered.
    async fn send(&mut self, sent: &Sent, how: Write) -> Result<Option<Job>, Violation> {
        let mut may_be_done = false;
        loop {
            let error = match send(&self.client, sent, how.clone()).await {
                Ok(job) => return Ok(Some(job)),
                Err(error) => error,
            };
            self.excuse(sent.how, &error)?;
            may_be_done |= !error.is_undone();
            if self.life.is_over.load(Ordering::Relaxed) {
                if !may_be_done {
                    self.life.books.lock().never_sent(self.number);
                }
                return Ok(None);
            }
            if !may_be_done {
                self.check_undone(sent, &error).await?;
                self.life.books.lock().never_sent(self.number);
                return Ok(None);
            }
        }
    }

    /// Checks in the store that a write is undone, as `error` claims (SERVERKILL-6).
    async fn check_undone(&self, sent: &Sent, error: &Error) -> Result<(), Violation> {
        let Some(uncut) = &self.uncut else { return Ok(()) };
        for (key, version) in &sent.changes {
            let settled = self.life.books.lock().settled(key);
            let found = match read(uncut, key).await {
                Ok(found) => found?,
                Err(error) => return self.excuse("a get", &error),
            };
            if found != settled {
                let (found, new) = (shown(found), shown(*version));
                let what = format!(
                    "{} is {found} after {}, which sends {new} and is undone by its error: {error}",
                    name(key),
                    describe(sent)
                );
                return Err(Violation::of(Clause::Receipts, what));
            }
        }
        Ok(())
    }

    /// Waits for a job, in one of three ways.
    async fn follow(&mut self, job: &Job) -> Result<(), Violation> {
        let state = match self.rng.below(3) {
            0 => job.status().await,
            1 => job.wait(POLL).await,
            _ => match job.watch().next().await {
                Some(told) => told.map(|(_, state)| state),
                None => return Ok(()),
            },
        };
        match state {
            Ok(JobState::Appended | JobState::Durable) => Ok(()),
            Ok(state) => {
                let what =
                    format!("a job of this life is {state}, and should be appended or durable");
                Err(Violation::of(Clause::Receipts, what))
            }
            Err(error) => self.excuse("asking after a job", &error),
        }
    }

    async fn repeat(&mut self) -> Result<(), Violation> {
        let Some(sent) = self.last.take() else { return Ok(()) };
        let again = if self.rng.below(4) == 0 { CommitMode::Sync } else { CommitMode::Async };
        match repeat(&self.client, &self.life.books, self.number, &sent, again).await {
            Ok(judged) => judged,
            Err(error) => self.excuse("a retry", &error),
        }
    }

    /// Reads one of the writer's keys. No other task writes them, and nothing is under way.
    async fn read(&mut self) -> Result<(), Violation> {
        let key = self.key();
        let expected = self.life.books.lock().settled(&key);
        match read(&self.client, &key).await {
            Ok(found) => {
                let found = found?;
                if found == expected {
                    return Ok(());
                }
                let (key, found, expected) = (name(&key), shown(found), shown(expected));
                Err(Violation::safety(format!("{key} is {found} and not {expected}")))
            }
            Err(error) => self.excuse("a get", &error),
        }
    }

    async fn pipeline(&mut self) -> Result<(), Violation> {
        let (client, books) = (&self.client, &self.life.books);
        match pipeline::pipeline(client, books, self.number, &mut self.rng).await {
            Ok(judged) => judged,
            Err(error) => self.excuse("pipelined writes", &error),
        }
    }

    async fn begin(&mut self) -> Result<(), Violation> {
        let begun = match self.rng.below(2) {
            0 => self.client.begin_checkpoint().await,
            _ => self.client.begin_verify().await,
        };
        match begun {
            Ok(job) => {
                self.life.books.lock().begun(job.id());
                Ok(())
            }
            Err(error) => self.excuse("beginning an operation", &error),
        }
    }

    /// Excuses errors of a killed server and of a cut connection. A cut excuses no breach of the
    /// protocol.
    fn excuse(&self, what: &str, error: &Error) -> Result<(), Violation> {
        let is_breach = matches!(error, Error::Protocol(_));
        if self.uncut.is_some() && error.code().is_none() && !is_breach {
            return Ok(());
        }
        if self.life.is_over.load(Ordering::Relaxed) && error.code().is_none() {
            return Ok(());
        }
        Err(unanswered(what, error))
    }
}
