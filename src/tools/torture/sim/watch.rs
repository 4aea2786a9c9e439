//! What happens at each call of the disk while a workload runs: crash points are noted, and
//! others commit beside.
//!
//! A store that simulates runs in one thread. Whatever another thread could do while this one
//! waits for the device, happens inside the call of the disk: a commit by somebody else while a
//! checkpoint writes its pages, or while the log is being flushed. So the interleavings that
//! matter to recovery are met, and the same seed meets the same ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::contents::KeyspaceNo;
use super::history::{Commit, Mark, What};
use super::run::commit;
use super::site::{Phase, Site};
use super::step::{Change, Mode};
use crate::engine::disk::{Call, Keep, Op, SimDisk};
use crate::{Keyspace, Lsn, Store};

/// A moment before an operation of the disk.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// The disk as it is then, with all that is unsynced.
    pub(crate) disk: SimDisk,
    pub(crate) mark: Mark,
    pub(crate) op: Op,
    pub(crate) path: String,
    /// Crash points before it, since the watch began.
    pub(crate) number: u64,
}

impl Point {
    /// Whether a flush comes next: what is unsynced now is all that was since the one before.
    pub(crate) fn is_window(&self) -> bool {
        matches!(self.op, Op::Sync | Op::MapSync | Op::SyncDir)
    }
}

/// Shared between a run and what watches its disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    notes_points: bool,
    noted: u64,
    /// If there, only this one is kept.
    only: Option<u64>,
    points: Vec<Point>,
    mark: Mark,
    /// To read its watermarks.
    store: Option<Store>,
    beside: Option<Beside>,
    phase: Phase,
    hook: Option<Hook>,
    /// The first call that was made while a commit would have had to wait, and should not be.
    held: Option<Site>,
}

/// Told of each call of the disk, last of all, just before it is done.
#[derive(Clone)]
pub(crate) struct Hook(Arc<Told>);

