//! The registry of open snapshots: at which LSNs versions must be kept.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::engine::base::lsn::{Lsn, Watermark};
use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicUsize, Ordering};
use crate::engine::mutants::mutant;

/// The LSNs of all registered snapshots.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// How many snapshots are open at each LSN.
    open: Mutex<BTreeMap<Lsn, usize>>,
    /// The sum of `open`, readable without the lock.
    count: AtomicUsize,
}

impl Registry {
    /// Registers a snapshot at the current `visible`, and returns its LSN.
    ///
    /// The writer advances `visible`, and then looks here for snapshots that need the versions which it
    /// superseded. `SeqCst` orders both (here and in `Watermark`): either the writer sees the entry, or
    /// this call sees that `visible` moved, and registers anew. The writer may have seen an entry that
    /// came too late: `missed` is called with its LSN after it is removed, to drop what was kept for it.
    pub(crate) fn register(&self, visible: &Watermark, missed: impl Fn(Lsn)) -> Lsn {
        let mut at = visible.load();
        loop {
            {
                let mut open = self.open.lock();
                *open.entry(at).or_default() += 1;
                self.count.fetch_add(1, Ordering::SeqCst);
            }
            let now = visible.load();
            if now == at {
                return at;
            }
            self.unregister(at);
            missed(at);
            at = now;
        }
    }

    /// Registers one more snapshot at an LSN that is registered already.
    pub(crate) fn register_again(&self, at: Lsn) {
        let mut open = self.open.lock();
        *open.get_mut(&at).expect("registered before") += 1;
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn unregister(&self, at: Lsn) {
        let mut open = self.open.lock();
        let count = open.get_mut(&at).expect("registered before");
        *count -= 1;
        if *count == 0 {
            open.remove(&at);
        }
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether no snapshot is open. Call after publishing `visible`.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Whether a snapshot at `at` is open.
    pub(crate) fn is_open(&self, at: Lsn) -> bool {
        self.open.lock().contains_key(&at)
    }

    /// Whether a snapshot in `[from, until)` is open.
    pub(crate) fn any_in(&self, from: Lsn, until: Lsn) -> bool {
        from < until && self.open.lock().range(from..until).next().is_some()
    }

    /// The oldest open snapshot that needs a version of `[from, until)`.
    pub(crate) fn oldest_in(&self, from: Lsn, until: Lsn) -> Option<Lsn> {
        let from = mutant!(SnapshotVersionDropped: Bound::Included(from) => Bound::Excluded(from));
        let open = self.open.lock();
        open.range((from, Bound::Excluded(until))).next().map(|(at, _)| *at)
    }

    /// The oldest open snapshot above `at`.
    pub(crate) fn next_above(&self, at: Lsn) -> Option<Lsn> {
        let open = self.open.lock();
        open.range((Bound::Excluded(at), Bound::Unbounded)).next().map(|(at, _)| *at)
    }

    pub(crate) fn newest(&self) -> Option<Lsn> {
        if self.is_empty() {
            return None;
        }
        self.open.lock().keys().next_back().copied()
    }

    pub(crate) fn oldest(&self) -> Option<Lsn> {
        self.open.lock().keys().next().copied()
    }
}
