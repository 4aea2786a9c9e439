//! A cap on the unread output of all connections together.
//!
//! Each connection has its own cap, but thousands of connections, or a few with long answers, may
//! exceed the memory together. The server cannot predict which clients will read. But a socket that
//! takes nothing more shows which client does not: such a connection is *stuck*.
//!
//! - BUDGET-1 Memory is charged for every output that could not be written at once, with the requests
//!   queued behind it and a fixed overhead of the connection. It is also charged for every answer of the
//!   pool, from before it is made until it counts with an output. A [`MemoryCharge`] gives it back
//!   when dropped, so no path forgets it. A charge is a quarter more than the bytes, because of the
//!   allocator's overhead.
//! - BUDGET-2 Above half the cap no answer is made for a stuck connection: its input is not read, and its
//!   backlog and streams stop until its socket has taken all output. If that takes too long, it is cut
//!   off like any slow reader.
//! - BUDGET-3 Above half the cap a page has at most [`SMALL_PAGE`] bytes, and the output of a connection is
//!   limited to a sixteenth: so an answer to a client that may yet turn out stuck is small.
//! - BUDGET-4 Above three quarters of the cap only answers up to a small page are made, and above the cap
//!   only those known to be small. Any other request waits, without a thread, while clients that do not
//!   read are cut off (BUDGET-6). It is refused as `TooBusy` if that takes too long.
//! - BUDGET-5 A connection has one long answer at a time, or several of a megabyte together: so all that
//!   ask for much share the cap.
//! - BUDGET-6 While a request waits for memory, a connection that has read nothing for a second, and has
//!   more than a small page unread, is cut off like any slow reader.
//!
//! So unread output exceeds the cap only by the answers being made at that moment: a part of a stream
//! per thread of the pool, and the answers of one turn per connection that is not stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes of a page above half the cap (BUDGET-3).
pub(crate) const SMALL_PAGE: u32 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Free,
    /// Above half the cap.
    Tight,
    /// Above the cap.
    Full,
}

/// The budget, in bytes.
#[derive(Debug)]
pub(crate) struct OutputBudget {
    held: AtomicUsize,
    cap: usize,
    /// Number of [`MemoryWaiter`]s.
    waiting: AtomicUsize,
}

/// Counts a connection that waits for memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryWaiter(Arc<OutputBudget>);

impl Drop for MemoryWaiter {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OutputBudget {
    pub(crate) fn new(cap: usize) -> Arc<OutputBudget> {
        Arc::new(OutputBudget { held: AtomicUsize::new(0), cap, waiting: AtomicUsize::new(0) })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// Registers a connection that waits for memory.
    pub(crate) fn want(self: &Arc<Self>) -> MemoryWaiter {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        MemoryWaiter(Arc::clone(self))
    }

    /// Whether any connection waits for memory.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether there is memory for an answer that is about to be made and is charged already (BUDGET-4).
    pub(crate) fn has_room_for(&self, charge: &MemoryCharge, is_small: bool) -> bool {
        let held = self.held();
        held <= charge.bytes || held <= if is_small { self.cap } else { self.cap / 4 * 3 }
    }

    pub(crate) fn level(&self) -> Level {
        match self.held() {
            held if held <= self.cap / 2 => Level::Free,
            held if held <= self.cap => Level::Tight,
            _ => Level::Full,
        }
    }
}

/// A part of the held memory, given back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryCharge {
    budget: Arc<OutputBudget>,
    bytes: usize,
}

impl MemoryCharge {
    pub(crate) fn of(budget: &Arc<OutputBudget>, bytes: usize) -> MemoryCharge {
        let mut charge = MemoryCharge { budget: Arc::clone(budget), bytes: 0 };
        charge.set(bytes);
        charge
    }

    /// Changes the charge to that for `bytes` bytes.
    #[inline]
    pub(crate) fn set(&mut self, bytes: usize) {
        let bytes = bytes + bytes / 4;
        // The common case: nothing before a turn and nothing after it.
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

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// An encoded answer on its way from the pool to its connection.
#[derive(Debug)]
pub(crate) struct EncodedAnswer {
    pub(crate) packet: Vec<u8>,
    pub(crate) charge: MemoryCharge,
}

impl EncodedAnswer {
    pub(crate) fn new(mut packet: Vec<u8>, budget: &Arc<OutputBudget>) -> EncodedAnswer {
        // It grew by doubling: give back the rest.
        if packet.capacity() / 2 > packet.len() {
            packet.shrink_to_fit();
        }
        let charge = MemoryCharge::of(budget, packet.capacity());
        EncodedAnswer { packet, charge }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_counted_until_they_are_dropped() {
        let budget = OutputBudget::new(200);
        let mut charge = MemoryCharge::of(&budget, 60);
        assert_eq!((budget.held(), budget.level()), (75, Level::Free));
        let made = EncodedAnswer::new(vec![0; 40], &budget);
        assert_eq!((budget.held(), budget.level()), (125, Level::Tight));
        charge.set(120);
        assert_eq!((budget.held(), budget.level()), (200, Level::Tight));
        charge.set(121);
        assert_eq!(budget.level(), Level::Full);
        drop(made);
        charge.set(8);
        assert_eq!((budget.held(), budget.level()), (10, Level::Free));
        drop(charge);
        assert_eq!(budget.held(), 0);
    }
}
