//! A disk on which a test can run code between two reads.

use std::sync::Arc;

use crate::engine::base::error::Result;
use crate::engine::base::sync::Mutex;
use crate::engine::disk::{DirLock, Disk, DiskFile, Mapping, SimDisk};

/// The number of reads before the code runs, and the code.
pub(super) type Intruder = Arc<Mutex<Option<(u32, Box<dyn FnOnce() + Send>)>>>;

/// A disk that runs the intruder's code before the n-th read of a file from now.
pub(super) struct Intruded(pub(super) SimDisk, pub(super) Intruder);

#[derive(Debug)]
struct IntrudedFile(Arc<dyn DiskFile>, Intruded);

impl std::fmt::Debug for Intruded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Disk for Intruded {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        self.0.lock()
    }
    fn list(&self) -> Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        self.0.create(name, bytes)
    }
    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        let intruded = Intruded(self.0.clone(), self.1.clone());
        Ok(Arc::new(IntrudedFile(self.0.open(name)?, intruded)))
    }
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> Result<()> {
        self.0.sync_dir()
    }
    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        self.0.random(bytes)
    }
    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }
}

impl DiskFile for IntrudedFile {
    fn path(&self) -> &str {
        self.0.path()
    }
    fn bytes(&self) -> Result<u64> {
        self.0.bytes()
    }
    fn allocate(&self, bytes: u64) -> Result<()> {
        self.0.allocate(bytes)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let now = {
            let mut intruder = self.1.1.lock();
            match &mut *intruder {
                Some((0, _)) => intruder.take(),
                Some((reads, _)) => {
                    *reads -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some((_, intrude)) = now {
            intrude();
        }
        self.0.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync(&self) -> Result<()> {
        self.0.sync()
    }
    fn map(&self, bytes: u64) -> Result<Box<dyn Mapping>> {
        self.0.map(bytes)
    }
}
