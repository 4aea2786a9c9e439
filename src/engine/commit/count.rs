//! The number of keys in a keyspace: the visible one, read without a lock, and that of each snapshot.
//!
//! The writer changes the count just before its group becomes visible, and readers must not see
//! it earlier. So the former count is kept beside it, with the group's LSN that divides them, under
//! a seqlock: a sequence number that is odd while they change. Older counts are kept for the
//! snapshots that need them, as page versions are (CACHE-3):
//!
//! ```text
//!   old: [10, 40) 7     [40, 55) 9      before: [70, 90) 12      now: [90, ..) 13
//!        a snapshot     a snapshot      (it is kept in any case)
//!        at 20          at 40
//! ```
//!
//! So taking a snapshot copies no counts. Each change looks at [`PRUNED`] old counts and drops those
//! that no snapshot needs any more.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// Old counts that each change looks at: more than it adds, so that they do not accumulate.
const PRUNED: usize = 2;

/// A count of keys. Changed by one writer at a time.
#[derive(Debug, Default)]
pub(crate) struct KeyCount {
    sequence: AtomicU64,
    /// The group that made the last change.
    lsn: AtomicU64,
    now: AtomicU64,
    before: AtomicU64,
    /// The group that made the change before.
    before_lsn: AtomicU64,
    old: Mutex<OldCounts>,
    /// Whether there are old counts. Used by the writer alone.
    has_old: AtomicBool,
}

/// Counts that snapshots need.
#[derive(Debug, Default)]
struct OldCounts {
    /// The key is the end of a count's range; the value is its begin, and the count.
    by_end: BTreeMap<Lsn, (Lsn, u64)>,
    /// Where the next prune goes on.
    hand: Lsn,
}

impl KeyCount {
    /// A count that is visible from the start.
    pub(crate) fn new(count: u64) -> Self {
        KeyCount {
            now: AtomicU64::new(count),
            before: AtomicU64::new(count),
            ..KeyCount::default()
        }
    }

    /// The count with all changes, visible or not. For the writer.
    pub(crate) fn latest(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Sets the count as of the group at `lsn`, which is not visible yet; all earlier groups are.
    /// `is_needed` says whether a snapshot in `[from, until)` is open.
    pub(crate) fn set(&self, count: u64, lsn: Lsn, is_needed: impl Fn(Lsn, Lsn) -> bool) {
        let from = Lsn::new(self.before_lsn.load(Ordering::Relaxed));
        let until = Lsn::new(self.lsn.load(Ordering::Relaxed));
        let has_old = self.has_old.load(Ordering::Relaxed);
        let is_kept = is_needed(from, until);
        if is_kept || has_old {
            let mut old = self.old.lock();
            old.prune(is_needed);
            if is_kept {
                old.by_end.insert(until, (from, self.before.load(Ordering::Relaxed)));
            }
            self.has_old.store(!old.by_end.is_empty(), Ordering::Relaxed);
        }
        // After the insertion: a reader that misses the count here finds it among the old ones.
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.before.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        self.before_lsn.store(until.get(), Ordering::Relaxed);
        self.now.store(count, Ordering::Relaxed);
        self.lsn.store(lsn.get(), Ordering::Relaxed);
        self.sequence.store(sequence + 2, Ordering::Release);
    }

    /// The count as of the LSN that `visible` returns.
    pub(crate) fn visible(&self, visible: impl Fn() -> Lsn) -> u64 {
        self.look(visible).unwrap_or_else(|(before, _)| before)
    }

    /// The count as of `at`, a registered snapshot.
    pub(crate) fn at(&self, at: Lsn) -> u64 {
        match self.look(|| at) {
            Ok(now) => now,
            Err((before, since)) if since <= at => before,
            Err(_) => self.old.lock().find(at).expect("a count is kept while a snapshot needs it"),
        }
    }

    /// The newest count if it is visible; otherwise the one before, and the LSN that it holds from.
    fn look(&self, visible: impl Fn() -> Lsn) -> Result<u64, (u64, Lsn)> {
        loop {
            let sequence = self.sequence.load(Ordering::Acquire);
            let (now, before) =
                (self.now.load(Ordering::Relaxed), self.before.load(Ordering::Relaxed));
            let (lsn, since) =
                (self.lsn.load(Ordering::Relaxed), self.before_lsn.load(Ordering::Relaxed));
            let visible = visible();
            fence(Ordering::Acquire);
            if sequence.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == sequence {
                return if lsn <= visible.get() { Ok(now) } else { Err((before, Lsn::new(since))) };
            }
            std::hint::spin_loop();
        }
    }
}

impl OldCounts {
    fn find(&self, at: Lsn) -> Option<u64> {
        let (_, (from, count)) =
            self.by_end.range((Bound::Excluded(at), Bound::Unbounded)).next()?;
        (*from <= at).then_some(*count)
    }

