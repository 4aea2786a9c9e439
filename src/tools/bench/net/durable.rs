//! The earliest time at which a client could know that a write was durable: from a watch of the
//! watermarks, and from answers.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::Mutex;

/// The progress of the durable watermark over time.
#[derive(Debug, Default)]
pub(super) struct Durable {
    seen: Mutex<BTreeMap<u64, Instant>>,
}

impl Durable {
    /// Notes that the watermark was at `lsn` or beyond at `when`.
    pub(super) fn at(&self, lsn: u64, when: Instant) {
        let mut seen = self.seen.lock();
        // A later LSN at an earlier time says more.
        let known = seen.range(lsn..).next().is_some_and(|(_, earlier)| *earlier <= when);
        if !known {
            seen.insert(lsn, when);
        }
        while seen.len() > 10_000 {
            seen.pop_first();
        }
    }

    /// The earliest time at which `lsn` was known to be durable.
    pub(super) fn since(&self, lsn: u64) -> Option<Instant> {
        self.seen.lock().range(lsn..).next().map(|(_, when)| *when)
    }
}
