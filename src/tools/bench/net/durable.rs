//! When a write was durable, as far as anybody here could know: from a watch of the watermarks, and
//! from whatever else was told.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::Mutex;

/// When the sync line came where.
#[derive(Debug, Default)]
pub(super) struct Durable {
    seen: Mutex<BTreeMap<u64, Instant>>,
}

impl Durable {
    /// It was here or further at this time.
    pub(super) fn at(&self, lsn: u64, when: Instant) {
        let mut seen = self.seen.lock();
        // An earlier time for a later place is an earlier time for this one too.
        let known = seen.range(lsn..).next().is_some_and(|(_, earlier)| *earlier <= when);
        if !known {
            seen.insert(lsn, when);
        }
        while seen.len() > 10_000 {
            seen.pop_first();
        }
    }

    /// Since when this place is known to be durable.
    pub(super) fn since(&self, lsn: u64) -> Option<Instant> {
        self.seen.lock().range(lsn..).next().map(|(_, when)| *when)
    }
}
