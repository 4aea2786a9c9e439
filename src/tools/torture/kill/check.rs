//! The oracle: what the store holds after a kill, against what the witness knows.
//!
//! A kill of a process loses nothing that was acknowledged, in either commit mode, so the bounds
//! are tight: of each thread the first n commits, or n + 1, with n as witnessed.
//!
//! | clause | here |
//! |---|---|
//! | P1 | each thread's slots hold the outcome of its first n or n + 1 commits, byte by byte, and nobody else's keys are there; the key that all threads write names the one of their commits that had the highest LSN |
//! | P2, P3 | the LSN recovered to is at or above every one acknowledged or reported durable |
//! | P4 | `verify` is clean; keyspaces count right; `get` and iterators agree |
//! | P5 | opened again, the same, and now exactly so |
//! | P6 | what is found is taken for acknowledged from then on; the LSN recovered to is durable |
//! | P7 | the token of each acknowledged commit answers `Durable` |

use serde::{Deserialize, Serialize};

use super::witness::{Told, Witness};
use super::workload::{
    KEYSPACES, LAST, Model, SLOTS, THREADS, decode_last, key, keyspace_of, owner,
};
use crate::tools::torture::{Clause, FailureKind};
use crate::{Error, Incarnation, Lsn, Status, Store};

/// What a child has found to be wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) kind: FailureKind,
    pub(super) clause: Option<Clause>,
    pub(super) title: String,
    pub(super) story: Vec<String>,
}

impl Verdict {
    pub(super) fn new(clause: Clause, title: impl Into<String>) -> Verdict {
        let (kind, clause) = (FailureKind::Safety, Some(clause));
        Verdict { kind, clause, title: title.into(), story: Vec::new() }
    }

    fn with(mut self, line: impl Into<String>) -> Verdict {
        self.story.push(line.into());
        self
    }
}

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store is not as it must be.
    Wrong(Verdict),
    /// The store answered with an error, which is right only if a fault was injected.
    Refused(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Refused(error)
    }
}

fn wrong<T>(clause: Clause, title: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Wrong(Verdict::new(clause, title)))
}

/// What a commit that nobody was told of may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slack {
    /// There, or not.
    InFlight,
    /// Nothing was in flight: the contents have been seen before.
    None,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The contents and the tokens.
    Contents,
    /// `verify` too.
    Everything,
}

/// Compares the store with what `witness` knows and `model` says; afterwards both know which of
/// the commits in flight are in it.
pub(super) fn check(
    store: &Store,
    model: &mut Model,
    witness: &Witness,
    older: &[Told],
    (slack, depth): (Slack, Depth),
) -> Result<(), Trouble> {
    let recovered_to = check_bounds(store, witness)?;
    let found = Found::read(store)?;
    let before: Vec<u64> = (0..THREADS).map(|thread| model.commits(thread)).collect();
    for thread in 0..THREADS {
        check_thread(&found, model, thread, slack)?;
    }
    check_last(&found, model, &before, witness)?;
    for (thread, before) in before.iter().enumerate() {
        let commits = model.commits(thread);
        if commits == *before {
            continue;
        }
        if model.last(thread) == Some(*before) {
            // Its LSN was never told. If its value is there, nobody wrote the key after it.
            let is_there = found.last == Some((thread, *before));
            witness.wrote_last(thread, *before, if is_there { recovered_to } else { 0 });
        }
        witness.adopt(thread, commits);
    }
    check_tokens(store, witness, older)?;
    if depth == Depth::Everything {
        let verified = store.verify()?;
        if !verified.is_clean() {
            let mut verdict = Verdict::new(Clause::Sound, "verify is not clean");
            verdict.story = verified.problems;
            return Err(Trouble::Wrong(verdict));
        }
    }
    Ok(())
}

/// P2 and P3. Returns the LSN recovered to.
fn check_bounds(store: &Store, witness: &Witness) -> Result<u64, Trouble> {
    let stats = store.stats();
    let recovered_to = stats.recovery.recovered_to.get();
    let (acked, durable) = (witness.acked_lsn(), witness.durable_lsn());
    if recovered_to < acked {
        let title = format!("recovered to {recovered_to:#x}, but {acked:#x} was acknowledged");
        return wrong(Clause::Bounds, title);
    }
    if recovered_to < durable {
        let title = format!("recovered to {recovered_to:#x}, but {durable:#x} was called durable");
        return wrong(Clause::Bounds, title);
    }
    if recovered_to > stats.watermarks.durable.get() {
        let title =
            format!("{recovered_to:#x} is served, and {} durable", stats.watermarks.durable);
        return wrong(Clause::Served, title);
    }
    Ok(recovered_to)
}

/// What is in the store.
struct Found {
    slots: Vec<Vec<Option<Vec<u8>>>>,
    /// The commit that the shared key names.
    last: Option<(usize, u64)>,
}