type Told = dyn Fn(&SimDisk, &Call<'_>, Phase) + Send + Sync;

impl Hook {
    pub(crate) fn new(hook: impl Fn(&SimDisk, &Call<'_>, Phase) + Send + Sync + 'static) -> Hook {
        Hook(Arc::new(hook))
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// Commits to come in the middle of a step.
#[derive(Debug)]
pub(crate) struct Beside {
    /// How many calls pass before the first.
    pub(crate) after: u8,
    pub(crate) commits: VecDeque<Vec<Change>>,
    pub(crate) keyspaces: BTreeMap<KeyspaceNo, Keyspace>,
    /// Those that were made.
    pub(crate) made: Vec<Commit>,
    /// Those that were not, in order, and why. A flush has no changes.
    pub(crate) failed: Vec<(Vec<Change>, crate::Error)>,
}

impl Watch {
    /// Watches `disk` from now on.
    pub(crate) fn over(&self, disk: &SimDisk) {
        let watch = self.clone();
        disk.watch(move |disk, call| watch.before(disk, call));
    }

    /// Whether crash points are noted from now on.
    pub(crate) fn note_points(&self, notes_points: bool) {
        self.0.lock().notes_points = notes_points;
    }

    /// Of all crash points only this one is noted.
    pub(crate) fn note_only(&self, number: u64) {
        self.0.lock().only = Some(number);
    }

    /// The crash points since the last call.
    pub(crate) fn take_points(&self) -> Vec<Point> {
        std::mem::take(&mut self.0.lock().points)
    }

    /// Says what the store is about to do.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.0.lock().phase = phase;
    }

    /// From now on `hook` is told of each call.
    pub(crate) fn set_hook(&self, hook: Hook) {
        self.0.lock().hook = Some(hook);
    }

    pub(crate) fn set_store(&self, store: Option<&Store>) {
        let former = std::mem::replace(&mut self.0.lock().store, store.cloned());
        drop(former); // it may be the last handle, and close the store
    }

    pub(crate) fn set_mark(&self, mark: Mark) {
        self.0.lock().mark = mark;
    }

    pub(crate) fn set_beside(&self, beside: Beside) {
        self.0.lock().beside = Some(beside);
    }

    pub(crate) fn take_beside(&self) -> Option<Beside> {
        self.0.lock().beside.take()
    }

    /// The first call since the last time that was made under the commit lock, and should not be.
    pub(crate) fn take_held(&self) -> Option<Site> {
        self.0.lock().held.take()
    }

    fn before(&self, disk: &SimDisk, call: &Call<'_>) {
        self.note(disk, call);
        self.note_held(call);
        if waits_without_locks(call) {
            self.commit_beside(call.op != Op::MapSync);
        }
        let (hook, phase) = {
            let inner = self.0.lock();
            (inner.hook.clone(), inner.phase)
        };
        if let Some(Hook(hook)) = hook {
            hook(disk, call, phase);
        }
    }

    fn note(&self, disk: &SimDisk, call: &Call<'_>) {
        let mut inner = self.0.lock();
        if !inner.notes_points || !call.op.is_counted() {
            return;
        }
        if disk.is_gone() {
            return;
        }
        let number = inner.noted;
        inner.noted += 1;
        if inner.only.is_some_and(|only| only != number) {
            return;
        }
        if let Some(store) = &inner.store {
            let durable = store.watermarks().durable;
            inner.mark.durable = inner.mark.durable.max(durable);
        }
        let point = Point {
            number,
            disk: disk.fork(Keep::Everything),
            mark: inner.mark,
            op: call.op,
            path: call.path.to_owned(),
        };
        inner.points.push(point);
    }

    /// Notes a call under the commit lock, except those of the first write of a life, which begins a log: it
    /// may take as long as the device likes, and every commit would wait for it.
    fn note_held(&self, call: &Call<'_>) {
        let mut inner = self.0.lock();
        let Some(site) = Site::of(call, inner.phase) else { return };
        let Some(store) = inner.store.clone() else { return };
        if store.has_begun() && !store.is_free_to_commit() {
            inner.held.get_or_insert(site);
        }
    }

    /// One commit by somebody else, if there is one to come and the store is free to take it.
    /// It waits for the device too, if `may_flush` and it is the turn of such a one.
    fn commit_beside(&self, may_flush: bool) {
        let (store, beside) = {
            let mut inner = self.0.lock();
            let Some(beside) = &mut inner.beside else { return };
            if beside.after > 0 {
                beside.after -= 1;
                return;
            }
            let beside = inner.beside.take().expect("just seen");
            let operations = beside.commits.front().map_or(0, Vec::len);
            let may_come = |store: &Store| {
                let is_busy = store.is_log_being_kept() || store.waits_for_frames(operations);
                store.is_free_to_commit() && !is_busy
            };
            let Some(store) = inner.store.clone().filter(may_come) else {
                inner.beside = Some(beside);
                return;
            };
            if !beside.commits.is_empty() {
                inner.mark.submitted += 1;
            }
            (store, beside)
        };
        // While this runs there is nothing beside: it does not nest.
        let beside = one_beside(&store, beside, may_flush);
        let mut inner = self.0.lock();
        let acknowledged = beside.made.iter().map(|commit| commit.lsn).max();
        inner.mark.acknowledge(acknowledged.unwrap_or(Lsn::ZERO));
        inner.beside = Some(beside);
    }
}

fn one_beside(store: &Store, mut beside: Beside, may_flush: bool) -> Beside {
    let Some(changes) = beside.commits.pop_front() else { return beside };
    match commit(store, &beside.keyspaces, Mode::Async, &changes) {
        Ok(receipt) => beside.made.push(Commit {
            lsn: receipt.lsn(),
            token: Some(receipt.token()),
            what: What::Changes(changes),
            hash: 0,
            keys: 0,
        }),
        Err(error) => {
            beside.failed.push((changes, error));
        }
    }
    let is_its_turn = beside.commits.len().is_multiple_of(2);
    if may_flush
        && is_its_turn
        && let Err(error) = store.flush()
    {
        beside.failed.push((Vec::new(), error));
    }
    beside
}

/// The calls during which the engine holds no lock that a commit needs.
fn waits_without_locks(call: &Call<'_>) -> bool {
    let is_log = call.path.contains("/log-");
    call.part == 0
        && match call.op {
            Op::MapSync => is_log,
            Op::Write | Op::Sync => !is_log,
            _ => false,
        }
}
