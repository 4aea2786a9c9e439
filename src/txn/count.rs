//! The number of keys in a keyspace, as of what is visible, without a lock.
//!
//! The writer changes the count just before its group becomes visible, and readers must not see
//! it earlier. So the count before the change is kept beside it, with the group's LSN that
//! divides them, under a sequence number that is odd while they change (a seqlock).

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::lsn::Lsn;

/// A count of keys. Changed by one writer at a time.
#[derive(Debug, Default)]
pub(crate) struct Count {
    sequence: AtomicU64,
    /// The group that made the last change.
    lsn: AtomicU64,
    now: AtomicU64,
    before: AtomicU64,
}

impl Count {
    /// A count that is visible from the start.
    pub(crate) fn new(count: u64) -> Self {
        Count { now: AtomicU64::new(count), before: AtomicU64::new(count), ..Count::default() }
    }

    /// The count with all changes. For the writer.
    pub(crate) fn latest(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Sets the count as of the group at `lsn`, which is not visible yet.
    pub(crate) fn set(&self, count: u64, lsn: Lsn) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.before.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        self.now.store(count, Ordering::Relaxed);
        self.lsn.store(lsn.get(), Ordering::Relaxed);
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// The count as of what `visible` says.
    pub(crate) fn visible(&self, visible: impl Fn() -> Lsn) -> u64 {
        loop {
            let sequence = self.sequence.load(Ordering::Acquire);
            let (now, before) =
                (self.now.load(Ordering::Relaxed), self.before.load(Ordering::Relaxed));
            let lsn = self.lsn.load(Ordering::Relaxed);
            let visible = visible();
            fence(Ordering::Acquire);
            if sequence.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == sequence {
                return if lsn <= visible.get() { now } else { before };
            }
            std::hint::spin_loop();
        }
    }
}
