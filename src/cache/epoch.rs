//! Epochs: readers pin one, and what was retired is freed once nobody who could see it is pinned.
//!
//! The scheme and its implementation are crossbeam-epoch's (Fraser, "Practical lock-freedom",
//! 2004). Each store has a collector of its own, so that a reader of one store never delays
//! another, and so that a simulated run depends on nothing outside it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_epoch::{Collector, LocalHandle};

/// While a thread holds one, nothing that it can still find is freed. Hold it briefly, and never
/// while waiting for a device.
pub(crate) use crossbeam_epoch::Guard;

/// Handles of more stores than this in one thread are made anew at each change.
const HANDLES: usize = 8;

static NEXT: AtomicU64 = AtomicU64::new(1);

// Under shuttle all tasks run on one thread of the system, and each must have a handle.
#[cfg(syncline_shuttle)]
use shuttle::thread_local;

thread_local! {
    static LOCAL: RefCell<Vec<(u64, LocalHandle)>> = const { RefCell::new(Vec::new()) };
}

/// The epochs of one store.
#[derive(Debug)]
pub(crate) struct Epoch {
    collector: Collector,
    number: u64,
}

impl Epoch {
    pub(crate) fn new() -> Self {
        Epoch { collector: Collector::new(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Pins the current epoch.
    pub(crate) fn pin(&self) -> Guard {
        LOCAL.with(|local| {
            if let Some((number, handle)) = local.borrow().first()
                && *number == self.number
            {
                return handle.pin();
            }
            self.pin_slowly(&mut local.borrow_mut())
        })
    }

    /// Finds or makes this thread's handle, and moves it to the front.
    #[cold]
    fn pin_slowly(&self, local: &mut Vec<(u64, LocalHandle)>) -> Guard {
        match local.iter().position(|(number, _)| *number == self.number) {
            Some(at) => local.swap(0, at),
            None => {
                local.insert(0, (self.number, self.collector.register()));
                local.truncate(HANDLES);
            }
        }
        local[0].1.pin()
    }
}

impl Drop for Epoch {
    /// Whoever opens and drops many stores in one thread, as a simulation does, keeps the handle
    /// to the one that stays: when what it retired is freed depends on that one alone.
    fn drop(&mut self) {
        let _ = LOCAL.try_with(|local| {
            if let Ok(mut local) = local.try_borrow_mut() {
                local.retain(|(number, _)| *number != self.number);
            }
        });
    }
}
