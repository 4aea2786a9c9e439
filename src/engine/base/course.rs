//! The course of a long operation: how far it is, and whether it shall stop. Whoever does it and
//! whoever asks after it share one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far an operation is, in units of its own, mostly pages.
#[derive(Debug, Default)]
pub(crate) struct Course {
    done: AtomicU64,
    total: AtomicU64,
    is_cancelled: AtomicBool,
}

impl Course {
    /// So many more are done.
    pub(crate) fn advance(&self, more: u64) {
        self.done.fetch_add(more, Ordering::Relaxed);
    }

    /// How many are done already.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many there are, as far as is known now. May be found to be others.
    pub(crate) fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// How many are done, of how many; 0 if that is not known. Never more than there are.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn progress(&self) -> (u64, u64) {
        let (done, total) = (self.done(), self.total.load(Ordering::Relaxed));
        (if total == 0 { done } else { done.min(total) }, total)
    }

    /// Asks whoever does it to stop soon.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}
