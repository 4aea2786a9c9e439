//! The progress of a long operation, and its cancellation. The operation's thread and its observers
//! share one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far an operation is, in units that it chooses, mostly pages.
#[derive(Debug, Default)]
pub(crate) struct OperationProgress {
    done: AtomicU64,
    total: AtomicU64,
    is_cancelled: AtomicBool,
}

impl OperationProgress {
    /// Adds `more` units to those done.
    pub(crate) fn advance(&self, more: u64) {
        self.done.fetch_add(more, Ordering::Relaxed);
    }

    /// How many units are done.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Sets the expected total, which may change later.
    pub(crate) fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// The units done, at most the total, and the total, 0 if it is not known.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn done_of_total(&self) -> (u64, u64) {
        let (done, total) = (self.done(), self.total.load(Ordering::Relaxed));
        (if total == 0 { done } else { done.min(total) }, total)
    }

    /// Asks the operation to stop soon.
    #[cfg_attr(not(feature = "server"), allow(dead_code))]
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}
