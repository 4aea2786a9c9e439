//! The commits: each follows from the seed, the thread and its number.
//!
//! ```text
//!   thread 0   sync                 each has its own slots: 2 keyspaces x 96 keys
//!   thread 1   async                the key `last` is the exception: many batches
//!   thread 2   mixed                of all threads write it, with the value
//!   thread 3   async, some awaited  (thread, number)
//! ```
//!
//! So the number of a thread's commits in a store determines the contents of the thread's slots.
//! [`Model`] derives them: it keeps for each slot the commit that wrote it last, and makes the bytes
//! anew from that. The witness therefore needs to remember numbers only.
//!
//! The seed decides the kind of a store. Most stores are small: a quarter of the slots, few long
//! values, short lives. The others are large: long values of every class in many slots, more than the
//! cache holds, and a reader. In both, a batch may name a key twice, with a long value and a short
//! one in either order, and be in one keyspace or in both.

use crate::CommitMode;
use crate::engine::base::codec::get_u64;

/// Threads that write.
pub(super) const THREADS: usize = 4;
/// Keys per thread and keyspace.
pub(super) const KEYS: usize = 96;
/// The part of them that a small store uses.
const FEW: usize = 24;
/// Slots of a thread: keys in all keyspaces.
pub(super) const SLOTS: usize = 2 * KEYS;
/// The keyspaces.
pub(super) const KEYSPACES: [&str; 2] = ["a", "b"];
/// The key in the first keyspace that all threads write.
pub(super) const LAST: &[u8] = b"last";
/// In a large store, one slot in this many has values of every class.
const LARGE_SLOTS: usize = 12;
/// Lengths at which the store begins to treat a value otherwise: the longest in a leaf, a page,
/// sixteen pages, an eighth of the cache.
const THRESHOLDS: [u64; 4] = [960, 4096, 64 << 10, 128 << 10];
/// The longest value of all.
const LONGEST: u64 = 200_000;
/// Values from this length on are long: copying one takes a while.
const LONG: u64 = 1000;

/// Random numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Between 1 and `end`, each order of magnitude as likely as any other.
    pub(super) fn magnitude(&mut self, end: u64) -> u64 {
        let bits = self.below(u64::from(64 - end.leading_zeros()) + 1);
        (1 + self.below(1 << bits)).min(end)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One commit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Commit {
    pub(super) mode: CommitMode,
    /// `put_with` or `delete_with` makes a single change, a batch several.
    pub(super) changes: Vec<Change>,
    /// Whether it writes the key [`LAST`] too. Only batches do.
    pub(super) last: bool,
    /// Whether the thread waits for the receipt.
    pub(super) awaited: bool,
}

/// One change in a commit. `len` is the value's length, or none for a deletion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) slot: usize,
    pub(super) len: Option<u32>,
}

impl Commit {
    /// Whether it has a long value.
    pub(super) fn is_long(&self) -> bool {
        self.changes.iter().any(|change| change.len.is_some_and(|len| u64::from(len) >= LONG))
    }

    /// The commit `number` of `thread`.
    pub(super) fn new(seed: u64, thread: usize, number: u64) -> Commit {
        let mut rng = Rng::new(name(seed, thread, number));
        let mode = match thread {
            0 => CommitMode::Sync,
            2 if rng.one_in(6) => CommitMode::Sync,
            _ => CommitMode::Async,
        };
        let awaited = thread == 3 && rng.one_in(10);
        let is_batch = rng.below(5) < 2;
        let last = is_batch && rng.one_in(2);
        let is_large = is_large(seed);
        // The keyspace of the whole batch, or none: then each change has any keyspace.
        let home = (is_batch && rng.one_in(2)).then(|| rng.below(2) as usize);
        let mut changes = Vec::new();
        if home.is_none() && (is_batch || rng.one_in(2)) {
            // The thread's sequence number: the value follows from the commit's number.
            changes.push(Change { slot: 0, len: Some(8 + rng.below(100) as u32) });
        }
        if is_batch {
            let most = if rng.one_in(16) { 60 } else { 8 };
            for _ in 0..1 + rng.below(most) {
                changes.push(change(&mut rng, home, is_large));
            }
            if rng.one_in(4) {
                changes.extend(repeated(&mut rng, home, is_large));
            }
        } else if changes.is_empty() {
            changes.push(change(&mut rng, home, is_large));
        }
        Commit { mode, changes, last: last && home != Some(1), awaited }
    }
}

/// Whether a store is one of the large ones.
pub(super) fn is_large(seed: u64) -> bool {
    mix(seed).is_multiple_of(4)
}

fn change(rng: &mut Rng, home: Option<usize>, is_large: bool) -> Change {
    let keys = if is_large { KEYS } else { FEW };
    let keyspace = home.unwrap_or_else(|| rng.below(2) as usize);
    let slot = (keyspace * KEYS + rng.below(keys as u64) as usize).max(1);
    let has_all = match is_large {
        true => slot % LARGE_SLOTS == LARGE_SLOTS - 1,
        false => slot == KEYS + FEW - 1,
    };
    let len = match rng.below(100) {
        0..8 if has_all => 20_000 + rng.below(120_000),
        8..40 if has_all && is_large => long(rng),
        0..2 => 0,
        2..12 => LONG + rng.below(3000),
        _ => 8 + rng.below(150),
    };
    Change { slot, len: (!rng.one_in(5)).then_some(len as u32) }
}

/// The length of a value stored out of line, of any class.
fn long(rng: &mut Rng) -> u64 {
    match rng.below(6) {
        at @ 0..4 => THRESHOLDS[at as usize] - 1 + rng.below(3),
        _ => LONG + rng.below(LONGEST - LONG),
    }
}

