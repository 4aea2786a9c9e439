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
    /// The space in use before the last call, if that call allocates.
    growing: Option<u64>,
    /// The store is being opened, or was opened in this step.
    opens: bool,
    calls: Vec<Called>,
    planned: Option<PlannedFault>,
    /// The fault is in force.
    is_on: bool,
    /// The fault is armed on the disk.
    is_armed: bool,
    fired: Option<Site>,
    /// A call has failed, on this disk or an earlier one.
    has_happened: bool,
}

/// A call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    pub(crate) site: Site,
    pub(crate) step: usize,
    /// The judge reads a store that has just been opened.
    pub(crate) by_judge: bool,
    /// An allocation of space that the file already had: it works on a full disk.
    pub(crate) grew_nothing: bool,
}

/// The call that is to fail, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedFault {
    pub(crate) call: u64,
    pub(crate) fault: CallFault,
    pub(crate) persistence: Persistence,
}

impl Meter {
    pub(crate) fn new(planned: Option<PlannedFault>) -> Meter {
        Meter(Arc::new(Mutex::new(Inner { planned, ..Inner::default() })))
    }

    /// The hook that reports calls to it.
    pub(crate) fn hook(&self) -> Hook {
        let meter = self.clone();
        Hook::new(move |disk, call, phase| meter.0.lock().called(disk, call, phase))
    }

    /// Notes that a step begins.
    pub(crate) fn begin(&self, step: usize) {
        let mut inner = self.0.lock();
        (inner.step, inner.opens) = (step, false);
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Called> {
        self.0.lock().calls.clone()
    }

    /// The site where the fault was first in force.
    pub(crate) fn fired(&self) -> Option<Site> {
        self.0.lock().fired
    }

    /// Whether a call has failed.
    pub(crate) fn has_happened(&self, disk: &SimDisk) -> bool {
        self.0.lock().has_happened || disk.faults_happened() > 0
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.lock().is_on
    }

    /// Clears the fault.
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
        let Some(planned) = self.planned else { return };
        if number == planned.call && !by_judge {
            // `!by_judge`: in a smaller case the number may belong to a call of the judge.
            (self.fired, self.is_on) = (Some(site), true);
            self.arm(disk, planned, site.op);
        } else if self.fired.is_some() {
            if planned.fault == CallFault::FlushForgotten {
                disk.evict();
            }
            if by_judge && self.is_armed {
                // The judge must be able to read the store that was opened.
                self.clear(disk);
                self.is_armed = false;
            } else if self.persists(planned) && (!self.is_armed || call.op == Op::Lock) && !by_judge
            {
                // The disk is another one after a crash, or the judge has finished.
                let op = self.fired.expect("the fault was armed").op;
                self.arm(disk, planned, op);
            }
        }
    }

    fn clear(&mut self, disk: &SimDisk) {
        self.has_happened |= disk.faults_happened() > 0;
        disk.clear_faults();
    }

    /// Whether the fault also applies to the disk after a crash.
    fn persists(&self, planned: PlannedFault) -> bool {
        let lasts = planned.persistence == Persistence::Forever;
        self.is_on && (lasts || planned.fault == CallFault::FullFromHere)
    }

    fn arm(&mut self, disk: &SimDisk, planned: PlannedFault, op: Op) {
        self.is_armed = true;
        if planned.fault == CallFault::FullFromHere {
            let room = planned.call % 3 * 1500;
            disk.set_capacity(Some(disk.used_bytes() + room));
            return;
        }
        self.clear(disk);
        let error = match planned.fault {
            CallFault::Full => FaultError::NoSpace,
            _ => FaultError::Io,
        };
        let flushes = [Op::Sync, Op::MapSync, Op::SyncDir];
        let ops = match (planned.persistence, flushes.contains(&op)) {
            (Persistence::Forever, true) => &flushes[..],
            _ => &[op],
        };
        for &op in ops {
            disk.fail(Fault { op, after: 0, error, persistence: planned.persistence });
        }
    }
}
