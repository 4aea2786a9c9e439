//! The number of keys in a keyspace, as of what is visible, without a lock.
//!
//! The writer changes the count just before its group becomes visible, and readers must not see
//! it earlier. So the count before the change is kept beside it, with the group's LSN that
//! divides them, under a sequence number that is odd while they change (a seqlock).

use crate::lsn::Lsn;
use crate::sync::atomic::{AtomicU64, Ordering, fence};

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

#[cfg(all(test, syncline_shuttle))]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use shuttle::rand::{Rng, thread_rng};
    use shuttle::thread;

    use super::*;
    use crate::lsn::Watermark;

    /// What the last group up to `at` has made of the count: one in four changes nothing.
    fn expected(at: Lsn) -> u64 {
        if at.get() % 4 == 3 { (at.get() - 1) * 10 } else { at.get() * 10 }
    }

    /// Every count that a reader sees is that of the LSN which was visible when it looked.
    fn scenario() {
        let shared = Arc::new((Count::new(0), Watermark::new(Lsn::ZERO)));
        let readers = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (count, visible) = &*shared;
                for _ in 0..4 {
                    let seen = Cell::new(Lsn::ZERO);
                    let found = count.visible(|| {
                        seen.set(visible.load());
                        seen.get()
                    });
                    assert_eq!(found, expected(seen.get()), "as of {}", seen.get());
                }
            })
        });
        let (count, visible) = &*shared;
        for lsn in (1..=thread_rng().gen_range(1..8)).map(Lsn::new) {
            if expected(lsn) != count.latest() {
                count.set(expected(lsn), lsn);
            }
            visible.advance(lsn);
        }
        readers.map(|reader| reader.join().unwrap());
    }

    #[test]
    fn shuttle_count_of_what_is_visible() {
        shuttle::check_random(scenario, 3000);
    }
}
