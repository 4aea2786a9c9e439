//! A small disk in memory for this layer's tests: it crashes, fills up and fails on demand.
//!
//! Clones share the disk. Of the 512-byte sectors that were not flushed at a crash each is kept,
//! lost or torn by the seed: more than disks do, but it shows what rests on whole sectors. Names
//! are durable at once, since this layer changes them in one place only.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::disk::{DirLock, Disk, DiskFile, Mapping};
use crate::error::{Error, Result};
use crate::sync::Mutex;

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct MemDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Bytes>>>,
    operations: u64,
    limit: Option<u64>,
    writes_until_failure: Option<u64>,
    syncs_until_failure: Option<u64>,
    recorder: Option<(u64, Arc<Mutex<Vec<MemDisk>>>)>,
}

#[derive(Clone, Debug, Default)]
struct Bytes {
    cached: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
struct MemFile {
    path: String,
    disk: MemDisk,
    bytes: Arc<Mutex<Bytes>>,
}

/// The disks that crashes before each of the recorded operations would have left.
pub(super) struct Crashes(MemDisk, Arc<Mutex<Vec<MemDisk>>>);

impl Crashes {
    /// Ends the recording, with a crash after the last operation.
    pub(super) fn take(self) -> Vec<MemDisk> {
        self.0.operation();
        self.0.0.lock().recorder = None;
        std::mem::take(&mut *self.1.lock())
    }
}

impl MemDisk {
    pub(super) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The file grows to this many bytes and no further.
    pub(super) fn limit(&self, bytes: u64) {
        self.0.lock().limit = Some(bytes);
    }

    /// All flushes after the next `count` fail.
    pub(super) fn fail_sync_after(&self, count: u64) {
        self.0.lock().syncs_until_failure = Some(count);
    }

    /// All writes after the next `count` fail.
    pub(super) fn fail_write_after(&self, count: u64) {
        self.0.lock().writes_until_failure = Some(count);
    }

    pub(super) fn forget_failures(&self) {
        let mut state = self.0.lock();
        (state.syncs_until_failure, state.writes_until_failure) = (None, None);
    }

    /// What a crash now leaves.
    pub(super) fn crash(&self, seed: u64) -> MemDisk {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut state = State::default();
        for (name, bytes) in &self.0.lock().files {
            let bytes = crashed(&bytes.lock(), &mut random);
            state.files.insert(name.clone(), Arc::new(Mutex::new(bytes)));
        }
        MemDisk(Arc::new(Mutex::new(state)))
    }

    /// From now on keeps what a crash before each operation would leave.
    pub(super) fn record_crashes(&self, seed: u64) -> Crashes {
        let images = Arc::new(Mutex::new(Vec::new()));
        self.0.lock().recorder = Some((seed, images.clone()));
        Crashes(self.clone(), images)
    }

    /// Counts an operation that changes something, before it happens.
    fn operation(&self) {
        let recorder = {
            let mut state = self.0.lock();
            state.operations += 1;
            state.recorder.as_ref().map(|(seed, images)| (*seed, images.clone()))
        };
        if let Some((seed, images)) = recorder {
            let mut images = images.lock();
            for i in 0..3 {
                let seed = seed * 1000 + images.len() as u64 + i;
                images.push(self.crash(seed));
            }
        }
    }

    fn file(&self, name: &str) -> Result<Arc<Mutex<Bytes>>> {
        let file = self.0.lock().files.get(name).cloned();
        file.ok_or_else(|| failure("open", &self.path(name), io::ErrorKind::NotFound))
    }
}

impl Disk for MemDisk {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        unimplemented!("not used by this layer")
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.0.lock().files.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        self.operation();
        let cached = vec![0; bytes as usize];
        let file = Arc::new(Mutex::new(Bytes { cached, durable: Vec::new() }));
        assert!(self.0.lock().files.insert(name.into(), file).is_none(), "{name} exists");
        self.open(name)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        let (path, bytes) = (self.path(name), self.file(name)?);
        Ok(Arc::new(MemFile { path, disk: self.clone(), bytes }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.operation();
        let file = self.file(from)?;
        let mut state = self.0.lock();
        state.files.remove(from);
        state.files.insert(to.into(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.operation();
        self.0.lock().files.remove(name).expect("the file exists");
        Ok(())
    }

    fn sync_dir(&self) -> Result<()> {
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        format!("mem/{name}")
    }
}

impl DiskFile for MemFile {
    fn path(&self) -> &str {
        &self.path
    }

    fn bytes(&self) -> Result<u64> {
        Ok(self.bytes.lock().cached.len() as u64)
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        self.disk.operation();
        if self.disk.0.lock().limit.is_some_and(|limit| bytes > limit) {
            return Err(failure("allocate", &self.path, io::ErrorKind::StorageFull));
        }
        let mut file = self.bytes.lock();
        let len = file.cached.len().max(bytes as usize);
        file.cached.resize(len, 0);
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let file = self.bytes.lock();
        let from = offset as usize;
        match file.cached.get(from..from + buf.len()) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(failure("read", &self.path, io::ErrorKind::UnexpectedEof)),
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.disk.operation();
        if fails(&mut self.disk.0.lock().writes_until_failure) {
            return Err(failure("write", &self.path, io::ErrorKind::Other));
        }
        let mut file = self.bytes.lock();
        let end = offset as usize + bytes.len();
        let len = file.cached.len().max(end);
        file.cached.resize(len, 0);
        file.cached[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.disk.operation();
        if fails(&mut self.disk.0.lock().syncs_until_failure) {
            return Err(failure("sync", &self.path, io::ErrorKind::Other));
        }
        let mut file = self.bytes.lock();
        file.durable = file.cached.clone();
        Ok(())
    }

    fn map(&self) -> Result<Box<dyn Mapping>> {
        unimplemented!("not used by this layer")
    }
}

fn crashed(bytes: &Bytes, random: &mut u64) -> Bytes {
    let mut next = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random >> 33
    };
    let mut after = bytes.durable.clone();
    if next() % 2 == 0 {
        after.resize(bytes.cached.len().max(after.len()), 0);
    }
    // From all lost to all kept.
    let kept = next() % 5;
    for (sector, new) in after.chunks_mut(SECTOR).zip(bytes.cached.chunks(SECTOR)) {
        if next() % 4 < kept {
            let len = sector.len().min(new.len());
            // One in eight is torn within.
            let end = if next() % 8 == 0 { len.min(next() as usize % 192) } else { len };
            sector[..end].copy_from_slice(&new[..end]);
        }
    }
    Bytes { cached: after.clone(), durable: after }
}

fn fails(left: &mut Option<u64>) -> bool {
    match left {
        None => false,
        Some(0) => true,
        Some(left) => {
            *left -= 1;
            false
        }
    }
}

fn failure(action: &str, path: &str, kind: io::ErrorKind) -> Error {
    Error::io(action, path, 0, kind.into())
}
