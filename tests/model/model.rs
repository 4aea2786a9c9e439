//! The expected contents of the store: a map per keyspace, and the commits that a crash may undo.
//!
//! ```text
//!   base ---- commits that a crash may take, in order ----> now        in flight?
//!     certain: at or below D                                 seen by reads
//! ```
//!
//! `D` is the highest LSN that the store ever reported as durable. A call that failed because the disk
//! was gone leaves its commit *in flight*: it is there as a whole after all others, or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use syncline::{Lsn, Receipt, Status, Store};

pub(crate) type Map = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// All keyspaces by name. Copies are cheap.
pub(crate) type State = BTreeMap<String, Arc<Map>>;

/// One change of a commit.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put { keyspace: String, key: Vec<u8>, value: Arc<[u8]> },
    Delete { keyspace: String, key: Vec<u8> },
    Create { keyspace: String },
    Drop { keyspace: String },
}

#[derive(Debug)]
struct Commit {
    lsn: Lsn,
    /// `None` if the store gave no receipt; then the commit is durable.
    token: Option<String>,
    changes: Vec<Change>,
}

/// A token that the user kept, and its status after a recovery.
#[derive(Debug)]
struct Kept {
    token: String,
    lsn: Lsn,
    fate: Option<Status>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    base: State,
    commits: VecDeque<Commit>,
    now: State,
    in_flight: Option<Vec<Change>>,
    durable: Lsn,
    /// The last commit that is durable.
    certain: Lsn,
    last: Lsn,
    kept: Vec<Kept>,
}

/// The most tokens that are kept.
const TOKENS: usize = 300;

impl Model {
    /// The state that reads must see.
    pub(crate) fn now(&self) -> &State {
        &self.now
    }

