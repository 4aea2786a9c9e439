//! The oracle: compares the store after a kill with the knowledge of the witness.
//!
//! A kill of a process loses nothing that was acknowledged, in either commit mode. So the bounds are
//! tight: each thread's first n commits are there, or n + 1, with n as witnessed.
//!
//! | clause | here |
//! |---|---|
//! | P1 | each thread's slots hold the outcome of its first n or n + 1 commits, byte by byte; there are no other keys; the key that all threads write names their commit with the highest LSN |
//! | P2, P3 | the LSN recovered to is at or above every LSN acknowledged or reported durable |
//! | P4 | `verify` is clean; keyspaces count right; `get` and iterators agree |
//! | P5 | opened again, the store shows the same, with no commit in doubt |
//! | P6 | commits that were found count as acknowledged from then on; the LSN recovered to is durable |
//! | P7 | the token of each acknowledged commit answers `Durable` |

use serde::{Deserialize, Serialize};

use super::witness::{Told, Witness};
use super::workload::{
    KEYSPACES, LAST, Model, SLOTS, THREADS, decode_last, key, keyspace_of, owner,
};
use crate::tools::torture::{Clause, FailureKind};
use crate::{Error, Incarnation, Lsn, Status, Store};

/// A broken clause that a child has found.
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
pub(super) enum CheckError {
    /// The store breaks a clause.
    Wrong(Verdict),
    /// The store answered with an error, which is right only after an injected fault.
    Refused(Error),
}

impl From<Error> for CheckError {
    fn from(error: Error) -> CheckError {
        CheckError::Refused(error)
    }
}

fn wrong<T>(clause: Clause, title: impl Into<String>) -> Result<T, CheckError> {
    Err(CheckError::Wrong(Verdict::new(clause, title)))
}

/// How the check treats a commit that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slack {
    /// It may be there or not.
    InFlight,
    /// There is none: the contents have been checked before.
    None,
}

/// The extent of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The contents and the tokens.
    Contents,
    /// `verify` too.
    Everything,
}

/// Compares the store with `witness` and `model`. Afterwards both know which of the commits in flight
/// are in the store.
pub(super) fn check(
    store: &Store,
    model: &mut Model,
    witness: &Witness,
    older: &[Told],
    (slack, depth): (Slack, Depth),
) -> Result<(), CheckError> {
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
            // Its LSN was never witnessed. If its value is there, no later commit wrote the key.
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
            return Err(CheckError::Wrong(verdict));
        }
    }
    Ok(())
}

/// P2 and P3. Returns the LSN recovered to.
fn check_bounds(store: &Store, witness: &Witness) -> Result<u64, CheckError> {
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

/// The contents of the store.
struct Found {
    slots: Vec<Vec<Option<Vec<u8>>>>,
    /// The commit that the shared key names.
    last: Option<(usize, u64)>,
}

impl Found {
    fn read(store: &Store) -> Result<Found, CheckError> {
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

    /// The first slot of a thread that differs from `model`, in words.
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

/// P1 for the slots of one thread. Advances the model to the contents found.
fn check_thread(
    found: &Found,
    model: &mut Model,
    thread: usize,
    slack: Slack,
) -> Result<(), CheckError> {
    let acked = model.commits(thread);
    let difference = match found.difference(model, thread) {
        Some(difference) => difference,
        // The commit in flight may show in the shared key alone.
        None if found.last == Some((thread, acked)) => {
            "the shared key names the next one".to_owned()
        }
        None => return Ok(()),
    };
    let clause = if slack == Slack::None { Clause::Again } else { Clause::Prefix };
    let title = format!("thread {thread} was told of {acked} commits, and the store holds others");
    let verdict = Verdict::new(clause, title).with(difference);
    if slack == Slack::None {
        return Err(CheckError::Wrong(verdict));
    }
    model.advance(thread, acked + 1);
    match found.difference(model, thread) {
        None => Ok(()),
        Some(difference) => Err(CheckError::Wrong(verdict.with(difference))),
    }
}

/// P1 across threads: the shared key names the last of the commits that wrote it.
fn check_last(
    found: &Found,
    model: &Model,
    acked: &[u64],
    witness: &Witness,
) -> Result<(), CheckError> {
    let told = |thread: usize| {
        // A commit that is noted and not yet acknowledged is in flight.
        witness.last(thread).filter(|(number, _)| *number < acked[thread])
    };
    let latest = (0..THREADS).filter_map(|t| told(t).map(|(number, lsn)| (lsn, t, number))).max();
    let Some((thread, number)) = found.last else {
        return match latest {
            Some((_, thread, number)) => {
                let title = format!("commit {number} of thread {thread} wrote the shared key");
                wrong(Clause::Prefix, format!("{title}, which is missing"))
            }
            None => Ok(()),
        };
    };
    if model.last(thread) != Some(number) {
        let title = format!("the shared key names commit {number} of thread {thread}, which is");
        return wrong(Clause::Prefix, format!("{title} not its last one that wrote the key"));
    }
    match latest {
        // A commit in flight has any place in the order, and is found only if it came last.
        _ if number >= acked[thread] => Ok(()),
        Some((lsn, t, n)) if (t, n) != (thread, number) => wrong(
            Clause::Prefix,
            format!(
                "the shared key names commit {number} of thread {thread}, but commit {n} of \
                 thread {t} at {lsn:#x} came later"
            ),
        ),
        _ => Ok(()),
    }
}

/// P7.
fn check_tokens(store: &Store, witness: &Witness, older: &[Told]) -> Result<(), CheckError> {
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
