//! Runs a workload on a simulated disk and records the history for oracle P.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::case::Setup;
use super::contents::{KeyspaceNo, hash_of, key, keyspace_name};
use super::generate::Theme;
use super::history::{Commit, CommitEffect, History};
use super::judge::{Crash, Judge, Violation};
use super::look::{Effort, LookError, look, look_back};
use super::quiet;
use super::shape::Coverage;
use super::site::Phase;
use super::step::{Change, Kept, Mode, Step};
use super::watch::{Beside, Watch};
use crate::engine::disk::{Disk, Keep, SimDisk};
use crate::{Error, Keyspace, Lsn, Receipt, Result, Snapshot, Store, WriteBatch};

/// The most snapshots that are held at a time.
const SNAPSHOTS: usize = 3;

/// A workload in progress.
#[derive(Debug)]
pub(crate) struct WorkloadRun {
    pub(crate) setup: Setup,
    pub(crate) disk: SimDisk,
    pub(crate) history: History,
    pub(crate) watch: Watch,
    /// None while the store is not open.
    pub(crate) store: Option<Store>,
    /// A flush failed: the store takes no commit until it is reopened.
    pub(crate) is_poisoned: bool,
    /// Whether the page cache may have dropped pages of the data file after a failed flush.
    pub(crate) may_lack_pages: bool,
    /// In this life, a commit was larger than the cache keeps together and read pages meanwhile.
    pub(crate) has_read_within: bool,
    /// A new file that the last opening left behind, although it failed.
    pub(crate) left: Option<String>,
    /// Set if `coverage` counts the commits.
    pub(crate) theme: Option<Theme>,
    pub(crate) coverage: Coverage,
    keyspaces: BTreeMap<KeyspaceNo, Keyspace>,
    snapshots: VecDeque<HeldSnapshot>,
    receipts: Vec<Receipt>,
}

/// A held snapshot, with what it must show.
#[derive(Debug)]
struct HeldSnapshot {
    snapshot: Snapshot,
    /// The keyspaces that existed then.
    keyspaces: BTreeMap<KeyspaceNo, Keyspace>,
    hash: u64,
    keys: u64,
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) enum StepOutcome {
    Done,
    /// The store refused it, and the history knows.
    Refused(Error),
}

pub(crate) type StepResult = std::result::Result<StepOutcome, Violation>;

impl WorkloadRun {
    /// A run on `disk`, which it watches. The store is not open yet.
    pub(crate) fn new(setup: &Setup, disk: SimDisk) -> WorkloadRun {
        let watch = Watch::default();
        watch.over(&disk);
        WorkloadRun {
            setup: setup.clone(),
            disk,
            history: History::default(),
            watch,
            store: None,
            is_poisoned: false,
            may_lack_pages: false,
            has_read_within: false,
            left: None,
            theme: None,
            coverage: Coverage::default(),
            keyspaces: BTreeMap::new(),
            snapshots: VecDeque::new(),
            receipts: Vec::new(),
        }
    }

    /// Opens the store and judges what it shows.
    pub(crate) fn open(&mut self, crash: Crash, judge: &mut Judge) -> StepResult {
        self.watch.set_mark(self.history.mark);
        let names = || self.disk.list().unwrap_or_default();
        let before = names();
        self.left = None;
        let store = match self.setup.open(&self.disk) {
            Ok(store) => store,
            Err(error) => {
                self.left = names().into_iter().find(|name| !before.contains(name));
                return Ok(StepOutcome::Refused(error));
            }
        };
        self.watch.set_phase(Phase::Reading);
        // A store that cannot be read now, perhaps from a failing device, refuses; it is not wrong.
        if let Err(error) = hash_of(&store).and_then(|_| store.verify()) {
            drop(store.into_store());
            return Ok(StepOutcome::Refused(error));
        }
        let verdict = judge.recovered(&store, &self.history, &self.history.mark, crash)?;
        let store = store.into_store();
        self.history.recovered(verdict.k, verdict.to);
        self.watch.set_mark(self.history.mark);
        self.watch.set_store(Some(&store));
        for &number in self.history.now().keyspaces.keys() {
            if let Ok(Some(keyspace)) = store.open_keyspace(&keyspace_name(number)) {
                self.keyspaces.insert(number, keyspace);
            }
        }
        self.store = Some(store);
        self.is_poisoned = false;
        self.has_read_within = false;
        Ok(StepOutcome::Done)
    }

