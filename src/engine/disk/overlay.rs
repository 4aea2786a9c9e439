//! A disk over another one: writes stay in memory, and are lost with the overlay.
//!
//! ```text
//!   read_at ---> blocks in memory ---> (not there) ---> the file below
//!   write_at --> blocks in memory
//! ```
//!
//! A store that was not closed is recovered on it without a change to its files, with replay, checkpoint
//! and all. Nothing below is created, written, renamed or removed; its files are only opened, read and
//! locked. A flush makes nothing durable, so no caller may be told that it did.
//!
//! Memory: whole blocks that were written. For a recovered store these are the pages that have changed
//! since its last checkpoint, and the first segment of a new log.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirLock, Disk, DiskFile, Mapping, NoLock};
use crate::engine::base::error::{Error, Result};

/// Bytes per block.
const BLOCK: u64 = 4096;

/// A disk whose changes stay in memory.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Arc<dyn Disk>,
    /// Names that were opened or changed. `None`: the name is removed.
    changed: Mutex<BTreeMap<String, Option<Arc<File>>>>,
}

impl Overlay {
    /// An overlay without changes.
    pub(crate) fn new(below: Arc<dyn Disk>) -> Overlay {
        Overlay { below, changed: Mutex::default() }
    }

    /// The file of that name, opened below if it is not in `changed` yet.
    fn find(&self, action: &str, name: &str) -> Result<Arc<File>> {
        let mut changed = self.changed.lock();
        match changed.get(name) {
            Some(Some(file)) => return Ok(Arc::clone(file)),
            Some(None) => return Err(self.error(action, name, io::ErrorKind::NotFound)),
            None => {}
        }
        let below = self.below.open(name)?;
        let bytes = below.bytes()?;
        let file = Arc::new(File::new(self.path(name), Some(below), bytes));
        changed.insert(name.to_owned(), Some(Arc::clone(&file)));
        Ok(file)
    }

    fn error(&self, action: &str, name: &str, kind: io::ErrorKind) -> Error {
        Error::io(action, &self.path(name), 0, kind.into())
    }
}

