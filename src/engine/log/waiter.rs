//! Threads and futures that wait for the sync line, in LSN order.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::Deadline;
use crate::engine::base::sync::atomic::{AtomicU8, Ordering};
use crate::engine::base::sync::thread::{self, Thread};

/// Waiting threads, by LSN and then by ticket.
#[derive(Debug, Default)]
pub(super) struct Queue(BTreeMap<(Lsn, u64), Arc<Waiter>>);

impl Queue {
    pub(super) fn add(&mut self, lsn: Lsn, ticket: u64, waiter: Arc<Waiter>) {
        self.0.insert((lsn, ticket), waiter);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes out the waiters for `durable` or less.
    pub(super) fn take_through(&mut self, durable: Lsn) -> impl Iterator<Item = Arc<Waiter>> {
        let later = self.0.split_off(&(beyond(durable), 0));
        mem::replace(&mut self.0, later).into_values()
    }

    /// Takes out the waiters for less than `durable`.
    pub(super) fn take_below(&mut self, durable: Lsn) -> impl Iterator<Item = Arc<Waiter>> {
        let later = self.0.split_off(&(durable, 0));
        mem::replace(&mut self.0, later).into_values()
    }

    pub(super) fn take_first(&mut self) -> Option<Arc<Waiter>> {
        self.0.pop_first().map(|(_, waiter)| waiter)
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Arc<Waiter>> {
        mem::take(&mut self.0).into_values()
    }

    /// Takes out the waiter with this ticket, if it is still there.
    pub(super) fn leave(&mut self, lsn: Lsn, ticket: u64) {
        self.0.remove(&(lsn, ticket));
    }
}

/// A new waker is compared with at most this many older ones.
const COMPARED: usize = 16;

/// Wakers of waiting futures, by LSN.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    all: BTreeMap<Lsn, Vec<Waker>>,
    count: usize,
}

impl Wakers {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Adds a waker. Returns it if a like one is there, to be dropped without the lock.
    pub(super) fn add(&mut self, lsn: Lsn, waker: Waker) -> Option<Waker> {
        let here = self.all.entry(lsn).or_default();
        // Only the last ones: with thousands at one LSN, comparing all would cost too much. A future
        // that is there twice is woken twice, which does no harm.
        if here.iter().rev().take(COMPARED).any(|other| other.will_wake(&waker)) {
            return Some(waker);
        }
        here.push(waker);
        self.count += 1;
        None
    }

    /// Takes out the wakers for `durable` or less.
    pub(super) fn take_through(&mut self, durable: Lsn) -> Vec<Waker> {
        let later = self.all.split_off(&beyond(durable));
        let passed: Vec<_> = mem::replace(&mut self.all, later).into_values().flatten().collect();
        self.count -= passed.len();
        passed
    }

    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        mem::take(self).all.into_values().flatten().collect()
    }
}

/// The lowest LSN that a sync line at `durable` does not answer.
fn beyond(durable: Lsn) -> Lsn {
    Lsn::new(durable.get().saturating_add(1))
}

/// The state of a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fate {
    Waiting,
    Passed,
    Lead,
    Poisoned,
}

/// A waiting thread. The thread that takes it out of its queue, under the lock of the group, decides
/// its fate.
#[derive(Debug)]
pub(super) struct Waiter {
    thread: Thread,
    fate: AtomicU8,
}

impl Waiter {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Waiter { thread: thread::current(), fate: AtomicU8::new(Fate::Waiting as u8) })
    }

    pub(super) fn fate(&self) -> Fate {
        match self.fate.load(Ordering::Acquire) {
            0 => Fate::Waiting,
            1 => Fate::Passed,
            2 => Fate::Lead,
            _ => Fate::Poisoned,
        }
    }

    /// Decides its fate and wakes it.
    pub(super) fn wake(&self, fate: Fate) {
        self.fate.store(fate as u8, Ordering::Release);
        self.thread.unpark();
    }
}

/// Sleeps until the waiter's fate is decided or the deadline passes.
pub(super) fn park(waiter: &Waiter, deadline: Option<Deadline>) -> Fate {
    loop {
        let fate = waiter.fate();
        if fate != Fate::Waiting {
            return fate;
        }
        match &deadline {
            None => thread::park(),
            Some(deadline) => match deadline.remaining() {
                Some(rest) => crate::engine::base::sync::park_timeout(rest),
                None => return waiter.fate(),
            },
        }
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_learns_its_fate() {
        for fate in [Fate::Waiting, Fate::Passed, Fate::Lead, Fate::Poisoned] {
            let waiter = Waiter::new();
            assert_eq!(waiter.fate(), Fate::Waiting);
            waiter.wake(fate);
            assert_eq!(waiter.fate(), fate);
        }
    }
}
