//! The books of one store over all lives of its server: the writes that were sent and answered.
//!
//! Each writer owns its keys and has one write under way. So a key has at most two possible values:
//! the one settled last, and the one of the write whose answer never came. A value names its key and
//! version, and has a random length.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Clause;
use super::super::sim::Violation;
use crate::engine::disk::sim::rng::mix;

/// The keyspaces. A batch writes the same key in both.
pub(super) const KEYSPACES: [&str; 2] = ["left", "right"];
/// The number of the keyspace that is larger than the cache.
pub(super) const COLD: usize = KEYSPACES.len();
/// Answered writes with an idempotency key that the next life sends again: the latest ones.
const REPEATED: usize = 24;
/// Job ids of one life that the next life checks: the latest ones.
const JOBS: usize = 400;

/// A keyspace, by its number, and a key.
pub(super) type Key = (usize, String);

/// The state of a key: a version, or none if it is deleted.
pub(super) type Version = Option<u64>;

/// A write, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) changes: Vec<(Key, Version)>,
    pub(super) once: Option<String>,
    /// The kind of write, in words.
    pub(super) how: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    rows: BTreeMap<Key, Row>,
    /// The unanswered write of each writer.
    under_way: BTreeMap<u64, Sent>,
    /// Keys of pipelined writes in the present life.
    pipes: BTreeMap<Key, Pipe>,
    /// Whether the keyspace that is larger than the cache has been filled.
    pub(super) is_filled: bool,
    /// Answered writes with an idempotency key.
    repeated: Vec<Sent>,
    /// Jobs of answered writes of the present life.
    jobs: Vec<String>,
    /// Jobs of long operations of the present life.
    operations: Vec<String>,
    /// Answered writes, by kind.
    pub(super) answered: BTreeMap<&'static str, u64>,
}

/// The versions of one key in pipelined writes, in order.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) sent: Vec<Version>,
    /// The number of leading versions that are known to be applied.
    pub(super) answered: usize,
}

impl Pipe {
    /// Whether the key may have this state after a kill.
    pub(super) fn may_show(&self, found: Version) -> bool {
        let first = self.answered.checked_sub(1);
        let is_untouched = first.is_none() && found.is_none();
        is_untouched || self.sent[first.unwrap_or(0)..].contains(&found)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// The version that was sent last.
    sent: u64,
    settled: Version,
}

/// The writes and jobs of a life that the next life is asked about.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) under_way: Vec<Sent>,
    pub(super) repeated: Vec<Sent>,
    pub(super) jobs: Vec<String>,
    pub(super) operations: Vec<String>,
}

impl Books {
    /// The next version for a key, for the writer that owns it.
    pub(super) fn next_version(&mut self, key: &Key) -> u64 {
        let row = self.rows.entry(key.clone()).or_default();
        row.sent += 1;
        row.sent
    }

    /// Notes a write before it is sent.
    pub(super) fn send(&mut self, writer: u64, sent: Sent) {
        let before = self.under_way.insert(writer, sent);
        assert!(before.is_none(), "a writer has one write under way");
    }

    /// Notes that the writer's write was answered with this job.
    pub(super) fn answered(&mut self, writer: u64, job: &str) {
        let sent = self.under_way.remove(&writer).expect("sent before");
        self.settle(&sent);
        *self.answered.entry(sent.how).or_default() += 1;
        self.jobs.push(job.to_owned());
        if sent.once.is_some() {
            self.repeated.push(sent);
        }
    }

    /// Notes the versions of a key before pipelined writes are sent.
    pub(super) fn pipe(&mut self, key: &Key, sent: &[Version]) {
        self.pipes.insert(key.clone(), Pipe { sent: sent.to_vec(), answered: 0 });
    }

    /// Notes that the write number `answered` was answered: it and those before it are applied.
    pub(super) fn piped(&mut self, key: &Key, answered: usize) {
        let pipe = self.pipes.get_mut(key).expect("sent before");
        pipe.answered = pipe.answered.max(answered);
        *self.answered.entry("pipelined").or_default() += 1;
    }

    /// The keys of pipelined writes in the life that has ended.
    pub(super) fn take_pipes(&mut self) -> BTreeMap<Key, Pipe> {
        std::mem::take(&mut self.pipes)
    }

