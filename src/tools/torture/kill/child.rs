//! The process that is killed.
//!
//! ```text
//!   Start -> Create | Open --> Check --> Write ----------------> ... killed
//!                 |              |         \
//!                 '--> Refused <-'          '--> Close --> Done
//! ```
//!
//! It opens the store as the kill before has left it, checks it, and writes until it is killed or
//! closes the store. If it finds a broken clause, it gives a verdict and ends. An error is right only
//! if the tracer has injected a fault in this life.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::check::{CheckError, Depth, Slack, Verdict, check};
use super::tracer;
use super::witness::{Gravity, Phase, Told, Witness};
use super::workload::{
    Commit, KEYSPACES, LAST, Model, Rng, THREADS, key, keyspace_of, last_value, value,
};
use super::{os, reader};
use crate::tools::torture::{Clause, FailureKind};
use crate::{CommitMode, Error, Keyspace, Options, Receipt, Status, Store, WriteBatch};

/// Most commits of a thread in one life. Without a flush they take no time; more of them would only
/// take the processor from other lives.
const COMMITS: u64 = 200;
/// Most commits of a thread in a long life, and its pause after each.
const LONG_COMMITS: u64 = 20_000;
const PAUSE: Duration = Duration::from_micros(50);
/// Most errors of one life that a failed call excuses: each call that depends on it sees one. A
/// poisoned store answers with errors without limit.
const ERRORS: u64 = 400;
/// Tries of a commit that meets a full disk.
const TRIES: u32 = 2000;

/// The work of one life.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) directory: PathBuf,
    /// The phase it opens in: `Create` or `Open`.
    pub(super) opens: Phase,
    pub(super) depth: Depth,
    /// Close and open again after the check, and check again.
    pub(super) again: bool,
    /// Close the store after this time.
    pub(super) close_after: Option<Duration>,
    /// The thread that makes the mark for the tracer before its next long commit, and the number of
    /// its commits before that.
    pub(super) marked: Option<(usize, u64)>,
    /// It goes on until it is killed, and each of its threads must go on.
    pub(super) is_long: bool,
    /// A reader runs meanwhile and holds values.
    pub(super) reads: bool,
    /// The phase from which the tracer stops it at system calls.
    pub(super) stops_from: Option<Phase>,
    /// Tokens of earlier lives.
    pub(super) older: Vec<Told>,
    /// Seeds the housekeeping and the reader.
    pub(super) seed: u64,
}

/// The options of the stores: so small that everything happens often.
pub(super) fn options() -> Options {
    Options::new()
        .cache_bytes(1 << 20)
        .page_bytes(4096)
        .segment_bytes(64 << 10)
        .checkpoint_log_bytes(256 << 10)
        .max_unsynced_bytes(128 << 10)
        .flush_interval(Duration::from_millis(2))
}

/// Lives. The result is the exit status.
pub(super) fn live(task: &Task, model: &mut Model, witness: Witness) -> i32 {
    std::panic::set_hook(Box::new(move |info| {
        give(&witness, &Verdict::new(Clause::Answers, format!("panic: {info}")));
    }));
    match run(task, model, witness) {
        Ok(()) => witness.enter(Phase::Done),
        // A fault has caused the error.
        Err(CheckError::Refused(error)) if is_excused(&error, witness) => {
            witness.note_error();
            witness.enter(Phase::Refused);
        }
        Err(CheckError::Refused(error)) => {
            let phase = witness.phase().name();
            let title = format!("{phase}: an error for no reason: {error}");
            give(&witness, &Verdict::new(Clause::Answers, title));
        }
        Err(CheckError::Wrong(verdict)) => give(&witness, &verdict),
    }
    0
}

/// Gives the verdict and ends the process.
fn give(witness: &Witness, verdict: &Verdict) -> ! {
    let text = serde_json::to_string(verdict).expect("text, all of it");
    while !witness.give_verdict(&text) {
        // Another thread was first and is about to end the process.
        std::thread::sleep(Duration::from_secs(1));
    }
    os::exit_now(1)
}

/// Whether the injected fault explains an error. No failing call makes bytes wrong or files go missing.
/// A call that can be repeated explains only an interruption. Only a failed flush or write of the
/// device poisons.
fn is_excused(error: &Error, witness: Witness) -> bool {
    let gravity = witness.gravity();
    if let Error::Poisoned { source, .. } = error {
        return gravity == Gravity::Grave && is_of(source, gravity);
    }
    is_of(error, gravity) && witness.errors() < ERRORS
}

fn is_of(error: &Error, gravity: Gravity) -> bool {
    match (gravity, error) {
        (Gravity::Nothing, _) => false,
        (Gravity::Passing, Error::Io { source, .. }) => {
            source.kind() == std::io::ErrorKind::Interrupted
        }
        (Gravity::Passing, _) => false,
        (Gravity::Full, error) => matches!(error, Error::DiskFull { .. }),
        (Gravity::Error, error) => matches!(error, Error::Io { .. } | Error::ReadOnly { .. }),
        (Gravity::Grave, error) => {
            matches!(error, Error::Io { .. } | Error::DiskFull { .. } | Error::ReadOnly { .. })
        }
    }
}

