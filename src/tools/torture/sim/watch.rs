//! The hook at each call of the disk: it notes crash points, and commits on behalf of other threads.
//!
//! A simulated store runs in one thread. The work of other threads happens inside calls of the disk in
//! which the engine waits for the device: another thread commits while a checkpoint writes its pages, or
//! while the log is flushed. So the suite reaches the interleavings that matter to recovery, and the
//! same seed reaches the same ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::contents::KeyspaceNo;
use super::history::{Commit, CommitEffect, Mark};
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
    /// The number of crash points before it, since the watch began.
    pub(crate) number: u64,
}

impl Point {
    /// Whether a flush comes next: everything unsynced since the flush before is still unsynced.
    pub(crate) fn is_window(&self) -> bool {
        matches!(self.op, Op::Sync | Op::MapSync | Op::SyncDir)
    }
}

/// Shared between a run and the hook on its disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    notes_points: bool,
    noted: u64,
    /// If set, only the point of this number is kept.
    only: Option<u64>,
    points: Vec<Point>,
    mark: Mark,
    /// The open store, for its watermarks and for commits beside.
    store: Option<Store>,
    beside: Option<Beside>,
    phase: Phase,
    hook: Option<Hook>,
    /// The first call that was made under the commit lock.
    held: Option<Site>,
}

/// A callback at each call of the disk, last of all before the call itself.
#[derive(Clone)]
pub(crate) struct Hook(Arc<Callback>);

type Callback = dyn Fn(&SimDisk, &Call<'_>, Phase) + Send + Sync;

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

/// Commits of other threads in the middle of a step.
#[derive(Debug)]
pub(crate) struct Beside {
    /// The number of calls before the first commit.
    pub(crate) after: u8,
    pub(crate) commits: VecDeque<Vec<Change>>,
    pub(crate) keyspaces: BTreeMap<KeyspaceNo, Keyspace>,
    pub(crate) made: Vec<Commit>,
    /// Commits and flushes that failed, in order. A flush has no changes.
    pub(crate) failed: Vec<(Vec<Change>, crate::Error)>,
}

impl Watch {
    /// Watches `disk` from now on.
    pub(crate) fn over(&self, disk: &SimDisk) {
        let watch = self.clone();
        disk.watch(move |disk, call| watch.before(disk, call));
    }

    /// Sets whether crash points are noted from now on.
    pub(crate) fn note_points(&self, notes_points: bool) {
        self.0.lock().notes_points = notes_points;
    }

    /// Notes only the crash point of this number.
    pub(crate) fn note_only(&self, number: u64) {
        self.0.lock().only = Some(number);
    }

    /// The crash points since this was called last.
    pub(crate) fn take_points(&self) -> Vec<Point> {
        std::mem::take(&mut self.0.lock().points)
    }

    /// Sets the phase that the store is in.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.0.lock().phase = phase;
    }

    /// Runs `hook` at each call from now on.
    pub(crate) fn set_hook(&self, hook: Hook) {
        self.0.lock().hook = Some(hook);
    }

    pub(crate) fn set_store(&self, store: Option<&Store>) {
        let former = std::mem::replace(&mut self.0.lock().store, store.cloned());
        drop(former); // outside the lock: the last handle closes the store
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

    /// The first call under the commit lock since this was called last.
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

    /// Notes a call under the commit lock: every commit would wait for the device. The first write of a
    /// life, which begins a log, is exempt.
    fn note_held(&self, call: &Call<'_>) {
        let mut inner = self.0.lock();
        let Some(site) = Site::of(call, inner.phase) else { return };
        let Some(store) = inner.store.clone() else { return };
        if store.has_begun() && !store.is_free_to_commit() {
            inner.held.get_or_insert(site);
        }
    }

    /// Makes the next commit of another thread, if one is left and the store can take it now. Every
    /// other one also flushes, if `may_flush`.
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
        // `inner.beside` is none meanwhile, so commits beside do not nest.
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
        Ok(receipt) => {
            let (lsn, token) = (receipt.lsn(), Some(receipt.token()));
            beside.made.push(Commit::new(lsn, token, CommitEffect::Changes(changes)));
        }
        Err(error) => beside.failed.push((changes, error)),
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
