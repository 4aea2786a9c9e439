//! A disk that shows a watcher every call, for tests: the watcher notes the call, delays it or fails it.

use std::fmt::Debug;
use std::sync::Arc;

use super::{DirLock, Disk, DiskFile, Mapping};
use crate::engine::base::error::Result;

/// A call on a disk, a file or a mapping that a watcher sees. Offsets and lengths are in bytes.
#[derive(Debug)]
pub(crate) enum Act<'a> {
    Create { bytes: u64 },
    Rename { to: &'a str },
    Remove,
    SyncDir,
    Grow { bytes: u64 },
    GiveBack { offset: u64, len: u64 },
    Read { offset: u64, len: usize },
    Write { offset: u64, len: usize },
    Sync,
    MappedWrite { offset: usize, len: usize },
    MappedSync { offset: usize, len: usize },
    Prefault { offset: usize, len: usize },
}

/// Sees each call before the disk does.
pub(crate) trait Watcher: Debug + Send + Sync {
    /// Sees `act` on the file `name`. `pass_on` does it.
    fn see(&self, name: &str, act: &Act<'_>, pass_on: &mut dyn FnMut() -> Result<()>)
    -> Result<()>;
}

/// `disk`, with `watcher` in front of it.
pub(crate) fn watched(disk: Arc<dyn Disk>, watcher: Arc<dyn Watcher>) -> Arc<dyn Disk> {
    Arc::new(Watched { inner: disk, name: String::new(), watcher })
}

/// A disk, file or mapping.
#[derive(Debug)]
struct Watched<T> {
    inner: T,
    name: String,
    watcher: Arc<dyn Watcher>,
}

impl<T> Watched<T> {
    /// Shows `act` to the watcher, and returns the result of `call` if the watcher passes it on.
    fn show<R>(
        &self,
        name: &str,
        act: &Act<'_>,
        mut call: impl FnMut(&T) -> Result<R>,
    ) -> Result<Option<R>> {
        let mut result = None;
        self.watcher.see(name, act, &mut || {
            result = Some(call(&self.inner)?);
            Ok(())
        })?;
        Ok(result)
    }

    fn wrap<U>(&self, name: &str, inner: U) -> Watched<U> {
        Watched { inner, name: name.to_owned(), watcher: Arc::clone(&self.watcher) }
    }
}

impl Disk for Watched<Arc<dyn Disk>> {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        self.inner.lock()
    }

    fn list(&self) -> Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        let made = self.show(name, &Act::Create { bytes }, |disk| disk.create(name, bytes))?;
        Ok(Arc::new(self.wrap(name, made.expect("a creation is failed or passed on"))))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.wrap(name, self.inner.open(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.show(from, &Act::Rename { to }, |disk| disk.rename(from, to)).map(drop)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.show(name, &Act::Remove, |disk| disk.remove(name)).map(drop)
    }

    fn sync_dir(&self) -> Result<()> {
        self.show("", &Act::SyncDir, |disk| disk.sync_dir()).map(drop)
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        self.inner.random(bytes)
    }

    fn path(&self, name: &str) -> String {
        self.inner.path(name)
    }
}

impl DiskFile for Watched<Arc<dyn DiskFile>> {
    fn path(&self) -> &str {
        self.inner.path()
    }

    fn bytes(&self) -> Result<u64> {
        self.inner.bytes()
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        self.show(&self.name, &Act::Grow { bytes }, |file| file.allocate(bytes)).map(drop)
    }

    fn deallocate(&self, offset: u64, len: u64) -> Result<bool> {
        let act = Act::GiveBack { offset, len };
        Ok(self.show(&self.name, &act, |file| file.deallocate(offset, len))?.unwrap_or(false))
    }

    fn forget_cached(&self) {
        self.inner.forget_cached();
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let act = Act::Read { offset, len: buf.len() };
        self.show(&self.name, &act, |file| file.read_at(offset, buf)).map(drop)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let act = Act::Write { offset, len: bytes.len() };
        self.show(&self.name, &act, |file| file.write_at(offset, bytes)).map(drop)
    }

    fn sync(&self) -> Result<()> {
        self.show(&self.name, &Act::Sync, |file| file.sync()).map(drop)
    }

    fn map(&self, bytes: u64) -> Result<Box<dyn Mapping>> {
        Ok(Box::new(self.wrap(&self.name, self.inner.map(bytes)?)))
    }
}

impl Mapping for Watched<Box<dyn Mapping>> {
    fn grown(&self, bytes: usize) {
        self.inner.grown(bytes);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        let act = Act::MappedWrite { offset, len: bytes.len() };
        self.show(&self.name, &act, |mapping| {
            mapping.write(offset, bytes);
            Ok(())
        })
        .expect("a write to memory does not fail");
    }

    fn sync(&self, offset: usize, len: usize) -> Result<()> {
        let act = Act::MappedSync { offset, len };
        self.show(&self.name, &act, |mapping| mapping.sync(offset, len)).map(drop)
    }

    fn prefault(&self, offset: usize, len: usize) -> Result<()> {
        let act = Act::Prefault { offset, len };
        self.show(&self.name, &act, |mapping| mapping.prefault(offset, len)).map(drop)
    }
}