/// Two changes of one key: long and then short, short and then long, or long and then deleted.
fn repeated(rng: &mut Rng, home: Option<usize>, is_large: bool) -> [Change; 2] {
    let Change { slot, .. } = change(rng, home, is_large);
    let (long, short) = (Some(long(rng) as u32), Some(rng.below(100) as u32));
    let lens = match rng.below(4) {
        0 => [long, None],
        1 => [short, long],
        _ => [long, short],
    };
    lens.map(|len| Change { slot, len })
}

/// The keyspace of a slot, by its place in [`KEYSPACES`].
pub(super) fn keyspace_of(slot: usize) -> usize {
    slot / KEYS
}

/// The key of a slot.
pub(super) fn key(thread: usize, slot: usize) -> [u8; 4] {
    let index = (slot % KEYS) as u8;
    [b'0' + thread as u8, b'/', b'0' + index / 10, b'0' + index % 10]
}

/// The thread and the slot that a key belongs to. None if the workload has no such key.
pub(super) fn owner(keyspace: usize, found: &[u8]) -> Option<(usize, usize)> {
    let [thread, b'/', tens, ones] = *found else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| usize::from(byte - b'0'));
    let (thread, index) = (digit(thread)?, 10 * digit(tens)? + digit(ones)?);
    (thread < THREADS && index < KEYS).then_some((thread, keyspace * KEYS + index))
}

/// The value that commit `number` of `thread` put into `slot`.
pub(super) fn value(seed: u64, thread: usize, number: u64, slot: usize, len: u32) -> Vec<u8> {
    let mut word = mix(name(seed, thread, number) ^ slot as u64);
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while bytes.len() < len as usize {
        bytes.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
    bytes.truncate(len as usize);
    bytes
}

/// The value of [`LAST`].
pub(super) fn last_value(thread: usize, number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(thread as u64).to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The thread and number that a value of [`LAST`] names.
pub(super) fn decode_last(bytes: &[u8]) -> Option<(usize, u64)> {
    if bytes.len() != 16 {
        return None;
    }
    let thread = usize::try_from(get_u64(bytes, 0)).ok()?;
    (thread < THREADS).then(|| (thread, get_u64(bytes, 8)))
}

fn name(seed: u64, thread: usize, number: u64) -> u64 {
    mix(seed ^ mix((thread as u64) << 56 ^ number))
}

/// The content of a slot: the commit that put it, and the length of the value.
type Held = Option<(u64, u32)>;

/// The contents of each thread's slots after its first `commits[t]` commits.
#[derive(Clone, Debug)]
pub(super) struct Model {
    seed: u64,
    commits: [u64; THREADS],
    slots: Box<[[Held; SLOTS]; THREADS]>,
    /// The last commit of each thread that wrote [`LAST`].
    last: [Option<u64>; THREADS],
}

impl Model {
    pub(super) fn new(seed: u64) -> Model {
        Model {
            seed,
            commits: [0; THREADS],
            slots: Box::new([[None; SLOTS]; THREADS]),
            last: [None; THREADS],
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The number of commits of `thread` that are in.
    pub(super) fn commits(&self, thread: usize) -> u64 {
        self.commits[thread]
    }

    /// The last commit of `thread` that wrote [`LAST`].
    pub(super) fn last(&self, thread: usize) -> Option<u64> {
        self.last[thread]
    }

    /// Applies commits of `thread` until `commits` are in.
    pub(super) fn advance(&mut self, thread: usize, commits: u64) {
        while self.commits[thread] < commits {
            let number = self.commits[thread];
            let commit = Commit::new(self.seed, thread, number);
            for change in commit.changes {
                self.slots[thread][change.slot] = change.len.map(|len| (number, len));
            }
            if commit.last {
                self.last[thread] = Some(number);
            }
            self.commits[thread] += 1;
        }
    }

    /// The value that a slot should have.
    pub(super) fn expected(&self, thread: usize, slot: usize) -> Option<Vec<u8>> {
        let (number, len) = self.slots[thread][slot]?;
        Some(value(self.seed, thread, number, slot, len))
    }

    /// The expected content of a slot, in words.
    pub(super) fn describe(&self, thread: usize, slot: usize) -> String {
        match self.slots[thread][slot] {
            Some((number, len)) => format!("the {len} bytes of commit {number}"),
            None => "nothing".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_follows_from_seed_thread_and_number() {
        assert_eq!(Commit::new(1, 2, 3), Commit::new(1, 2, 3));
        assert_ne!(value(1, 2, 3, 4, 100), value(1, 2, 4, 4, 100));
        for slot in 0..SLOTS {
            assert_eq!(owner(keyspace_of(slot), &key(3, slot)), Some((3, slot)));
        }
        assert_eq!(owner(0, b"4/00"), None);
        assert_eq!(decode_last(&last_value(2, 77)), Some((2, 77)));
        let commits: Vec<_> = (0..5000).map(|number| Commit::new(9, 2, number)).collect();
        assert!(commits.iter().all(|commit| !commit.changes.is_empty()));
        let has = |test: fn(&Commit) -> bool| commits.iter().any(test);
        assert!(has(|commit| commit.mode == CommitMode::Sync && commit.last));
        assert!(has(|commit| matches!(commit.changes[..], [Change { len: None, .. }])));
        assert!(has(|commit| commit.changes.iter().any(|change| change.len > Some(65_536))));
    }

    #[test]
    fn a_model_advances_by_steps_as_at_once() {
        let (mut steps, mut once) = (Model::new(5), Model::new(5));
        (1..=300).for_each(|commits| steps.advance(1, commits));
        once.advance(1, 300);
        assert_eq!(steps.slots, once.slots);
        assert_eq!(steps.last(1), once.last(1));
        assert!(once.expected(1, 0).is_some() && once.expected(0, 0).is_none());
    }
}
