//! The process that is killed.
//!
//! ```text
//!   Start -> Create | Open --> Check --> Write ----------------> ... killed
//!                 |              |         \
//!                 '--> Refused <-'          '--> Close --> Done
//! ```
//!
//! It opens the store as the kill before has left it, compares, and writes until it is killed or
//! closes the store. What it finds to be wrong it says as a verdict, and ends. An error is right
//! only if the tracer has injected a fault in this life.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::check::{Depth, Slack, Trouble, Verdict, check};
use super::tracer;
use super::witness::{Gravity, Phase, Told, Witness};
use super::workload::{
    Commit, KEYSPACES, LAST, Model, THREADS, key, keyspace_of, last_value, value,
};
use super::{os, reader};
use crate::engine::base::random::SplitMix64;
use crate::tools::torture::{Clause, FailureKind};
use crate::{CommitMode, Error, Keyspace, Options, Receipt, Status, Store, WriteBatch};

/// A thread makes at most so many commits in one life: without a flush they take no time, and
/// more of them would only take the processor from other lives.
const COMMITS: u64 = 200;
/// In a long life it makes more, and waits a little after each.
const LONG_COMMITS: u64 = 20_000;
const BREATH: Duration = Duration::from_micros(50);
/// One call that fails is told to everybody who depends on it, and no more often than this. A store
/// that is poisoned by it tells everybody for ever.
const ERRORS: u64 = 400;
/// A commit that meets a full disk is tried so often.
const TRIES: u32 = 2000;

/// What one life is to do.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) directory: PathBuf,
    /// The phase it opens in: `Create` or `Open`.
    pub(super) opens: Phase,
    pub(super) depth: Depth,
    /// Close and open again after the check, and check again.
    pub(super) again: bool,
    /// Close the store after so long.
    pub(super) close_after: Option<Duration>,
    /// Tell the tracer when this thread is about to commit something long, after so many
    /// commits of its life.
    pub(super) marked: Option<(usize, u64)>,
    /// It goes on until it is killed, and each of its threads must go on.
    pub(super) is_long: bool,
    /// Somebody reads meanwhile, and holds what was read.
    pub(super) reads: bool,
    /// From this phase on the tracer stops it at system calls.
    pub(super) stops_from: Option<Phase>,
    /// Tokens of earlier times.
    pub(super) older: Vec<Told>,
    /// Chance that nothing else hangs on.
    pub(super) seed: u64,
}

/// How the stores are opened: so small that everything happens often.
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
        say(&witness, &Verdict::new(Clause::Answers, format!("panic: {info}")));
    }));
    match run(task, model, witness) {
        Ok(()) => witness.enter(Phase::Done),
        // An error that a fault has caused, told by a call that could not do its work.
        Err(Trouble::Refused(error)) if is_excused(&error, witness) => {
            witness.note_error();
            witness.enter(Phase::Refused);
        }
        Err(Trouble::Refused(error)) => {
            let phase = witness.phase().name();
            let title = format!("{phase}: an error for no reason: {error}");
            say(&witness, &Verdict::new(Clause::Answers, title));
        }
        Err(Trouble::Wrong(verdict)) => say(&witness, &verdict),
    }
    0
}

/// Gives the verdict and ends the process.
fn say(witness: &Witness, verdict: &Verdict) -> ! {
    let text = serde_json::to_string(verdict).expect("text, all of it");
    while !witness.give_verdict(&text) {
        // Another thread is about to end the process.
        std::thread::sleep(Duration::from_secs(1));
    }
    os::exit_now(1)
}

/// Whether the fault that was injected is the reason for an error. No failing call makes bytes
/// wrong or files go missing, one that can be made again is no reason for much, and only a failed
/// flush or write of the device poisons.
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

fn run(task: &Task, model: &mut Model, witness: Witness) -> Result<(), Trouble> {
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

/// Reads until the store is closed, or a fault has been told.
fn read(store: &Store, witness: Witness, seed: u64) {
    match reader::read(store, witness, seed) {
        Ok(()) => {}
        Err(Trouble::Refused(error)) if is_excused(&error, witness) => witness.note_error(),
        Err(Trouble::Refused(error)) => {
            let title = format!("reading: an error for no reason: {error}");
            say(&witness, &Verdict::new(Clause::Answers, title));
        }
        Err(Trouble::Wrong(verdict)) => say(&witness, &verdict),
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
fn keep_house(task: &Task, store: &Store, witness: Witness) -> Result<(), Trouble> {
    let mut rng = SplitMix64::new(task.seed);
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
    /// Tell the tracer before a long commit, after so many.
    marked: Option<u64>,
    is_long: bool,
    witness: Witness,
    store: &'a Store,
}

/// What becomes of a thread.
enum Next {
    GoOn,
    /// The store is closed, or closed to commits for a fault.
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
                Ok(Next::GoOn) if self.is_long => std::thread::sleep(BREATH),
                Ok(Next::GoOn) => {}
                Ok(Next::End) => return,
                Err(verdict) => say(&self.witness, &verdict),
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

    /// Right after the call returned.
    fn acknowledge(&self, number: u64, commit: &Commit, receipt: &Receipt) {
        let told =
            Told { incarnation: u64::from(receipt.incarnation().get()), lsn: receipt.lsn().get() };
        if commit.last {
            self.witness.wrote_last(self.thread, number, told.lsn);
        }
        self.witness.acknowledge(self.thread, told, commit.mode == CommitMode::Sync);
    }

    /// What was acknowledged can be read, and its receipt tells the truth.
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
            Err(Trouble::Wrong(verdict)) => Err(verdict),
            Err(Trouble::Refused(Error::Closed)) if self.witness.phase() >= Phase::Close => {
                Ok(Next::End)
            }
            Err(Trouble::Refused(error)) if is_excused(&error, self.witness) => {
                self.witness.note_error();
                Ok(Next::End)
            }
            Err(Trouble::Refused(error)) => {
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
    ) -> Result<(), Trouble> {
        let wrong = |clause, what: &str| {
            let title = format!("commit {number} of thread {}: {what}", self.thread);
            Err(Trouble::Wrong(Verdict::new(clause, title)))
        };
        if commit.mode == CommitMode::Sync && !receipt.is_durable() {
            return wrong(Clause::Receipts, "acknowledged in mode Sync, and not durable");
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
                return wrong(Clause::Answers, "acknowledged, and not to be read");
            }
        }
        if number.is_multiple_of(16) {
            let marks = self.store.watermarks();
            if marks.checkpoint > marks.durable || marks.durable > marks.appended {
                return wrong(Clause::Answers, &format!("no such order: {marks:?}"));
            }
            self.witness.durable(marks.durable.get());
        }
        if number % 32 == 1 {
            if receipt.token() != self.store.token_of(receipt.incarnation(), receipt.lsn())? {
                return wrong(Clause::Receipts, "its token has another form");
            }
            if self.store.status(&receipt.token())? == Status::Lost {
                return wrong(Clause::Receipts, "acknowledged, and said to be lost");
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
