//! A writing process is killed at random moments, and another process checks its store.
//!
//! ```text
//!   child: commit, acknowledged -- pipe --> parent: notes it
//!   child: next commit ...                  parent: SIGKILL, reads the pipe to its end,
//!                                                   opens the store, compares
//! ```
//!
//! Each thread of the child makes one commit after the other, and reports each before it begins the
//! next. The seed, the thread and a number determine a commit. So after a kill, a thread's keys hold the
//! result of all its acknowledged commits, in either mode, and of at most one more, whole or not at all.
//!
//! The child is killed while it opens (and recovers) the store, writes, makes checkpoints, and
//! closes. Half of the time a copy of the directory is checked, and the next child opens the original
//! as the kill has left it.
//!
//! The kill tier of `syncline torture` kills far more often and in more places, but it needs Linux and
//! the feature `cli`. This test runs everywhere.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use support::random::SplitMix64;
use support::{Contents, assert_counts, assert_sound, read_all, seed};
use syncline::{CommitMode, Error, Keyspace, Options, Receipt, Status, Store, WriteBatch};

const CYCLES: u64 = 8;
const THREADS: u64 = 5;
const KEYS: u64 = 150;
/// The child's task: `seed|directory|what|first numbers`.
const TASK: &str = "SYNCLINE_KILL_TASK";

fn options() -> Options {
    Options::new()
        .cache_bytes(1 << 20)
        .page_bytes(4096)
        .segment_bytes(128 << 10)
        .checkpoint_log_bytes(512 << 10)
        .max_unsynced_bytes(256 << 10)
        .flush_interval(Duration::from_millis(5))
}

// --- the commits ---

#[derive(Clone, Debug)]
struct Change {
    keyspace: usize,
    key: Vec<u8>,
    /// Length and byte of the value, or `None` for a deletion.
    value: Option<(usize, u8)>,
}

#[derive(Debug)]
struct Commit {
    mode: CommitMode,
    changes: Vec<Change>,
}

/// The `number`-th commit of `thread`.
fn commit(seed: u64, thread: u64, number: u64) -> Commit {
    let mut rng =
        SplitMix64::new(seed ^ (thread << 56) ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mode = match thread {
        0 | 1 => CommitMode::Sync,
        2 | 3 => CommitMode::Async,
        _ if rng.below(4) == 0 => CommitMode::Sync,
        _ => CommitMode::Async,
    };
    let changes = if rng.below(6) == 0 { 2 + rng.below(30) } else { 1 };
    let changes = (0..changes).map(|_| change(&mut rng, thread)).collect();
    Commit { mode, changes }
}

fn change(rng: &mut SplitMix64, thread: u64) -> Change {
    let key = format!("{thread}/{:05}", rng.below(KEYS)).into_bytes();
    let len = match rng.below(200) {
        0 => 40_000 + rng.below(200_000),
        1..10 => 1000 + rng.below(5000),
        _ => rng.below(200),
    };
    let value = (rng.below(5) != 0).then(|| (len as usize, rng.next() as u8));
    Change { keyspace: rng.below(2) as usize, key, value }
}

fn bytes((len, byte): (usize, u8)) -> Vec<u8> {
    vec![byte; len]
}

fn execute(store: &Store, keyspaces: &[Keyspace; 2], commit: &Commit) -> Result<Receipt, Error> {
    if let [Change { keyspace, key, value }] = &commit.changes[..] {
        let keyspace = &keyspaces[*keyspace];
        return match value {
            Some(value) => keyspace.put_with(key, bytes(*value), commit.mode),
            None => keyspace.delete_with(key, commit.mode),
        };
    }
    let mut batch = WriteBatch::new();
    for Change { keyspace, key, value } in &commit.changes {
        match value {
            Some(value) => batch.put(&keyspaces[*keyspace], key, bytes(*value)),
            None => batch.delete(&keyspaces[*keyspace], key),
        }
    }
    store.write_with(batch, commit.mode)
}

// --- the child ---

/// The child process; as a test it does nothing.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let mut words = task.split('|');
    let seed = words.next().unwrap().parse().unwrap();
    let directory = Path::new(words.next().unwrap());
    let what = words.next().unwrap();
    let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();

    tell("opening");
    let store = options().on_recovery(|progress| tell(progress.phase)).open(directory).unwrap();
    tell("open");
    if what == "open" {
        std::thread::sleep(Duration::from_secs(60));
    }
    let keyspaces = [store.keyspace("a").unwrap(), store.keyspace("b").unwrap()];
    std::thread::scope(|scope| {
        for (thread, first) in (0..).zip(numbers) {
            let (store, keyspaces) = (&store, &keyspaces);
            scope.spawn(move || {
                for number in first.. {
                    match execute(store, keyspaces, &commit(seed, thread, number)) {
                        Ok(receipt) => tell(&format!("ack {thread} {number} {}", receipt.token())),
                        Err(Error::Closed) => return,
                        Err(error) => panic!("thread {thread}, commit {number}: {error}"),
                    }
                }
            });
        }
        if what == "close" {
            std::thread::sleep(Duration::from_millis(50 + seed % 50));
            tell("closing");
            store.clone().close().unwrap();
            tell("closed");
            return;
        }
        loop {
            std::thread::sleep(Duration::from_millis(20));
            store.checkpoint().unwrap();
        }
    });
    std::thread::sleep(Duration::from_secs(60));
}

