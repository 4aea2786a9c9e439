//! A cap on the memory of unfinished packets of all connections together.
//!
//! A packet is executed only when it is whole, and may be 16 MiB long. Without a cap a few hundred
//! clients that each send the beginning of one could use up all memory.
//!
//! - INPUT-1 Before more than [`FREE`] bytes of a packet are read, memory is claimed for all of it, from the
//!   length in its header. So a granted packet can always finish, and there is no deadlock.
//! - INPUT-2 A connection whose claim does not fit is not read, and waits in a queue. Memory goes to the
//!   first in the queue, whatever its size. A claim above the cap is granted if nothing else is held.
//! - INPUT-3 Up to [`FREE`] bytes of each connection are read without a claim, so that short requests go
//!   on. They count as well.
//! - INPUT-4 While a claim waits, a connection that holds more than that and has sent nothing for a while
//!   is ended (`TooSlow`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Bytes of a packet that need no claim.
pub(crate) const FREE: usize = 4 << 10;

/// The budget: `held` may exceed `cap` by the bytes that need no claim, and by one claim.
#[derive(Debug)]
pub(crate) struct InputBudget {
    cap: usize,
    held: AtomicUsize,
    waiting: AtomicUsize,
    queue: Mutex<WaitQueue>,
}

#[derive(Debug, Default)]
struct WaitQueue {
    next: u64,
    places: BTreeMap<u64, Waker>,
}

/// The part of the budget that one connection holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct InputClaim {
    budget: Arc<InputBudget>,
    bytes: usize,
    place: Option<u64>,
}

impl InputBudget {
    pub(crate) fn new(cap: usize) -> Arc<InputBudget> {
        let (held, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(InputBudget { cap, held, waiting, queue: Mutex::default() })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// Whether any claim waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.cap
    }

    fn wake_first(&self) {
        if self.is_wanted()
            && let Some(first) = self.queue.lock().places.first_entry()
        {
            first.get().wake_by_ref();
        }
    }
}

impl InputClaim {
    pub(crate) fn new(budget: &Arc<InputBudget>) -> InputClaim {
        InputClaim { budget: Arc::clone(budget), bytes: 0, place: None }
    }

    /// Raises the claim to `bytes`, whatever is free. A larger claim stays.
    #[inline]
    pub(crate) fn count(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.held.fetch_add(bytes - self.bytes, Ordering::SeqCst);
            self.bytes = bytes;
        }
    }

    /// Lowers the claim to `bytes`.
    #[inline]
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.held.fetch_sub(self.bytes - bytes, Ordering::SeqCst);
            self.bytes = bytes;
            self.budget.wake_first();
        }
    }

    /// `Ready` once it holds `bytes` (INPUT-2).
    pub(crate) fn poll_claim(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        if bytes <= self.bytes {
            self.leave();
            return Poll::Ready(());
        }
        if self.place.is_none() && !self.budget.is_wanted() && self.try_grow(bytes) {
            return Poll::Ready(());
        }
        let is_first = {
            let mut queue = self.budget.queue.lock();
            let place = *self.place.get_or_insert_with(|| {
                queue.next += 1;
                self.budget.waiting.fetch_add(1, Ordering::SeqCst);
                queue.next
            });
            queue.places.insert(place, cx.waker().clone());
            queue.places.first_key_value().is_some_and(|(first, _)| *first == place)
        };
        // Memory that was given back before this claim was queued has not woken it.
        if is_first && self.try_grow(bytes) {
            self.leave();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.place.is_some()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn try_grow(&mut self, bytes: usize) -> bool {
        let more = bytes - self.bytes;
        let grown = self.budget.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| {
            (held + more <= self.budget.cap || held == self.bytes).then_some(held + more)
        });
        if grown.is_ok() {
            self.bytes = bytes;
        }
        grown.is_ok()
    }

    /// Leaves the queue, and wakes the next one.
    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.budget.queue.lock().places.remove(&place);
            self.budget.waiting.fetch_sub(1, Ordering::SeqCst);
            self.budget.wake_first();
        }
    }
}

impl Drop for InputClaim {
    fn drop(&mut self) {
        self.leave();
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(claim: &mut InputClaim, bytes: usize) -> bool {
        claim.poll_claim(bytes, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn memory_goes_to_the_first_in_the_queue() {
        let budget = InputBudget::new(100);
        let [mut one, mut two, mut three] = [(); 3].map(|()| InputClaim::new(&budget));
        assert!(poll(&mut one, 90) && !poll(&mut two, 80) && budget.is_wanted());
        assert!(!poll(&mut three, 5), "it would fit, but it is not first");
        one.shrink(10);
        assert!(!poll(&mut three, 5) && poll(&mut two, 80) && poll(&mut three, 5));
        assert!(!budget.is_wanted());
        one.count(40);
        let found = (budget.held(), budget.is_full());
        assert_eq!(found, (125, true), "bytes without a claim count as well");
        drop((one, two, three));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_claim_above_the_cap_is_granted_alone_and_a_dropped_one_wakes_the_next() {
        let budget = InputBudget::new(100);
        let [mut one, mut two, mut three] = [(); 3].map(|()| InputClaim::new(&budget));
        assert!(poll(&mut one, 10) && !poll(&mut two, 500) && !poll(&mut three, 50));
        drop(two);
        assert!(poll(&mut three, 50));
        drop(three);
        assert!(poll(&mut one, 500), "no other claim holds anything");
    }
}
