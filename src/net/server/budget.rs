//! What clients leave unread, of all connections together: one number, and a cap.
//!
//! Each connection has a cap of its own, but thousands of them, or a few with long answers, may
//! have more than there is memory. Nobody can know beforehand who will read; but a socket that
//! takes nothing more says who does not: such a connection is *stuck*.
//!
//! - BUDGET-1 What counts is memory: of every output that could not be written at once, with the requests
//!   that wait behind it and what such a connection holds for itself; and of every answer from the
//!   pool, from before it is made until it counts with an output. It is counted by values that give it back when they are
//!   dropped, so that no way out forgets it. An allocator does not give back all that it gets:
//!   what is counted is a quarter more.
//! - BUDGET-2 Above half the cap nothing is made for a connection that is stuck: its input is not read, and
//!   its backlog and its streams stand still until its socket has taken all there is. It wakes
//!   itself then; if that takes too long, it is cut as any slow reader.
//! - BUDGET-3 Above half the cap a page has at most [`SMALL_PAGE`] bytes, and the outputs of a connection a
//!   sixteenth of what they may have otherwise: so what is made for those of whom nothing is known
//!   yet is small. All others go on.
//! - BUDGET-4 Above three quarters of the cap no answer is made that is longer than such a page, and above
//!   the cap none whose length is not known to be small. Such a request waits, without a thread, while those
//!   who do not read are cut (BUDGET-6); it is refused as `TooBusy` if that takes too long.
//! - BUDGET-5 A connection has one long answer at a time, or several that are a megabyte together: so the
//!   cap is shared by all that ask for much, and not by the first of them alone.
//! - BUDGET-6 While somebody waits for memory, a connection that has taken nothing for a second, and has more
//!   than a small page unread, is cut like any slow reader.
//!
//! So there is at most the cap, and besides what is being made at that moment: a part of a stream for
//! each thread of the pool, and a turn's for each connection that is not stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes of a page above half the cap (BUDGET-3).
pub(crate) const SMALL_PAGE: u32 = 64 << 10;

/// How full it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Free,
    /// Above half the cap.
    Tight,
    /// Above the cap.
    Full,
}

/// The number and the cap.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    cap: usize,
    /// How many wait for some of it.
    wanting: AtomicUsize,
}

/// Somebody waits for memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Wanted(Arc<Budget>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.wanting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    pub(crate) fn new(cap: usize) -> Arc<Budget> {
        Arc::new(Budget { held: AtomicUsize::new(0), cap, wanting: AtomicUsize::new(0) })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// Says that somebody waits for memory.
    pub(crate) fn want(self: &Arc<Self>) -> Wanted {
        self.wanting.fetch_add(1, Ordering::Relaxed);
        Wanted(Arc::clone(self))
    }

    /// Whether somebody waits for memory.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanting.load(Ordering::Relaxed) > 0
    }

    /// Whether there is room for an answer that is about to be made, and counts already (BUDGET-4).
    pub(crate) fn has_room_for(&self, share: &Share, is_small: bool) -> bool {
        let held = self.held();
        held <= share.bytes || held <= if is_small { self.cap } else { self.cap / 4 * 3 }
    }

    pub(crate) fn level(&self) -> Level {
        match self.held() {
            held if held <= self.cap / 2 => Level::Free,
            held if held <= self.cap => Level::Tight,
            _ => Level::Full,
        }
    }
}

/// Somebody's share of what is held.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub(crate) fn of(budget: &Arc<Budget>, bytes: usize) -> Share {
        let mut share = Share { budget: Arc::clone(budget), bytes: 0 };
        share.set(bytes);
        share
    }

    /// It is so large now.
    #[inline]
    pub(crate) fn set(&mut self, bytes: usize) {
        let bytes = bytes + bytes / 4;
        // Most connections have nothing before a turn and nothing after it.
        if bytes == self.bytes {
            return;
        }
        if bytes > self.bytes {
            self.budget.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// An answer that no connection has taken yet.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) packet: Vec<u8>,
    pub(crate) share: Share,
}

impl Made {
    pub(crate) fn new(mut packet: Vec<u8>, budget: &Arc<Budget>) -> Made {
        // It grew by doubling.
        if packet.capacity() / 2 > packet.len() {
            packet.shrink_to_fit();
        }
        let share = Share::of(budget, packet.capacity());
        Made { packet, share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let budget = Budget::new(200);
        let mut share = Share::of(&budget, 60);
        assert_eq!((budget.held(), budget.level()), (75, Level::Free));
        let made = Made::new(vec![0; 40], &budget);
        assert_eq!((budget.held(), budget.level()), (125, Level::Tight));
        share.set(120);
        assert_eq!((budget.held(), budget.level()), (200, Level::Tight));
        share.set(121);
        assert_eq!(budget.level(), Level::Full);
        drop(made);
        share.set(8);
        assert_eq!((budget.held(), budget.level()), (10, Level::Free));
        drop(share);
        assert_eq!(budget.held(), 0);
    }
}