impl Disk for Overlay {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        self.below.lock()
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut names = self.below.list()?;
        for (name, file) in &*self.changed.lock() {
            names.retain(|other| other != name);
            if file.is_some() {
                names.push(name.clone());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn strangers(&self) -> Result<Vec<String>> {
        self.below.strangers()
    }

    fn is_claimed(&self) -> Result<bool> {
        self.below.is_claimed()
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        if self.list()?.iter().any(|other| other == name) {
            return Err(self.error("create", name, io::ErrorKind::AlreadyExists));
        }
        let file = Arc::new(File::new(self.path(name), None, bytes));
        self.changed.lock().insert(name.to_owned(), Some(Arc::clone(&file)));
        Ok(Arc::new(Handle(file)))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Handle(self.find("open", name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let file = self.find("rename", from)?;
        let mut changed = self.changed.lock();
        changed.insert(from.to_owned(), None);
        changed.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.find("remove", name)?;
        self.changed.lock().insert(name.to_owned(), None);
        Ok(())
    }

    fn sync_dir(&self) -> Result<()> {
        Ok(())
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        self.below.random(bytes)
    }

    fn path(&self, name: &str) -> String {
        self.below.path(name)
    }
}

/// A file, under any name.
#[derive(Debug)]
struct File {
    path: String,
    /// The file below, if any.
    below: Option<Arc<dyn DiskFile>>,
    changes: Mutex<Changes>,
}

/// The changes of a file.
#[derive(Debug)]
struct Changes {
    bytes: u64,
    /// Whole blocks, by number.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl File {
    fn new(path: String, below: Option<Arc<dyn DiskFile>>, bytes: u64) -> File {
        File { path, below, changes: Mutex::new(Changes { bytes, blocks: BTreeMap::new() }) }
    }

    /// The block as it is below; zeros beyond the end of that file.
    fn block_below(&self, block: u64) -> Result<Box<[u8]>> {
        let mut bytes = vec![0; BLOCK as usize].into_boxed_slice();
        if let Some(below) = &self.below {
            let has = below.bytes()?.saturating_sub(block * BLOCK).min(BLOCK);
            below.read_at(block * BLOCK, &mut bytes[..has as usize])?;
        }
        Ok(bytes)
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let changes = self.changes.lock();
        let end = offset.saturating_add(buf.len() as u64);
        if end > changes.bytes {
            return Err(Error::Corrupt {
                file: self.path.clone(),
                offset,
                expected: format!("{} bytes", buf.len()),
                found: format!("the end of the file at {}", changes.bytes),
            });
        }
        let is_untouched =
            changes.blocks.range(offset / BLOCK..end.div_ceil(BLOCK)).next().is_none();
        if let Some(below) = self.below.as_ref().filter(|_| is_untouched)
            && end <= below.bytes()?
        {
            drop(changes);
            return below.read_at(offset, buf);
        }
        each_part(offset, buf.len(), |block, within, part| {
            match changes.blocks.get(&block) {
                Some(bytes) => buf[part].copy_from_slice(&bytes[within]),
                None => buf[part].copy_from_slice(&self.block_below(block)?[within]),
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut changes = self.changes.lock();
        each_part(offset, bytes.len(), |block, within, part| {
            let changed = match changes.blocks.entry(block) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.block_below(block)?),
            };
            changed[within].copy_from_slice(&bytes[part]);
            Ok(())
        })?;
        changes.bytes = changes.bytes.max(offset + bytes.len() as u64);
        Ok(())
    }
}

/// Calls `each` with every block of a range, the part of the block, and the part of the range.
fn each_part(
    offset: u64,
    len: usize,
    mut each: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> Result<()>,
) -> Result<()> {
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let start = (at % BLOCK) as usize;
        let count = (BLOCK as usize - start).min(len - done);
        each(at / BLOCK, start..start + count, done..done + count)?;
        done += count;
    }
    Ok(())
}

/// An open file.
#[derive(Debug)]
struct Handle(Arc<File>);

impl DiskFile for Handle {
    fn path(&self) -> &str {
        &self.0.path
    }

    fn bytes(&self) -> Result<u64> {
        Ok(self.0.changes.lock().bytes)
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        let mut changes = self.0.changes.lock();
        changes.bytes = changes.bytes.max(bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.0.read(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.write(offset, bytes)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn DirLock>> {
        match &self.0.below {
            Some(below) => below.lock(),
            None => Ok(Box::new(NoLock)),
        }
    }

    fn map(&self, _bytes: u64) -> Result<Box<dyn Mapping>> {
        Ok(Box::new(Mapped(Arc::clone(&self.0))))
    }
}

/// A mapped file.
#[derive(Debug)]
struct Mapped(Arc<File>);

impl Mapping for Mapped {
    fn grown(&self, _bytes: usize) {}

    fn write(&self, offset: usize, bytes: &[u8]) {
        // The log maps only files that it has made (LOG-6): there is no file below to read.
        self.0.write(offset as u64, bytes).expect("mapped blocks are in memory");
    }

    fn sync(&self, _offset: usize, _len: usize) -> Result<()> {
        Ok(())
    }

    fn prefault(&self, offset: usize, len: usize) -> Result<()> {
        let mut changes = self.0.changes.lock();
        each_part(offset as u64, len, |block, _, _| {
            if let Entry::Vacant(entry) = changes.blocks.entry(block) {
                entry.insert(self.0.block_below(block)?);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;
    use crate::engine::disk::SimDisk;

    #[test]
    fn writes_on_an_overlay_leave_the_disk_below_unchanged() {
        let disk = SimDisk::new();
        disk.create("old", 10_000).unwrap().write_at(4000, &[1; 200]).unwrap();
        disk.create("other", 10).unwrap();
        let before = (disk.read_file("old"), disk.list().unwrap());
        let over = Overlay::new(Arc::new(disk.clone()));
        let old = over.open("old").unwrap();
        old.write_at(4090, &[2; 20]).unwrap();
        old.allocate(20_000).unwrap();
        over.rename("old", "new").unwrap();
        over.remove("other").unwrap();
        over.create("made", 5000).unwrap().map(9000).unwrap().write(4095, &[3; 2]);
        assert_eq!(over.list().unwrap(), ["made", "new"]);
        assert!(over.create("new", 1).is_err() && over.open("old").is_err());

        let read = |name: &str, offset, len| {
            let mut bytes = vec![9; len];
            over.open(name).unwrap().read_at(offset, &mut bytes).map(|()| bytes)
        };
        let all = read("new", 0, 20_000).unwrap();
        assert!(all[4000..4090] == [1; 90] && all[4090..4110] == [2; 20]);
        assert!(all[4110..4200] == [1; 90] && all[4200..] == [0; 15_800]);
        assert_eq!(read("made", 4094, 4).unwrap(), [0, 3, 3, 0]);
        assert!(matches!(read("made", 4999, 2), Err(Error::Corrupt { .. })));
        assert_eq!((disk.read_file("old"), disk.list().unwrap()), before);
    }
}