    /// Runs one step.
    pub(crate) fn step(&mut self, step: &Step, judge: &mut Judge) -> StepResult {
        let store = self.store.clone().expect("steps are done on an open store");
        self.watch.set_phase(Phase::of(Some(step)));
        let outcome = match step {
            Step::Commit { mode, changes } => self.commit(&store, *mode, changes)?,
            Step::Create { keyspace } => self.create(&store, *keyspace),
            Step::Drop { keyspace } => self.drop_keyspace(&store, *keyspace)?,
            Step::Flush => self.note_durable(store.flush()),
            Step::Checkpoint => self.note_durable(store.checkpoint()),
            Step::Wait { back } => self.wait(*back),
            Step::Snapshot => self.snapshot(&store),
            Step::EndSnapshot => self.end_snapshot()?,
            Step::Read => self.read(&store, judge)?,
            Step::Quiet => self.quiet(&store)?,
            Step::Beside { after, commits } => {
                self.watch.set_beside(Beside {
                    after: *after,
                    commits: commits.iter().map(|changes| self.applicable(changes)).collect(),
                    keyspaces: self.keyspaces.clone(),
                    made: Vec::new(),
                    failed: Vec::new(),
                });
                return Ok(StepOutcome::Done);
            }
            Step::Reopen => {
                drop(store);
                return self.reopen(judge);
            }
            Step::Crash { keep } => {
                drop(store);
                return self.crash(keep, judge);
            }
        };
        let reads_within = self.setup.evicts_its_own(step);
        self.has_read_within |= reads_within;
        if let Some(site) = self.watch.take_held()
            && !reads_within
        {
            let what = format!("the commit lock is held over a call of the disk: {site}");
            return Err(Violation::liveness(what));
        }
        let beside_refused = self.record_beside();
        let durable = store.watermarks().durable;
        self.history.durable(durable);
        self.history.mark.submitted =
            self.history.commits().len() + usize::from(self.history.is_in_doubt());
        if let StepOutcome::Refused(Error::Poisoned { .. }) = outcome {
            self.is_poisoned = true;
        }
        self.watch.set_mark(self.history.mark);
        Ok(match (outcome, beside_refused) {
            (StepOutcome::Done, Some(error)) => StepOutcome::Refused(error),
            (outcome, _) => outcome,
        })
    }

    /// Records the commits that other threads made during a step. Returns the first error that they got.
    fn record_beside(&mut self) -> Option<Error> {
        let beside = self.watch.take_beside()?;
        for commit in beside.made {
            self.history.acknowledged(commit.lsn);
            self.history.push(commit);
        }
        let mut refused = None;
        for (changes, error) in beside.failed {
            if self.is_poisoned {
                break; // commits after the one in doubt are absent
            }
            if matches!(error, Error::Poisoned { .. }) {
                if !changes.is_empty() && !self.history.is_in_doubt() {
                    self.history.in_doubt(CommitEffect::Changes(changes));
                }
                self.is_poisoned = true;
            }
            refused.get_or_insert(error);
        }
        refused
    }

    /// Ends as a crash does: nothing is written from now on.
    pub(crate) fn abandon(&mut self) {
        self.disk.crash_after(0);
        // After a panic the store may panic again when it is closed: that is no new failure.
        let _ = catch_unwind(AssertUnwindSafe(|| self.drop_handles()));
    }

    fn drop_handles(&mut self) {
        self.watch.take_beside();
        self.watch.set_store(None);
        self.keyspaces.clear();
        self.snapshots.clear();
        self.receipts.clear();
        self.store = None;
    }

    // --- steps ---

    /// The changes whose keyspace exists.
    fn applicable(&self, changes: &[Change]) -> Vec<Change> {
        let exists = |change: &&Change| self.keyspaces.contains_key(&change.keyspace());
        changes.iter().filter(exists).copied().collect()
    }