impl Found {
    fn read(store: &Store) -> Result<Found, Trouble> {
        let mut found = Found { slots: vec![vec![None; SLOTS]; THREADS], last: None };
        for (place, name) in KEYSPACES.iter().enumerate() {
            let Some(keyspace) = store.open_keyspace(name)? else { continue };
            let mut count = 0;
            for entry in keyspace.iter()? {
                let (found_key, value) = entry?.into_pair();
                count += 1;
                let named =
                    || format!("key {:?} in {name:?}", found_key.escape_ascii().to_string());
                if place == 0 && found_key == LAST {
                    found.last = decode_last(&value);
                    if found.last.is_none() {
                        return wrong(Clause::Prefix, format!("{}: no such value", named()));
                    }
                    continue;
                }
                let Some((thread, slot)) = owner(place, &found_key) else {
                    return wrong(Clause::Prefix, format!("{} was never written", named()));
                };
                if slot % 7 == count as usize % 7
                    && keyspace.get(&found_key)?.as_deref() != Some(&value[..])
                {
                    return wrong(Clause::Sound, format!("{}: get and iter disagree", named()));
                }
                found.slots[thread][slot] = Some(value.to_vec());
            }
            let len = keyspace.len()?;
            if len != count {
                let title = format!("{name:?} has {count} keys and counts {len}");
                return wrong(Clause::Sound, title);
            }
        }
        Ok(found)
    }

    /// The first slot of a thread that is not as `model` says, in words.
    fn difference(&self, model: &Model, thread: usize) -> Option<String> {
        let differs = |slot: &usize| self.slots[thread][*slot] != model.expected(thread, *slot);
        let slot = (0..SLOTS).find(differs)?;
        let found = match &self.slots[thread][slot] {
            Some(value) => {
                let head = &value[..value.len().min(8)];
                format!("{} bytes beginning {:02x?}", value.len(), head)
            }
            None => "nothing".to_owned(),
        };
        Some(format!(
            "after {} commits key {} in {:?} should hold {}, and holds {found}",
            model.commits(thread),
            key(thread, slot).escape_ascii(),
            KEYSPACES[keyspace_of(slot)],
            model.describe(thread, slot),
        ))
    }
}

/// P1 for the slots of one thread. The model goes on to what is found.
fn check_thread(
    found: &Found,
    model: &mut Model,
    thread: usize,
    slack: Slack,
) -> Result<(), Trouble> {
    let acked = model.commits(thread);
    let difference = match found.difference(model, thread) {
        Some(difference) => difference,
        // Of the commit in flight the shared key may be all that shows.
        None if found.last == Some((thread, acked)) => {
            "the shared key is of the next one".to_owned()
        }
        None => return Ok(()),
    };
    let clause = if slack == Slack::None { Clause::Again } else { Clause::Prefix };
    let title = format!("thread {thread} was told of {acked} commits, and others are there");
    let verdict = Verdict::new(clause, title).with(difference);
    if slack == Slack::None {
        return Err(Trouble::Wrong(verdict));
    }
    model.advance(thread, acked + 1);
    match found.difference(model, thread) {
        None => Ok(()),
        Some(difference) => Err(Trouble::Wrong(verdict.with(difference))),
    }
}

/// P1 across threads: the shared key names the last of the commits that wrote it.
fn check_last(
    found: &Found,
    model: &Model,
    acked: &[u64],
    witness: &Witness,
) -> Result<(), Trouble> {
    let told = |thread: usize| {
        // What is told and not yet acknowledged is in flight.
        witness.last(thread).filter(|(number, _)| *number < acked[thread])
    };
    let latest = (0..THREADS).filter_map(|t| told(t).map(|(number, lsn)| (lsn, t, number))).max();
    let Some((thread, number)) = found.last else {
        return match latest {
            Some((_, thread, number)) => {
                let title = format!("commit {number} of thread {thread} wrote the shared key, and");
                wrong(Clause::Prefix, format!("{title} there is none"))
            }
            None => Ok(()),
        };
    };
    if model.last(thread) != Some(number) {
        let title = format!("the shared key is of commit {number} of thread {thread}, which is");
        return wrong(Clause::Prefix, format!("{title} not its last one that wrote it"));
    }
    match latest {
        // In flight it may be before or after any other, and is found only if after.
        _ if number >= acked[thread] => Ok(()),
        Some((lsn, t, n)) if (t, n) != (thread, number) => wrong(
            Clause::Prefix,
            format!(
                "the shared key is of commit {number} of thread {thread}, but commit {n} of \
                 thread {t} at {lsn:#x} came later"
            ),
        ),
        _ => Ok(()),
    }
}

/// P7.
fn check_tokens(store: &Store, witness: &Witness, older: &[Told]) -> Result<(), Trouble> {
    for told in witness.tokens().iter().chain(older) {
        let token =
            store.token_of(Incarnation::new(told.incarnation as u32), Lsn::new(told.lsn))?;
        let status = store.status(&token)?;
        if status != Status::Durable {
            let title = format!("{token} was acknowledged, and is {status:?} after recovery");
            return wrong(Clause::Receipts, title);
        }
    }
    Ok(())
}
