//! The progress of a worker, and when it has to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared between a worker and its supervisor. Clones are the same pace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    deadline: Option<Instant>,
    states: Arc<AtomicU64>,
    beats: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    /// The seed of the workload in progress, or 0.
    seed: Arc<AtomicU64>,
}

impl Pace {
    /// A pace that is over at `deadline`, or when it is stopped.
    pub(crate) fn until(deadline: Option<Instant>) -> Pace {
        Pace { deadline, ..Pace::default() }
    }

    /// The same pace with another deadline, `time` from now: that of the run may have passed.
    pub(crate) fn anew(&self, time: Duration) -> Pace {
        Pace { deadline: Some(Instant::now() + time), ..self.clone() }
    }

    /// The same pace, over after `time` at the latest.
    #[cfg(feature = "mutants")]
    pub(crate) fn at_most(&self, time: Duration) -> Pace {
        let end = Instant::now() + time;
        let deadline = self.deadline.map_or(end, |deadline| deadline.min(end));
        Pace { deadline: Some(deadline), ..self.clone() }
    }

    /// Counts a state.
    pub(crate) fn beat(&self) {
        self.states.fetch_add(1, Ordering::Relaxed);
        self.beat_step();
    }

    /// Counts a step of a workload.
    pub(crate) fn beat_step(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the workload of `seed` begins.
    pub(crate) fn begins(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
    }

    /// Notes that the worker runs no workload: a long pause is no hang.
    pub(crate) fn rest(&self) {
        self.seed.store(0, Ordering::Relaxed);
    }

    /// Whether the worker runs no workload.
    pub(crate) fn rests(&self) -> bool {
        self.seed.load(Ordering::Relaxed) == 0
    }

    /// The workload in progress, in words.
    pub(crate) fn task(&self) -> String {
        format!("the workload of seed {}", self.seed.load(Ordering::Relaxed))
    }

    /// States so far.
    pub(crate) fn states(&self) -> u64 {
        self.states.load(Ordering::Relaxed)
    }

    /// States and steps so far: a worker that does not hang counts more of them.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Asks the worker to stop.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it is time to stop.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