    fn commit(&mut self, store: &Store, mode: Mode, changes: &[Change]) -> StepResult {
        let changes = self.applicable(changes);
        if changes.is_empty() {
            return Ok(StepOutcome::Done);
        }
        self.begin();
        if let Some(theme) = self.theme {
            self.coverage.commit(&changes, &self.setup, theme);
        }
        let result = commit(store, &self.keyspaces, mode, &changes);
        let is_sync = mode == Mode::Sync;
        self.committed(result, is_sync, CommitEffect::Changes(changes))
    }

    /// Notes that one more commit is submitted.
    fn begin(&mut self) {
        let mut mark = self.history.mark;
        mark.submitted += 1;
        self.watch.set_mark(mark);
    }

    fn committed(
        &mut self,
        result: Result<Receipt>,
        is_sync: bool,
        effect: CommitEffect,
    ) -> StepResult {
        match result {
            Ok(receipt) => {
                if self.is_poisoned {
                    return Err(Violation::safety("a commit was taken after a flush had failed"));
                }
                self.acknowledged(&receipt, is_sync, effect);
                self.receipts.push(receipt);
                Ok(StepOutcome::Done)
            }
            Err(error) => {
                // The caller of a failed flush cannot know whether its commit is there.
                if matches!(error, Error::Poisoned { .. }) && !self.is_poisoned {
                    self.history.in_doubt(effect);
                }
                Ok(StepOutcome::Refused(error))
            }
        }
    }

    fn acknowledged(&mut self, receipt: &Receipt, is_sync: bool, effect: CommitEffect) {
        let (lsn, token) = (receipt.lsn(), Some(receipt.token()));
        self.history.push(Commit::new(lsn, token, effect));
        self.history.acknowledged(lsn);
        self.history.mark.has_sync |= is_sync;
        if is_sync || receipt.is_durable() {
            self.history.durable(lsn);
        }
    }

    fn create(&mut self, store: &Store, number: KeyspaceNo) -> StepOutcome {
        if self.keyspaces.contains_key(&number) {
            return StepOutcome::Done;
        }
        self.begin();
        match store.create_keyspace(&keyspace_name(number)) {
            Ok(keyspace) => {
                let lsn = store.watermarks().appended;
                self.history.push(Commit::new(lsn, None, CommitEffect::Create(number)));
                self.history.durable(lsn);
                self.history.acknowledged(lsn);
                self.keyspaces.insert(number, keyspace);
                StepOutcome::Done
            }
            Err(error) => {
                if matches!(error, Error::Poisoned { .. }) && !self.is_poisoned {
                    self.history.in_doubt(CommitEffect::Create(number));
                }
                StepOutcome::Refused(error)
            }
        }
    }

    fn drop_keyspace(&mut self, store: &Store, number: KeyspaceNo) -> StepResult {
        if !self.keyspaces.contains_key(&number) {
            return Ok(StepOutcome::Done);
        }
        self.begin();
        let result = store.drop_keyspace(&keyspace_name(number));
        if result.is_ok() {
            self.keyspaces.remove(&number);
        }
        self.committed(result, true, CommitEffect::Drop(number))
    }

    fn note_durable(&mut self, result: Result<Lsn>) -> StepOutcome {
        match result {
            Ok(lsn) => {
                self.history.durable(lsn);
                StepOutcome::Done
            }
            Err(error) => StepOutcome::Refused(error),
        }
    }

    fn wait(&mut self, back: u8) -> StepOutcome {
        let Some(at) = self.receipts.len().checked_sub(1 + usize::from(back)) else {
            return StepOutcome::Done;
        };
        let receipt = &self.receipts[at];
        let lsn = receipt.lsn();
        let waited = receipt.wait();
        self.note_durable(waited.map(|()| lsn))
    }

    fn snapshot(&mut self, store: &Store) -> StepOutcome {
        if self.snapshots.len() >= SNAPSHOTS || self.history.is_in_doubt() {
            return StepOutcome::Done;
        }
        match store.snapshot() {
            Ok(snapshot) => {
                // A durable snapshot proves all commits that it shows.
                if let Some(last) = self.history.commits().last()
                    && snapshot.receipt().is_durable()
                {
                    let last = last.lsn;
                    self.history.durable(last);
                }
                let (keyspaces, hash) = (self.keyspaces.clone(), self.history.now().hash);
                let keys = self.history.now().keys();
                self.snapshots.push_back(HeldSnapshot { snapshot, keyspaces, hash, keys });
                StepOutcome::Done
            }
            Err(error) => StepOutcome::Refused(error),
        }
    }