/// Prints a line in one system call, so that a kill leaves all of it or nothing.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("@{line}\n").as_bytes()).unwrap();
}

// --- the parent ---

struct Witnessed {
    child: Child,
    lines: Receiver<String>,
}

impl Witnessed {
    fn start(seed: u64, directory: &Path, what: &str, numbers: &[u64]) -> Self {
        let mut task = format!("{seed}|{}|{what}", directory.display());
        numbers.iter().for_each(|number| task += &format!("|{number}"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(TASK, task)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let pipe = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            pipe.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Witnessed { child, lines }
    }

    /// Reads until the line `until`, or for `at_most`, and kills the child after `more`. Returns all lines.
    fn kill(mut self, until: &str, at_most: Duration, more: Duration) -> Vec<String> {
        let mut said = Vec::new();
        let mut deadline = Instant::now() + at_most;
        let mut waits = true;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if waits && line == until {
                        waits = false;
                        deadline = Instant::now() + more;
                    }
                    said.push(line);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the child died: {said:#?}"),
            }
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        said.extend(self.lines.iter());
        let odd: Vec<_> = said.iter().filter(|line| !line.starts_with('@')).collect();
        assert!(odd.is_empty(), "the child said: {odd:#?}");
        said
    }
}

/// The expected contents of the store.
struct Witness {
    seed: u64,
    /// Per thread, how many commits are known to be in the store.
    numbers: Vec<u64>,
    /// Per thread, the contents after those commits.
    models: Vec<Contents>,
    tokens: Vec<String>,
}

impl Witness {
    fn new(seed: u64) -> Self {
        let empty = Contents::from([("a".into(), BTreeMap::new()), ("b".into(), BTreeMap::new())]);
        Witness {
            seed,
            numbers: vec![0; THREADS as usize],
            models: vec![empty; THREADS as usize],
            tokens: Vec::new(),
        }
    }

    fn note(&mut self, said: &[String]) {
        for line in said {
            let Some(ack) = line.strip_prefix("@ack ") else { continue };
            let words: Vec<&str> = ack.split(' ').collect();
            let (thread, number): (usize, u64) =
                (words[0].parse().unwrap(), words[1].parse().unwrap());
            assert_eq!(number, self.numbers[thread], "acknowledged in order");
            self.apply_next(thread);
            self.tokens.push(words[2].to_owned());
        }
        // Newer tokens matter most, but some old ones are kept too.
        if self.tokens.len() > 4000 {
            let recent = self.tokens.split_off(self.tokens.len() - 1000);
            self.tokens = self.tokens.iter().step_by(10).cloned().chain(recent).collect();
        }
    }

    fn apply_next(&mut self, thread: usize) {
        let commit = commit(self.seed, thread as u64, self.numbers[thread]);
        for Change { keyspace, key, value } in commit.changes {
            let entries = self.models[thread].get_mut(["a", "b"][keyspace]).unwrap();
            match value {
                Some(value) => entries.insert(key, bytes(value)),
                None => entries.remove(&key),
            };
        }
        self.numbers[thread] += 1;
    }

    /// Opens the store and compares. A commit that was not acknowledged may be there.
    fn check(&mut self, directory: &Path) {
        let store = options().open(directory).unwrap();
        let stats = store.stats();
        let recovery = &stats.recovery;
        assert!(recovery.recovered_to <= stats.watermarks.durable, "{stats:#?}");
        if recovery.was_clean {
            assert_eq!((recovery.records_replayed, recovery.bytes_cut), (0, 0), "{stats:#?}");
        }
        let contents = read_all(&store).unwrap();
        for thread in 0..THREADS as usize {
            let theirs = part_of(&contents, thread);
            if theirs != self.models[thread] {
                self.apply_next(thread);
            }
            if let Some(difference) = difference(&theirs, &self.models[thread]) {
                let number = self.numbers[thread];
                panic!(
                    "thread {thread}: neither after {} nor after {number} commits: {difference}",
                    number - 1
                );
            }
        }
        for token in &self.tokens {
            assert_eq!(store.status(token).unwrap(), Status::Durable, "{token}");
        }
        assert_counts(&store, &contents);
        assert_sound(&store);
        store.close().unwrap();
    }
}

/// The keys of a thread, in both keyspaces.
fn part_of(contents: &Contents, thread: usize) -> Contents {
    let prefix = format!("{thread}/");
    let part = |name: &str| {
        let entries = contents.get(name).into_iter().flatten();
        let ours = entries.filter(|(key, _)| key.starts_with(prefix.as_bytes()));
        (name.to_owned(), ours.map(|(key, value)| (key.clone(), value.clone())).collect())
    };
    Contents::from([part("a"), part("b")])
}

/// The first difference, with values shortened.
fn difference(found: &Contents, expected: &Contents) -> Option<String> {
    for name in ["a", "b"] {
        let (found, expected) = (&found[name], &expected[name]);
        for key in found.keys().chain(expected.keys()) {
            if found.get(key) != expected.get(key) {
                let short = |value: Option<&Vec<u8>>| value.map(|v| (v.len(), v.first().copied()));
                let (found, expected) = (short(found.get(key)), short(expected.get(key)));
                let key = key.escape_ascii();
                return Some(format!("{name}: {key}: expected {expected:?}, found {found:?}"));
            }
        }
    }
    None
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let seed = seed();
    println!("replay (the moments differ): SYNCLINE_SEED={seed} cargo test --test kill");
    let temp = tempfile::tempdir().unwrap();
    let directory = temp.path().join("store");
    let mut rng = SplitMix64::new(seed);
    let mut witness = Witness::new(seed);
    let long = Duration::from_secs(60);
    for cycle in 0..CYCLES {
        let micros = |n: u64| Duration::from_micros(n);
        let (what, until, more) = match rng.below(6) {
            0 => ("write", "@open", micros(rng.below(20_000))),
            1 => ("close", "@closing", micros(rng.below(30_000))),
            _ => ("write", "@open", micros(rng.below(250_000))),
        };
        println!("cycle {cycle}: {what}, killed {more:?} after {until}");
        let child = Witnessed::start(seed, &directory, what, &witness.numbers);
        witness.note(&child.kill(until, long, more));
        for _ in 0..rng.below(3) {
            // Kill during recovery too.
            let until = ["@opening", "@opening", "@replay", "@checkpoint"][rng.below(4) as usize];
            let more = micros(rng.below(if until == "@opening" { 20_000 } else { 4_000 }));
            println!("cycle {cycle}: open, killed {more:?} after {until}");
            let child = Witnessed::start(seed, &directory, "open", &[]);
            child.kill(until, Duration::from_millis(100), more);
        }
        if rng.below(2) == 0 {
            witness.check(&directory);
        } else {
            let copied = tempfile::tempdir().unwrap();
            copy(&directory, copied.path());
            witness.check(copied.path());
        }
    }
    println!("commits: {:?}", witness.numbers);
    assert!(witness.numbers.iter().all(|number| *number > 0));
}
