//! A disk that counts operations and injects faults.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::engine::base::error::{Error, Result};
use crate::engine::disk::{DirLock, Disk, DiskFile, Mapping, SimDisk};

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
    let spy = Spy { inner: Arc::new(SimDisk::new()), knobs: Arc::clone(&knobs) };
    (Arc::new(spy), knobs)
}

#[derive(Debug)]
struct Spy {
    inner: Arc<dyn Disk>,
    knobs: Arc<Knobs>,
}

impl Disk for Spy {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        self.inner.lock()
    }

    fn list(&self) -> Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        if self.knobs.full.load(SeqCst) {
            return Err(Error::DiskFull { file: name.to_owned(), needed: bytes });
        }
        Ok(SpyFile::wrap(self.inner.create(name, bytes)?, name, &self.knobs))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(SpyFile::wrap(self.inner.open(name)?, name, &self.knobs))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> Result<()> {
        self.inner.sync_dir()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        self.inner.random(bytes)
    }

    fn path(&self, name: &str) -> String {
        self.inner.path(name)
    }
}

#[derive(Debug)]
struct SpyFile {
    inner: Arc<dyn DiskFile>,
    name: String,
    knobs: Arc<Knobs>,
}

impl SpyFile {
    fn wrap(inner: Arc<dyn DiskFile>, name: &str, knobs: &Arc<Knobs>) -> Arc<dyn DiskFile> {
        Arc::new(SpyFile { inner, name: name.to_owned(), knobs: Arc::clone(knobs) })
    }
}

impl DiskFile for SpyFile {
    fn path(&self) -> &str {
        self.inner.path()
    }

    fn bytes(&self) -> Result<u64> {
        self.inner.bytes()
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        if self.knobs.full.load(SeqCst) {
            return Err(Error::DiskFull { file: self.name.clone(), needed: bytes });
        }
        self.inner.allocate(bytes)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.knobs.reads.fetch_add(1, SeqCst);
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn map(&self, bytes: u64) -> Result<Box<dyn Mapping>> {
        let (name, knobs) = (self.name.clone(), Arc::clone(&self.knobs));
        Ok(Box::new(SpyMapping { inner: self.inner.map(bytes)?, name, knobs }))
    }
}

#[derive(Debug)]
struct SpyMapping {
    inner: Box<dyn Mapping>,
    name: String,
    knobs: Arc<Knobs>,
}

impl Mapping for SpyMapping {
    fn grown(&self, bytes: usize) {
        self.inner.grown(bytes);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.inner.write(offset, bytes);
    }

    fn sync(&self, offset: usize, len: usize) -> Result<()> {
        let knobs = &self.knobs;
        if knobs.in_flight.fetch_add(1, SeqCst) != 0 {
            knobs.overlapped.store(true, SeqCst);
        }
        let micros = knobs.flush_micros.load(SeqCst);
        if micros > 0 {
            std::thread::sleep(Duration::from_micros(micros));
        }
        assert!(!knobs.panic_flush.load(SeqCst), "injected panic");
        #[cfg(syncline_shuttle)]
        crate::engine::base::sync::thread::yield_now();
        let result = if knobs.fail_flush.fetch_sub(1, SeqCst) == 1 {
            Err(Error::io("sync", &self.name, 0, io::Error::other("injected")))
        } else {
            self.inner.sync(offset, len)
        };
        if result.is_ok() {
            knobs.flushes.fetch_add(1, SeqCst);
            knobs.flushed.lock().unwrap().push((self.name.clone(), offset, len));
        }
        knobs.in_flight.fetch_sub(1, SeqCst);
        result
    }

    fn prefault(&self, offset: usize, len: usize) -> Result<()> {
        if self.knobs.fail_prefault.load(SeqCst) {
            return Err(Error::DiskFull { file: self.name.clone(), needed: len as u64 });
        }
        self.knobs.prefaulted.lock().unwrap().push((self.name.clone(), offset, len));
        self.inner.prefault(offset, len)
    }
}