fn run(task: &Task, model: &mut Model, witness: Witness) -> Result<(), CheckError> {
    enter(task.opens, task, witness);
    let mut store = options().open(&task.directory)?;
    witness.enter(Phase::Check);
    check(&store, model, &witness, &task.older, (Slack::InFlight, task.depth))?;
    if task.again {
        store.close()?;
        store = options().must_exist().open(&task.directory)?;
        check(&store, model, &witness, &task.older, (Slack::None, Depth::Everything))?;
    }
    enter(Phase::Write, task, witness);
    let keyspaces = [store.keyspace(KEYSPACES[0])?, store.keyspace(KEYSPACES[1])?];
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let marked = task.marked.and_then(|(t, nth)| (t == thread).then_some(nth));
                let is_long = task.is_long;
                let writer = Writer { thread, marked, is_long, witness, store: &store };
                let (model, keyspaces) = (&*model, &keyspaces);
                scope.spawn(move || {
                    writer.write(model, keyspaces);
                    witness.ended(thread);
                })
            })
            .collect();
        let (store, seed) = (&store, task.seed);
        if task.reads {
            scope.spawn(move || read(store, witness, seed));
        } else {
            witness.reads_no_more();
        }
        let closed = keep_house(task, store, witness);
        for writer in writers {
            writer.join().expect("a panic ends the process");
        }
        closed
    })
}

/// Reads until the store is closed or a fault has been reported.
fn read(store: &Store, witness: Witness, seed: u64) {
    match reader::read(store, witness, seed) {
        Ok(()) => {}
        Err(CheckError::Refused(error)) if is_excused(&error, witness) => witness.note_error(),
        Err(CheckError::Refused(error)) => {
            let title = format!("reading: an error for no reason: {error}");
            give(&witness, &Verdict::new(Clause::Answers, title));
        }
        Err(CheckError::Wrong(verdict)) => give(&witness, &verdict),
    }
    witness.reads_no_more();
}

fn enter(phase: Phase, task: &Task, witness: Witness) {
    if task.stops_from == Some(phase)
        && let Err(status) = tracer::stop_at_calls()
    {
        os::exit_now(status);
    }
    witness.enter(phase);
}