    /// Whether a commit is in flight.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let maps = self.now.values();
        maps.flat_map(|map| map.iter()).map(|(key, value)| key.len() + value.len()).sum()
    }

    /// Adds an acknowledged commit.
    pub(crate) fn committed(&mut self, receipt: &Receipt, changes: Vec<Change>) {
        let (lsn, token) = (receipt.lsn(), receipt.token());
        if self.kept.len() < TOKENS {
            self.kept.push(Kept { token: token.clone(), lsn, fate: None });
        }
        self.push(Commit { lsn, token: Some(token), changes });
    }

    /// As [`Model::committed`], for a call without a receipt: the store is durable up to `lsn` by now.
    pub(crate) fn committed_durably(&mut self, lsn: Lsn, changes: Vec<Change>) {
        self.push(Commit { lsn, token: None, changes });
        self.durable(lsn);
    }

    fn push(&mut self, commit: Commit) {
        assert!(commit.lsn > self.last, "a commit at {}, after one at {}", commit.lsn, self.last);
        self.last = commit.lsn;
        commit.changes.iter().for_each(|change| apply(&mut self.now, change));
        self.commits.push_back(commit);
    }

    /// Notes a commit whose call failed so that it is unknown whether the commit happened.
    pub(crate) fn in_flight(&mut self, changes: Vec<Change>) {
        assert!(self.in_flight.is_none(), "one caller, one call");
        self.in_flight = Some(changes);
    }

    /// Notes that the store reported everything up to `lsn` as durable.
    pub(crate) fn durable(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(lsn);
        while self.commits.front().is_some_and(|commit| commit.lsn <= self.durable) {
            let commit = self.commits.pop_front().expect("just seen");
            commit.changes.iter().for_each(|change| apply(&mut self.base, change));
            self.certain = commit.lsn;
        }
    }

    /// Drops the commits that the recovery of `store` reports as lost.
    pub(crate) fn recovered(&mut self, store: &Store) -> Result<(), String> {
        let to = store.stats().recovery.recovered_to;
        if to < self.certain {
            return Err(format!("recovered to {to}, but reported durable up to {}", self.certain));
        }
        let mut k = self.certain;
        for commit in &self.commits {
            let token = commit.token.as_ref().expect("it is not durable");
            let status = store.status(token).map_err(|error| error.to_string())?;
            let expected = if commit.lsn <= to { Status::Durable } else { Status::Lost };
            if status != expected {
                return Err(format!("recovered to {to}, but {} is {status:?}", commit.lsn));
            }
            if status == Status::Lost {
                break;
            }
            k = commit.lsn;
        }
        if self.commits.iter().any(|commit| commit.lsn > k) {
            self.in_flight = None; // it came after a lost one
        }
        self.commits.retain(|commit| commit.lsn <= k);
        for kept in self.kept.iter_mut().filter(|kept| kept.fate.is_none()) {
            kept.fate = Some(if kept.lsn <= k { Status::Durable } else { Status::Lost });
        }
        self.durable(to);
        assert!(self.commits.is_empty());
        self.now = self.base.clone();
        self.last = self.last.max(to);
        Ok(())
    }

    /// Compares the contents of a store that was just recovered, which settles the commit in flight.
    pub(crate) fn compare(&mut self, found: &State) -> Result<(), String> {
        let Some(without) = difference(&self.now, found) else {
            self.in_flight = None;
            return Ok(());
        };
        let Some(changes) = self.in_flight.take() else { return Err(without) };
        changes.iter().for_each(|change| apply(&mut self.now, change));
        if let Some(with) = difference(&self.now, found) {
            return Err(format!("with the commit in flight {with}; without it {without}"));
        }
        self.base = self.now.clone();
        Ok(())
    }

    /// Compares the contents of a store that is open after a failure: the commit in flight stays so.
    pub(crate) fn peek(&self, found: &State) -> Result<(), String> {
        let Some(without) = difference(&self.now, found) else { return Ok(()) };
        let mut with = self.now.clone();
        self.in_flight.iter().flatten().for_each(|change| apply(&mut with, change));
        difference(&with, found).map_or(Ok(()), |with| Err(format!("{without}; or {with}")))
    }

    /// Asks the store about every token; a poisoned store may fail for a pending one.
    pub(crate) fn check_tokens(&mut self, store: &Store) -> Result<(), String> {
        for kept in &self.kept {
            let durable = store.watermarks().durable;
            let expected = match kept.fate {
                Some(fate) => fate,
                None if kept.lsn <= durable => Status::Durable,
                None => Status::Pending,
            };
            match store.status(&kept.token) {
                Ok(found) if found == expected => {}
                Err(syncline::Error::Poisoned { .. }) if expected == Status::Pending => {}
                found => {
                    let token = &kept.token;
                    return Err(format!("token {token}: expected {expected:?}, found {found:?}"));
                }
            }
        }
        Ok(())
    }

    /// Forgets most tokens, to make room for newer ones.
    pub(crate) fn thin_tokens(&mut self) {
        if self.kept.len() > TOKENS / 2 {
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 4 == 0
            });
        }
    }
}

pub(crate) fn apply(state: &mut State, change: &Change) {
    let known = "a keyspace of the model";
    match change {
        Change::Put { keyspace, key, value } => {
            let map = state.get_mut(keyspace).expect(known);
            Arc::make_mut(map).insert(key.clone(), Arc::clone(value));
        }
        Change::Delete { keyspace, key } => {
            Arc::make_mut(state.get_mut(keyspace).expect(known)).remove(key);
        }
        Change::Create { keyspace } => {
            state.insert(keyspace.clone(), Arc::default());
        }
        Change::Drop { keyspace } => {
            state.remove(keyspace).expect(known);
        }
    }
}

/// The first difference between two states.
fn difference(expected: &State, found: &State) -> Option<String> {
    let names = |state: &State| state.keys().cloned().collect::<Vec<_>>();
    if names(expected) != names(found) {
        return Some(format!("keyspaces {:?}, not {:?}", names(found), names(expected)));
    }
    for ((name, expected), found) in expected.iter().zip(found.values()) {
        for key in expected.keys().chain(found.keys()) {
            let (want, have) = (expected.get(key), found.get(key));
            if want != have {
                let key = key.escape_ascii();
                let (want, have) = (show(want), show(have));
                return Some(format!("{name}: key {key}: expected {want}, found {have}"));
            }
        }
    }
    None
}

fn show(value: Option<&Arc<[u8]>>) -> String {
    value.map_or("nothing".to_owned(), |value| {
        format!("{} bytes {:?}", value.len(), &value[..value.len().min(12)])
    })
}