    /// Looks at the next [`PRUNED`] old counts, and drops those that no snapshot needs.
    fn prune(&mut self, is_needed: impl Fn(Lsn, Lsn) -> bool) {
        for _ in 0..PRUNED {
            let behind = (Bound::Excluded(self.hand), Bound::Unbounded);
            let Some((&until, &(from, _))) = self.by_end.range(behind).next() else {
                self.hand = Lsn::ZERO;
                return;
            };
            self.hand = until;
            if !is_needed(from, until) {
                self.by_end.remove(&until);
            }
        }
    }
}

#[cfg(all(test, not(syncline_shuttle)))]
mod model {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::base::random::SplitMix64;

    /// Changes, snapshots taken and dropped at random: each sees its count, and little else stays.
    #[test]
    fn a_count_is_what_it_was_at_each_snapshot_and_old_ones_go() {
        let count = KeyCount::new(5);
        let (mut random, mut now) = (SplitMix64::new(5), 5);
        let mut below = |n| random.below(n);
        let mut open: BTreeMap<Lsn, u64> = BTreeMap::new();
        for lsn in (1..5000).map(|n| Lsn::new(n * 10)) {
            let needed: BTreeSet<Lsn> = open.keys().copied().collect();
            if below(3) > 0 {
                now = below(1000);
                count.set(now, lsn, |from, until| {
                    from < until && needed.range(from..until).next().is_some()
                });
            }
            if below(2) == 0 {
                open.insert(lsn, now);
            }
            while open.len() > 50 || !open.is_empty() && below(3) == 0 {
                let at = below(open.len() as u64) as usize;
                let gone = *open.keys().nth(at).expect("below the length");
                open.remove(&gone);
            }
            for (at, expected) in &open {
                assert_eq!(count.at(*at), *expected, "as of {at}");
            }
        }
        for lsn in (5000..5200).map(|n| Lsn::new(n * 10)) {
            count.set(1, lsn, |_, _| false);
        }
        assert!(count.old.lock().by_end.is_empty(), "nobody needs them");
    }
}

#[cfg(all(test, syncline_shuttle))]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use shuttle::rand::{Rng, thread_rng};
    use shuttle::thread;

    use super::*;
    use crate::engine::base::lsn::Watermark;

    /// The count after the last group up to `at`: one group in four changes nothing.
    fn expected(at: Lsn) -> u64 {
        if at.get() % 4 == 3 { (at.get() - 1) * 10 } else { at.get() * 10 }
    }

    /// Every count that a reader sees is that of the LSN that was visible when it looked.
    fn scenario() {
        let shared = Arc::new((KeyCount::new(0), Watermark::new(Lsn::ZERO)));
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
                count.set(expected(lsn), lsn, |_, _| false);
            }
            visible.advance(lsn);
        }
        readers.map(|reader| reader.join().unwrap());
    }

    #[test]
    fn shuttle_visible_count() {
        shuttle::check_random(scenario, 3000);
    }
}
