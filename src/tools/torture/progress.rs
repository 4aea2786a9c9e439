//! The counters and failures of a run that goes on, and its stop flag.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::failure::Failure;

/// Counters that all workers add to. All are totals since the run began.
#[derive(Debug, Default)]
pub struct Progress {
    /// Simulated crash states that were recovered and judged.
    pub states: AtomicU64,
    /// Faults that were injected and happened.
    pub faults: AtomicU64,
    /// Killed processes, servers too, whose store was recovered and judged.
    pub kills: AtomicU64,
    /// Jobs of killed servers that were judged.
    pub jobs: AtomicU64,
    /// Mutants that were caught.
    pub mutants_caught: AtomicU64,
    /// Exhibits that were shown.
    pub exhibits: AtomicU64,
    /// Failures so far.
    pub failures: AtomicU64,
    stopped: AtomicBool,
    doing: Mutex<String>,
    /// In the order of discovery.
    found: Mutex<Vec<Failure>>,
}

impl Progress {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// The work at hand, in words.
    pub fn doing(&self) -> String {
        self.doing.lock().clone()
    }

    /// Sets the words for the work at hand.
    pub fn now(&self, what: impl Into<String>) {
        *self.doing.lock() = what.into();
    }

    /// Counts a failure and shows it to the watcher at once. The suite still returns it.
    pub fn found(&self, failure: &Failure) {
        Progress::add(&self.failures, 1);
        self.found.lock().push(failure.clone());
    }

    /// Shows the watcher those of `failures` that it has not seen, and counts `total`.
    pub(super) fn returned(&self, failures: &[Failure], total: u64) {
        let mut found = self.found.lock();
        for failure in failures {
            if !found.contains(failure) {
                found.push(failure.clone());
            }
        }
        self.failures.fetch_max(total, Ordering::Relaxed);
    }

    /// The failures after the first `known` ones.
    pub(super) fn found_since(&self, known: usize) -> Vec<Failure> {
        self.found.lock()[known..].to_vec()
    }

    /// Asks all workers to end. The run reports the results so far.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Whether the run was asked to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
