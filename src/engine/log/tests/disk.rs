//! A disk that counts operations and injects faults.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::engine::base::error::{Error, Result};
use crate::engine::disk::watched::{Act, Watcher, watched};
use crate::engine::disk::{Disk, SimDisk};

/// The faults to inject, and counts of operations.
#[derive(Debug, Default)]
pub(super) struct Knobs {
    /// Successful flushes of mapped ranges.
    pub(super) flushes: AtomicU64,
    /// Whether two flushes ran at once.
    pub(super) overlapped: AtomicBool,
    /// The next flush that fails: 1 is the very next one, 0 is none.
    pub(super) fail_flush: AtomicI64,
    pub(super) full: AtomicBool,
    pub(super) fail_prefault: AtomicBool,
    pub(super) flush_micros: AtomicU64,
    /// File name, offset and length of each successful flush.
    pub(super) flushed: Mutex<Vec<(String, usize, usize)>>,
    /// File name, offset and length of each prefaulted range.
    pub(super) prefaulted: Mutex<Vec<(String, usize, usize)>>,
    /// Reads of files.
    pub(super) reads: AtomicU64,
    /// Whether flushes panic.
    pub(super) panic_flush: AtomicBool,
    in_flight: AtomicU64,
}

impl Knobs {
    pub(super) fn is_flushing(&self) -> bool {
        self.in_flight.load(SeqCst) > 0
    }
}

/// A simulated disk, and its knobs.
pub(super) fn spied_disk() -> (Arc<dyn Disk>, Arc<Knobs>) {
    let knobs = Arc::new(Knobs::default());
    (watched(Arc::new(SimDisk::new()), Arc::clone(&knobs) as Arc<dyn Watcher>), knobs)
}

impl Watcher for Knobs {
    fn see(
        &self,
        name: &str,
        act: &Act<'_>,
        pass_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        match *act {
            Act::Create { bytes } | Act::Grow { bytes } if self.full.load(SeqCst) => {
                return Err(Error::DiskFull { file: name.to_owned(), needed: bytes });
            }
            // This disk cannot.
            Act::GiveBack { .. } => return Ok(()),
            Act::Read { .. } => {
                self.reads.fetch_add(1, SeqCst);
            }
            Act::MappedSync { offset, len } => return self.flush(name, offset, len, pass_on),
            Act::Prefault { len, .. } if self.fail_prefault.load(SeqCst) => {
                return Err(Error::DiskFull { file: name.to_owned(), needed: len as u64 });
            }
            Act::Prefault { offset, len } => {
                self.prefaulted.lock().unwrap().push((name.to_owned(), offset, len));
            }
            _ => {}
        }
        pass_on()
    }
}

impl Knobs {
    fn flush(
        &self,
        name: &str,
        offset: usize,
        len: usize,
        flush: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        if self.in_flight.fetch_add(1, SeqCst) != 0 {
            self.overlapped.store(true, SeqCst);
        }
        let micros = self.flush_micros.load(SeqCst);
        if micros > 0 {
            std::thread::sleep(Duration::from_micros(micros));
        }
        assert!(!self.panic_flush.load(SeqCst), "injected panic");
        #[cfg(syncline_shuttle)]
        crate::engine::base::sync::thread::yield_now();
        let result = if self.fail_flush.fetch_sub(1, SeqCst) == 1 {
            Err(Error::io("sync", name, 0, io::Error::other("injected")))
        } else {
            flush()
        };
        if result.is_ok() {
            self.flushes.fetch_add(1, SeqCst);
            self.flushed.lock().unwrap().push((name.to_owned(), offset, len));
        }
        self.in_flight.fetch_sub(1, SeqCst);
        result
    }
}