    /// Notes that the writer's write was certainly not begun.
    pub(super) fn never_sent(&mut self, writer: u64) {
        self.under_way.remove(&writer);
    }

    /// Notes the job of a long operation.
    pub(super) fn begun(&mut self, job: &str) {
        self.operations.push(job.to_owned());
    }

    /// The state that a key must have when nothing is under way for it.
    pub(super) fn settled(&self, key: &Key) -> Version {
        self.rows.get(key).and_then(|row| row.settled)
    }

    /// Notes that a write is applied.
    pub(super) fn settle(&mut self, sent: &Sent) {
        for (key, version) in &sent.changes {
            self.rows.get_mut(key).expect("sent before").settled = *version;
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Compares the contents in a new life with the books, and settles the writes under way. Returns
    /// the number of those that had been applied, and what the new life must still be asked.
    pub(super) fn judge(&mut self, found: &BTreeMap<Key, u64>) -> Result<(u64, Left), Violation> {
        if let Some((key, version)) = found.iter().find(|(key, _)| !self.rows.contains_key(*key)) {
            return Err(lost(key, Some(*version), "no client ever wrote it", None));
        }
        let under_way: Vec<Sent> = std::mem::take(&mut self.under_way).into_values().collect();
        let open: BTreeSet<&Key> =
            under_way.iter().flat_map(|sent| &sent.changes).map(|(key, _)| key).collect();
        for (key, row) in &self.rows {
            let version = found.get(key).copied();
            if version != row.settled && !open.contains(key) {
                let said = format!("{} was answered last", shown(row.settled));
                return Err(lost(key, version, &said, None));
            }
        }
        let mut applied = 0;
        for sent in &under_way {
            if self.was_applied(sent, found)? {
                self.settle(sent);
                applied += 1;
            }
        }
        let mut repeated = std::mem::take(&mut self.repeated);
        repeated.drain(..repeated.len().saturating_sub(REPEATED));
        let mut jobs = std::mem::take(&mut self.jobs);
        jobs.drain(..jobs.len().saturating_sub(JOBS));
        let operations = std::mem::take(&mut self.operations);
        Ok((applied, Left { under_way, repeated, jobs, operations }))
    }

    /// Whether a write whose answer never came was applied: whole, or not at all.
    fn was_applied(&self, sent: &Sent, found: &BTreeMap<Key, u64>) -> Result<bool, Violation> {
        let mut applied = None;
        for (key, new) in &sent.changes {
            let (version, old) = (found.get(key).copied(), self.settled(key));
            if version != old && version != *new {
                let said = format!("{} was answered last, {} was sent", shown(old), shown(*new));
                return Err(lost(key, version, &said, Some(sent)));
            }
            // A delete of an absent key does not show.
            if old == *new {
                continue;
            }
            let is_new = version == *new;
            if applied.is_some_and(|applied| applied != is_new) {
                let what = format!("part of a batch is there: {}", describe(sent));
                return Err(Violation::of(Clause::Prefix, what));
            }
            applied = Some(is_new);
        }
        Ok(applied.unwrap_or(false))
    }
}

/// "left/3-1 is version 4, but ...".
fn lost(key: &Key, found: Version, said: &str, sent: Option<&Sent>) -> Violation {
    let under_way = sent.map(|sent| format!("; under way: {}", describe(sent)));
    let what = format!(
        "{} is {}, but {said}{}",
        name(key),
        shown(found),
        under_way.as_deref().unwrap_or("")
    );
    Violation::of(Clause::Bounds, what)
}

/// The keyspace of this number.
pub(super) fn keyspace_of(number: usize) -> &'static str {
    KEYSPACES.get(number).copied().unwrap_or("cold")
}

pub(super) fn name(key: &Key) -> String {
    format!("{}/{}", keyspace_of(key.0), key.1)
}

pub(super) fn shown(version: Version) -> String {
    version.map_or_else(|| "absent".to_owned(), |version| format!("version {version}"))
}

pub(super) fn describe(sent: &Sent) -> String {
    let change = |(key, version): &(Key, Version)| format!("{} = {}", name(key), shown(*version));
    let changes = sent.changes.iter().map(change).collect::<Vec<_>>().join(", ");
    format!("{} of {changes}", sent.how)
}

/// The value of a version of a key. Few are long.
pub(super) fn value(key: &Key, version: u64) -> Vec<u8> {
    let chance = mix(version ^ u64::from(crc32fast::hash(name(key).as_bytes())) << 32);
    let length = match chance % 64 {
        0..16 if key.0 == COLD => 3000 + (chance >> 8) % 200_000,
        0 => 2000 + (chance >> 8) % 20_000,
        1..=8 => (chance >> 8) % 1500,
        _ => (chance >> 8) % 100,
    };
    let mut value = format!("{} {version} ", name(key)).into_bytes();
    let fill = (chance >> 32) as u8;
    value.resize(value.len() + length as usize, fill);
    value
}

/// The version of a value, which must be right to the last byte.
pub(super) fn version_of(key: &Key, found: &[u8]) -> Result<u64, Violation> {
    let mut words = found.split(|byte| *byte == b' ').skip(1);
    let version = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
    match version {
        Some(version) if value(key, version) == found => Ok(version),
        _ => {
            let start = String::from_utf8_lossy(&found[..found.len().min(60)]).into_owned();
            let what = format!(
                "{} has {} bytes that no client wrote: {start:?}...",
                name(key),
                found.len()
            );
            Err(Violation::of(Clause::Bounds, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (0, name.to_owned())
    }

    fn sent(changes: &[(&Key, Version)]) -> Sent {
        let changes = changes.iter().map(|(key, version)| ((*key).clone(), *version)).collect();
        Sent { changes, once: None, how: "a test" }
    }

    /// Versions 1 of two keys, answered; version 2 of both in a batch, under way.
    fn books() -> (Books, Key, Key) {
        let (mut books, one, two) = (Books::default(), key("one"), (1, "one".to_owned()));
        for version in 1..=2 {
            assert_eq!(books.next_version(&one), version);
            assert_eq!(books.next_version(&two), version);
            books.send(1, sent(&[(&one, Some(version)), (&two, Some(version))]));
            if version == 1 {
                books.answered(1, "job");
            }
        }
        (books, one, two)
    }

    #[test]
    fn answered_writes_must_be_there_and_unanswered_ones_may() {
        let (mut books, one, two) = books();
        let found = BTreeMap::from([(one.clone(), 1), (two.clone(), 1)]);
        let (applied, left) = books.judge(&found).unwrap();
        assert_eq!((applied, left.under_way.len(), left.jobs.len()), (0, 1, 1));
        assert_eq!(books.settled(&one), Some(1));
        let (mut books, ..) = self::books();
        let found = BTreeMap::from([(one.clone(), 2), (two, 2)]);
        assert_eq!(books.judge(&found).unwrap().0, 1);
        assert_eq!(books.settled(&one), Some(2));
    }

    #[test]
    fn any_other_content_is_a_broken_promise() {
        let (_, one, two) = books();
        let stranger = key("stranger");
        for (found, clause) in [
            (vec![(&one, 1), (&two, 2)], Clause::Prefix),
            (vec![(&one, 3), (&two, 2)], Clause::Bounds),
            (vec![(&two, 1)], Clause::Bounds),
            (vec![(&one, 1), (&two, 1), (&stranger, 1)], Clause::Bounds),
        ] {
            let found = found.into_iter().map(|(key, version)| (key.clone(), version)).collect();
            assert_eq!(books().0.judge(&found).unwrap_err().clause, clause, "{found:?}");
        }
    }

    #[test]
    fn a_pipe_shows_its_last_answered_version_or_a_later_one() {
        let mut pipe = Pipe { sent: vec![Some(1), None, Some(3)], answered: 0 };
        assert!(pipe.may_show(None) && pipe.may_show(Some(1)) && pipe.may_show(Some(3)));
        pipe.answered = 3;
        assert!(pipe.may_show(Some(3)));
        assert!(!pipe.may_show(None) && !pipe.may_show(Some(1)) && !pipe.may_show(Some(2)));
    }

    #[test]
    fn a_changed_value_has_no_version() {
        let key = key("k");
        for version in 1..200 {
            let mut value = value(&key, version);
            assert_eq!(version_of(&key, &value).unwrap(), version);
            value.push(0);
            assert!(version_of(&key, &value).is_err());
        }
        assert!(version_of(&key, b"").is_err());
    }
}
