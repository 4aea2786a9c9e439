//! A file of the operating system, read and written by position.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::RealLock;
use super::mapping::RealMapping;
use super::platform::{self, Access, Reserved};
use crate::engine::base::error::{Error, Result};
use crate::engine::disk::{DirLock, DiskFile, Mapping};

/// The longest file of any file system: offsets are signed.
const MAX_BYTES: u64 = i64::MAX as u64;

/// How many zeros are written at once where blocks cannot be reserved.
const ZEROS_BYTES: usize = 256 << 10;

/// A file of the operating system. Its file position is never used, so it may be shared.
#[derive(Debug)]
pub(super) struct RealFile {
    /// Shared with its mappings.
    file: Arc<File>,
    path: String,
    access: Access,
    /// Whether the file system reports that a file has a name; some do not.
    tells_names: bool,
}

impl RealFile {
    pub(super) fn new(file: File, path: String, access: Access) -> io::Result<RealFile> {
        let tells_names = platform::has_name(&file)?;
        Ok(RealFile { file: Arc::new(file), path, access, tells_names })
    }

    /// To be called for a new file.
    pub(super) fn write_in_place(&self) {
        platform::write_in_place(&self.file);
    }

    fn error(&self, action: impl Into<String>, needed_bytes: u64, error: io::Error) -> Error {
        Error::io(action, &self.path, needed_bytes, error)
    }

    /// Makes the blocks of `from..to` exist by writing zeros, and drops them from the cache.
    fn write_zeros(&self, from: u64, to: u64) -> Result<()> {
        let zeros = vec![0; ZEROS_BYTES.min((to - from) as usize)];
        let mut offset = from;
        while offset < to {
            let len = (to - offset).min(ZEROS_BYTES as u64);
            self.write_at(offset, &zeros[..len as usize])?;
            offset += len;
        }
        self.sync()?; // dirty pages cannot be dropped
        platform::drop_zeros(&self.file, from, to - from);
        Ok(())
    }
}

impl DiskFile for RealFile {
    fn path(&self) -> &str {
        &self.path
    }

    fn bytes(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(|error| self.error("read the length", 0, error))?.len())
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        let len = self.bytes()?;
        if bytes <= len {
            return Ok(());
        }
        let grow = bytes - len;
        if bytes > MAX_BYTES.min(platform::file_limit()) {
            let error = io::ErrorKind::FileTooLarge.into();
            return Err(self.error(format!("allocate {grow} bytes"), grow, error));
        }
        match platform::reserve(&self.file, len, grow) {
            Ok(Reserved::Yes) => {}
            Ok(Reserved::Unsupported) => self.write_zeros(len, bytes)?,
            Err(error) => return Err(self.error(format!("allocate {grow} bytes"), grow, error)),
        }
        Ok(())
    }

    fn deallocate(&self, offset: u64, len: u64) -> Result<bool> {
        let action = || format!("give back {len} bytes at offset {offset}");
        platform::deallocate(&self.file, offset, len)
            .map_err(|error| self.error(action(), 0, error))
    }

    fn forget_cached(&self) {
        platform::drop_clean(&self.file);
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match platform::read_at(&self.file, &mut buf[done..], offset + done as u64) {
                Ok(0) => {
                    return Err(Error::Corrupt {
                        file: self.path.clone(),
                        offset,
                        expected: format!("{} bytes", buf.len()),
                        found: format!("the end of the file after {done}"),
                    });
                }
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let action = format!("read {} bytes at offset {offset}", buf.len());
                    return Err(self.error(action, 0, error));
                }
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let needed = bytes.len() as u64;
        if offset.saturating_add(needed) > platform::file_limit() {
            let action = format!("write {needed} bytes at offset {offset}");
            return Err(self.error(action, needed, io::ErrorKind::FileTooLarge.into()));
        }
        let mut done = 0;
        while done < bytes.len() {
            let result = platform::write_at(&self.file, &bytes[done..], offset + done as u64);
            let error = match result {
                // Never seen on a file, but it must not become an endless loop.
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    done += n;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let action = format!("write {} bytes at offset {offset}", bytes.len());
            return Err(self.error(action, bytes.len() as u64, error));
        }
        Ok(())
    }

    /// `fdatasync` and its like also make the length and the block map durable, which reading needs.
    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| self.error("sync", 0, error))?;
        self.check_named()
    }

    fn check_named(&self) -> Result<()> {
        if self.tells_names { check_named(&self.file, &self.path) } else { Ok(()) }
    }

    fn lock(&self) -> Result<Box<dyn DirLock>> {
        match platform::try_lock(&self.file, self.access) {
            Ok(true) => Ok(Box::new(RealLock::new(Arc::clone(&self.file)))),
            Ok(false) => Err(Error::Locked { directory: self.path.clone() }),
            Err(error) => Err(self.error("lock", 0, error)),
        }
    }

    fn map(&self, bytes: u64) -> Result<Box<dyn Mapping>> {
        let exists = self.bytes()?.min(bytes);
        let failed = |error| self.error(format!("map {bytes} bytes"), exists, error);
        // Holes, as in a copied store, get their blocks now (DISK-1). Where that is not supported,
        // `allocate` has written them.
        platform::reserve(&self.file, 0, exists).map_err(failed)?;
        let mapping = RealMapping::new(&self.file, &self.path, self.tells_names, bytes, exists)
            .map_err(failed)?;
        Ok(Box::new(mapping))
    }
}

/// Fails if the file was removed or replaced (DISK-5).
pub(super) fn check_named(file: &File, path: &str) -> Result<()> {
    let expected = "it was removed or replaced while the store was open";
    match platform::has_name(file) {
        Ok(false) => Err(Error::Missing { file: path.to_owned(), expected: expected.to_owned() }),
        // If it is unknown, the flush counts.
        Ok(true) | Err(_) => Ok(()),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::engine::disk::{Disk, RealDisk};

    const OLD: usize = 1 << 20;

    /// How many of the file's first pages can be read without waiting for the device.
    fn cached_pages(file: &RealFile) -> usize {
        use rustix::io::{ReadWriteFlags, preadv2};
        let is_cached = |page: &usize| {
            let mut byte = [0];
            let buf = &mut [io::IoSliceMut::new(&mut byte)];
            preadv2(&*file.file, buf, *page as u64 * 4096, ReadWriteFlags::NOWAIT).is_ok()
        };
        (0..OLD / 4096).filter(is_cached).count()
    }

    /// How many pages of a file the system's cache holds, before and after `grow`.
    fn cached_around(grow: impl Fn(&RealFile)) -> (usize, usize) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("data");
        RealDisk::open(temp.path()).unwrap().create("data", OLD as u64).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let file = RealFile::new(file, path.display().to_string(), Access::Write).unwrap();
        file.write_at(0, &[7; OLD]).unwrap();
        file.sync().unwrap();
        let before = cached_pages(&file);
        grow(&file);
        (before, cached_pages(&file))
    }

    /// The data file may be larger than the store's own cache.
    #[test]
    fn growing_a_file_leaves_its_pages_in_the_cache() {
        let (before, after) = cached_around(|file| file.allocate(2 * OLD as u64).unwrap());
        assert_eq!(after, before, "of {before} pages");
        // Where blocks are made by writing zeros.
        let (before, after) =
            cached_around(|file| file.write_zeros(OLD as u64, 2 * OLD as u64).unwrap());
        assert_eq!(after, before, "of {before} pages");
    }
}