/// Makes checkpoints, and keyspaces that come and go, until it is time to close.
fn keep_house(task: &Task, store: &Store, witness: Witness) -> Result<(), CheckError> {
    let mut rng = Rng::new(task.seed);
    let begun = Instant::now();
    loop {
        let pause = Duration::from_micros(rng.magnitude(2000));
        let left = task.close_after.map(|after| after.saturating_sub(begun.elapsed()));
        std::thread::sleep(left.map_or(pause, |left| left.min(pause)));
        if left.is_some_and(|left| left <= pause) {
            witness.enter(Phase::Close);
            return Ok(store.clone().close()?);
        }
        let done = match rng.below(4) {
            0 => store.keyspace("passing").and_then(|passing| passing.put("k", "v")).map(drop),
            1 => match store.drop_keyspace("passing") {
                Err(Error::NoSuchKeyspace { .. }) => Ok(()),
                dropped => dropped.map(drop),
            },
            _ => store.checkpoint().map(drop),
        };
        match done {
            Ok(()) => {}
            Err(error) if is_excused(&error, witness) => witness.note_error(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A thread that writes.
struct Writer<'a> {
    thread: usize,
    /// Make the mark before the first long commit after this many commits.
    marked: Option<u64>,
    is_long: bool,
    witness: Witness,
    store: &'a Store,
}

/// Whether a thread goes on.
enum Next {
    GoOn,
    /// The store is closed, or takes no commits after a fault.
    End,
}

impl Writer<'_> {
    fn write(&self, model: &Model, keyspaces: &[Keyspace; 2]) {
        let first = model.commits(self.thread);
        let mut marked = self.marked;
        let commits = if self.is_long { LONG_COMMITS } else { COMMITS };
        for number in first..first + commits {
            let commit = Commit::new(model.seed(), self.thread, number);
            if marked.is_some_and(|nth| number - first >= nth) && commit.is_long() {
                marked = None;
                nix::unistd::getppid(); // the mark
            }
            match self.commit(model, keyspaces, number, &commit) {
                Ok(Next::GoOn) if self.is_long => std::thread::sleep(PAUSE),
                Ok(Next::GoOn) => {}
                Ok(Next::End) => return,
                Err(verdict) => give(&self.witness, &verdict),
            }
        }
    }

    fn commit(
        &self,
        model: &Model,
        keyspaces: &[Keyspace; 2],
        number: u64,
        commit: &Commit,
    ) -> Result<Next, Verdict> {
        for _ in 0..TRIES {
            let place = (self.thread, number);
            let executed = execute(self.store, keyspaces, model.seed(), place, commit);
            self.witness.returned(self.thread);
            match executed {
                Ok(receipt) => {
                    self.acknowledge(number, commit, &receipt);
                    return self.look_around(model, keyspaces, number, commit, &receipt);
                }
                Err(Error::Closed) if self.witness.phase() >= Phase::Close => {
                    return Ok(Next::End);
                }
                Err(error) if !is_excused(&error, self.witness) => {
                    let title = format!("commit {number} of thread {}: {error}", self.thread);
                    return Err(Verdict::new(Clause::Answers, title));
                }
                Err(error) => {
                    self.witness.note_error();
                    if !error.is_retryable() {
                        return Ok(Next::End);
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
        }
        let title = format!("thread {}: the disk is full for ever", self.thread);
        let mut verdict = Verdict::new(Clause::Answers, title);
        verdict.kind = FailureKind::Liveness;
        Err(verdict)
    }

    /// Tells the witness, right after the call returned.
    fn acknowledge(&self, number: u64, commit: &Commit, receipt: &Receipt) {
        let told =
            Told { incarnation: u64::from(receipt.incarnation().get()), lsn: receipt.lsn().get() };
        if commit.last {
            self.witness.wrote_last(self.thread, number, told.lsn);
        }
        self.witness.acknowledge(self.thread, told, commit.mode == CommitMode::Sync);
    }

    /// Checks that the commit can be read and that its receipt tells the truth.
    fn look_around(
        &self,
        model: &Model,
        keyspaces: &[Keyspace; 2],
        number: u64,
        commit: &Commit,
        receipt: &Receipt,
    ) -> Result<Next, Verdict> {
        match self.look(model, keyspaces, number, commit, receipt) {
            Ok(()) => Ok(Next::GoOn),
            Err(CheckError::Wrong(verdict)) => Err(verdict),
            Err(CheckError::Refused(Error::Closed)) if self.witness.phase() >= Phase::Close => {
                Ok(Next::End)
            }
            Err(CheckError::Refused(error)) if is_excused(&error, self.witness) => {
                self.witness.note_error();
                Ok(Next::End)
            }
            Err(CheckError::Refused(error)) => {
                let title = format!("after commit {number} of thread {}: {error}", self.thread);
                Err(Verdict::new(Clause::Answers, title))
            }
        }
    }

    fn look(
        &self,
        model: &Model,
        keyspaces: &[Keyspace; 2],
        number: u64,
        commit: &Commit,
        receipt: &Receipt,
    ) -> Result<(), CheckError> {
        let wrong = |clause, what: &str| {
            let title = format!("commit {number} of thread {}: {what}", self.thread);
            Err(CheckError::Wrong(Verdict::new(clause, title)))
        };
        if commit.mode == CommitMode::Sync && !receipt.is_durable() {
            return wrong(Clause::Receipts, "acknowledged in mode Sync, but not durable");
        }
        if commit.awaited {
            receipt.wait()?;
            self.witness.durable(receipt.lsn().get());
        }
        if number.is_multiple_of(8) {
            let change = commit.changes.last().expect("a commit changes something");
            let (slot, thread) = (change.slot, self.thread);
            let expected = change.len.map(|len| value(model.seed(), thread, number, slot, len));
            let found = keyspaces[keyspace_of(slot)].get(key(thread, slot))?;
            if found.as_deref() != expected.as_deref() {
                return wrong(Clause::Answers, "acknowledged, but a read does not show it");
            }
        }
        if number.is_multiple_of(16) {
            let marks = self.store.watermarks();
            if marks.checkpoint > marks.durable || marks.durable > marks.appended {
                return wrong(Clause::Answers, &format!("watermarks out of order: {marks:?}"));
            }
            self.witness.durable(marks.durable.get());
        }
        if number % 32 == 1 {
            if receipt.token() != self.store.token_of(receipt.incarnation(), receipt.lsn())? {
                return wrong(Clause::Receipts, "the receipt and the store give different tokens");
            }
            if self.store.status(&receipt.token())? == Status::Lost {
                return wrong(Clause::Receipts, "acknowledged, but its status is Lost");
            }
        }
        Ok(())
    }
}

fn execute(
    store: &Store,
    keyspaces: &[Keyspace; 2],
    seed: u64,
    (thread, number): (usize, u64),
    commit: &Commit,
) -> Result<Receipt, Error> {
    let place = |slot| (&keyspaces[keyspace_of(slot)], key(thread, slot));
    let bytes = |slot, len| value(seed, thread, number, slot, len);
    if let ([change], false) = (&commit.changes[..], commit.last) {
        let (keyspace, key) = place(change.slot);
        return match change.len {
            Some(len) => keyspace.put_with(key, bytes(change.slot, len), commit.mode),
            None => keyspace.delete_with(key, commit.mode),
        };
    }
    let mut batch = WriteBatch::new();
    for change in &commit.changes {
        let (keyspace, key) = place(change.slot);
        match change.len {
            Some(len) => batch.put(keyspace, key, bytes(change.slot, len)),
            None => batch.delete(keyspace, key),
        }
    }
    if commit.last {
        batch.put(&keyspaces[0], LAST, last_value(thread, number));
    }
    store.write_with(batch, commit.mode)
}