    fn end_snapshot(&mut self) -> StepResult {
        let Some(held) = self.snapshots.pop_front() else { return Ok(StepOutcome::Done) };
        match look_back(&held.snapshot, &held.keyspaces, Effort::Thorough(held.hash)) {
            Ok(found) if found == (held.hash, held.keys) => Ok(StepOutcome::Done),
            Ok(_) => Err(Violation::safety("a snapshot changed while it was held")),
            Err(LookError::Disagrees(what)) => {
                Err(Violation::safety(format!("a snapshot: {what}")))
            }
            Err(LookError::Refused(error)) => Ok(StepOutcome::Refused(error)),
        }
    }

    fn quiet(&mut self, store: &Store) -> StepResult {
        self.snapshots.clear();
        self.receipts.clear();
        store.finish_drops(); // a crash may have interrupted one
        let outcome = self.note_durable(store.checkpoint());
        if matches!(outcome, StepOutcome::Refused(_)) || self.history.is_in_doubt() {
            return Ok(outcome);
        }
        quiet::judge(store, self.history.now(), &self.setup).map(|()| StepOutcome::Done)
    }

    fn read(&mut self, store: &Store, judge: &mut Judge) -> StepResult {
        match look(store, Effort::Thorough(self.history.now().hash), None) {
            Ok((hash, _)) if self.history.may_show(hash) => {}
            Ok(_) => return Err(Violation::safety("reads do not show what was committed")),
            Err(LookError::Disagrees(what)) => return Err(Violation::safety(what)),
            Err(LookError::Refused(error)) => return Ok(StepOutcome::Refused(error)),
        }
        if self.is_poisoned {
            return judge
                .poisoned(store, &self.history, self.may_lack_pages)
                .map(|()| StepOutcome::Done);
        }
        judge.running(store, &self.history).map(|()| StepOutcome::Done)
    }

    fn reopen(&mut self, judge: &mut Judge) -> StepResult {
        let store = self.store.take().expect("an open store");
        let closed = store.close();
        if self.is_poisoned && closed.is_ok() {
            return Err(Violation::safety("closing a poisoned store returned Ok"));
        }
        self.drop_handles();
        if closed.is_ok() && !self.history.is_in_doubt() {
            let all = self.history.commits().last().map_or(Lsn::ZERO, |commit| commit.lsn);
            self.history.durable(all);
        }
        let opened = self.open(Crash::Kill, judge)?;
        match closed {
            Err(error) if matches!(opened, StepOutcome::Done) => Ok(StepOutcome::Refused(error)),
            _ => Ok(opened),
        }
    }

    fn crash(&mut self, keep: &Kept, judge: &mut Judge) -> StepResult {
        let keep = keep.keep();
        let crash = if keep == Keep::Everything { Crash::Kill } else { Crash::PowerLoss };
        if crash == Crash::PowerLoss {
            self.history.mark.written = self.history.mark.durable;
        }
        let disk = self.disk.crash(keep);
        self.drop_handles();
        self.watch.over(&disk);
        self.disk = disk;
        self.open(crash, judge)
    }
}

/// Commits `changes`: at least one, all of existing keyspaces.
pub(crate) fn commit(
    store: &Store,
    keyspaces: &BTreeMap<KeyspaceNo, Keyspace>,
    mode: Mode,
    changes: &[Change],
) -> Result<Receipt> {
    if let [change] = changes {
        let keyspace = &keyspaces[&change.keyspace()];
        return match *change {
            Change::Put { key: number, value, .. } => {
                keyspace.put_with(key(number), value.value(), mode.into())
            }
            Change::Delete { key: number, .. } => keyspace.delete_with(key(number), mode.into()),
        };
    }
    let mut batch = WriteBatch::new();
    for change in changes {
        let keyspace = &keyspaces[&change.keyspace()];
        match *change {
            Change::Put { key: number, value, .. } => {
                batch.put(keyspace, key(number), value.value());
            }
            Change::Delete { key: number, .. } => batch.delete(keyspace, key(number)),
        }
    }
    store.write_with(batch, mode.into())
}
