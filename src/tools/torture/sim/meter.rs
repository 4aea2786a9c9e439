//! Counts the calls of a run's disk that can fail, and lets one of them fail.

use std::sync::Arc;

use parking_lot::Mutex;

use super::site::{CallFault, Phase, Site};
use super::watch::Hook;
use crate::engine::disk::{Call, Fault, FaultError, Op, Persistence, SimDisk};

/// Shared between a run and the hook on its disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    step: usize,
    /// The space in use before the last call, if that is to make a file longer.
    growing: Option<u64>,
    /// The step closes the store and opens it, and is past the first half.
    opens: bool,
    calls: Vec<Called>,
    bomb: Option<Bomb>,
    /// The fault is in force.
    is_on: bool,
    /// The disk has the fault armed.
    is_armed: bool,
    fired: Option<Site>,
    /// A fault has happened on a disk, or before it was cleared.
    has_happened: bool,
}

/// A call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    pub(crate) site: Site,
    pub(crate) step: usize,
    /// The suite itself reads, to judge what has been opened.
    pub(crate) by_judge: bool,
    /// A file was to grow to a length that it had: a full disk has no part in that.
    pub(crate) grew_nothing: bool,
}

/// What is to fail, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bomb {
    pub(crate) call: u64,
    pub(crate) fault: CallFault,
    pub(crate) persistence: Persistence,
}

impl Meter {
    pub(crate) fn new(bomb: Option<Bomb>) -> Meter {
        Meter(Arc::new(Mutex::new(Inner { bomb, ..Inner::default() })))
    }

    /// What tells it of calls.
    pub(crate) fn hook(&self) -> Hook {
        let meter = self.clone();
        Hook::new(move |disk, call, phase| meter.0.lock().called(disk, call, phase))
    }

    /// A step begins.
    pub(crate) fn begin(&self, step: usize) {
        let mut inner = self.0.lock();
        (inner.step, inner.opens) = (step, false);
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Called> {
        self.0.lock().calls.clone()
    }

    /// Where the fault struck first.
    pub(crate) fn fired(&self) -> Option<Site> {
        self.0.lock().fired
    }

    /// Whether a call has really failed.
    pub(crate) fn has_happened(&self, disk: &SimDisk) -> bool {
        self.0.lock().has_happened || disk.faults_happened() > 0
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.lock().is_on
    }

    /// The trouble is over.
    pub(crate) fn heal(&self, disk: &SimDisk) {
        let mut inner = self.0.lock();
        (inner.is_on, inner.is_armed) = (false, false);
        inner.clear(disk);
        disk.set_capacity(None);
    }
}

impl Inner {
    fn called(&mut self, disk: &SimDisk, call: &Call<'_>, phase: Phase) {
        if disk.is_gone() {
            return;
        }
        if let (Some(before), Some(last)) = (self.growing.take(), self.calls.last_mut()) {
            last.grew_nothing = disk.used_bytes() == before;
        }
        self.opens |= call.op == Op::Lock;
        self.has_happened |= disk.faults_happened() > 0;
        let by_judge = self.opens && phase == Phase::Reading;
        let phase = match phase {
            Phase::Closing if self.opens => Phase::Opening,
            phase => phase,
        };
        let Some(site) = Site::of(call, phase) else { return };
        let number = self.calls.len() as u64;
        self.calls.push(Called { site, step: self.step, by_judge, grew_nothing: false });
        self.growing = (site.op == Op::Allocate).then(|| disk.used_bytes());
        let Some(bomb) = self.bomb else { return };
        if number == bomb.call && !by_judge {
            // In a case that was made smaller it may have become one of the judge's.
            (self.fired, self.is_on) = (Some(site), true);
            self.strike(disk, bomb, site.op);
        } else if self.fired.is_some() {
            if bomb.fault == CallFault::FlushForgotten {
                disk.evict();
            }
            if by_judge && self.is_armed {
                // What the suite itself reads to judge an opened store, it must be able to read.
                self.clear(disk);
                self.is_armed = false;
            } else if self.goes_on(bomb) && (!self.is_armed || call.op == Op::Lock) && !by_judge {
                // Another disk after a crash, or the judge has done.
                let op = self.fired.expect("it has struck").op;
                self.strike(disk, bomb, op);
            }
        }
    }

    fn clear(&mut self, disk: &SimDisk) {
        self.has_happened |= disk.faults_happened() > 0;
        disk.clear_faults();
    }

    /// Whether it strikes other disks too, that come after a crash.
    fn goes_on(&self, bomb: Bomb) -> bool {
        let lasts = bomb.persistence == Persistence::Forever;
        self.is_on && (lasts || bomb.fault == CallFault::FullFromHere)
    }

    fn strike(&mut self, disk: &SimDisk, bomb: Bomb, op: Op) {
        self.is_armed = true;
        if bomb.fault == CallFault::FullFromHere {
            let room = bomb.call % 3 * 1500;
            disk.set_capacity(Some(disk.used_bytes() + room));
            return;
        }
        self.clear(disk);
        let error = match bomb.fault {
            CallFault::Full => FaultError::NoSpace,
            _ => FaultError::Io,
        };
        let flushes = [Op::Sync, Op::MapSync, Op::SyncDir];
        let ops = match (bomb.persistence, flushes.contains(&op)) {
            (Persistence::Forever, true) => &flushes[..],
            _ => &[op],
        };
        for &op in ops {
            disk.fail(Fault { op, after: 0, error, persistence: bomb.persistence });
        }
    }
}
