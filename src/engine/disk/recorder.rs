//! A disk that records operations, for golden scripts.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirLock, Disk, DiskFile, Mapping};
use crate::engine::base::error::Result;

type Lines = Arc<Mutex<Vec<String>>>;

/// Passes every call on to another disk, and records a line per change, and per read of a file.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    inner: Arc<dyn Disk>,
    lines: Lines,
}

impl Recorder {
    pub(crate) fn new(inner: Arc<dyn Disk>) -> Self {
        Recorder { inner, lines: Lines::default() }
    }

    /// The lines since the last call. Equal ones in a row are counted.
    pub(crate) fn take(&self) -> String {
        let lines = std::mem::take(&mut *self.lines.lock());
        let runs = lines.chunk_by(|a, b| a == b);
        runs.map(|run| match run.len() {
            1 => format!("    {}\n", run[0]),
            count => format!("    {} ({count} times)\n", run[0]),
        })
        .collect()
    }

    fn note(&self, line: String) {
        self.lines.lock().push(line);
    }

    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(RecordedFile { inner, name: name.to_owned(), lines: Arc::clone(&self.lines) })
    }
}

impl Disk for Recorder {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        self.inner.lock()
    }

    fn list(&self) -> Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        self.note(format!("create {name}, {bytes} bytes"));
        Ok(self.file(name, self.inner.create(name, bytes)?))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.note(format!("rename {from} to {to}"));
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.note(format!("remove {name}"));
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> Result<()> {
        self.note("sync directory".into());
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
struct RecordedFile {
    inner: Arc<dyn DiskFile>,
    name: String,
    lines: Lines,
}

impl RecordedFile {
    fn note(&self, line: String) {
        self.lines.lock().push(line);
    }
}

impl DiskFile for RecordedFile {
    fn path(&self) -> &str {
        self.inner.path()
    }

    fn bytes(&self) -> Result<u64> {
        self.inner.bytes()
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        self.note(format!("grow {} to {bytes}", self.name));
        self.inner.allocate(bytes)
    }

    fn deallocate(&self, offset: u64, len: u64) -> Result<bool> {
        self.note(format!("give back {} at {offset}, {len} bytes", self.name));
        self.inner.deallocate(offset, len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.note(format!("read {} at {offset}, {} bytes", self.name, buf.len()));
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.note(format!("write {} at {offset}, {} bytes", self.name, bytes.len()));
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> Result<()> {
        self.note(format!("sync {}", self.name));
        self.inner.sync()
    }

    fn map(&self, bytes: u64) -> Result<Box<dyn Mapping>> {
        let (name, lines) = (self.name.clone(), Arc::clone(&self.lines));
        Ok(Box::new(RecordedMapping { inner: self.inner.map(bytes)?, name, lines }))
    }
}

#[derive(Debug)]
struct RecordedMapping {
    inner: Box<dyn Mapping>,
    name: String,
    lines: Lines,
}

impl Mapping for RecordedMapping {
    fn grown(&self, bytes: usize) {
        self.inner.grown(bytes);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            let line = format!("store {} at {offset}, {} bytes", self.name, bytes.len());
            self.lines.lock().push(line);
        }
        self.inner.write(offset, bytes);
    }

    fn sync(&self, offset: usize, len: usize) -> Result<()> {
        let line = format!("flush {} at {offset}, {len} bytes", self.name);
        self.lines.lock().push(line);
        self.inner.sync(offset, len)
    }

    fn prefault(&self, offset: usize, len: usize) -> Result<()> {
        self.inner.prefault(offset, len)
    }
}
