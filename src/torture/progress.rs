//! What can be seen of a run while it goes on, and how it is stopped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Counters that all workers add to. All are totals since the run began.
#[derive(Debug, Default)]
pub struct Progress {
    /// Simulated crash states that were recovered and judged.
    pub states: AtomicU64,
    /// Faults that were injected and happened.
    pub faults: AtomicU64,
    /// Processes that were killed and whose store was recovered and judged.
    pub kills: AtomicU64,
    /// Mutants that were caught.
    pub mutants_caught: AtomicU64,
    /// Exhibits that were shown.
    pub exhibits: AtomicU64,
    /// Failures so far.
    pub failures: AtomicU64,
    stopped: AtomicBool,
    doing: Mutex<String>,
}

impl Progress {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// What is being done, for whoever watches.
    pub fn doing(&self) -> String {
        self.doing.lock().clone()
    }

    /// Says what is being done.
    pub fn now(&self, what: impl Into<String>) {
        *self.doing.lock() = what.into();
    }

    /// Asks all workers to come to an end. What they found so far is reported.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Whether the run has been asked to come to an end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
