//! The data file as pages: reading, checking, writing, flushing, growing.
//!
//! Invariants:
//!
//! - DATAFILE-1 a failed flush is the last one: the system may have dropped the pages that it
//!   could not write, and report success for the next flush. Every later [`DataFile::sync`] returns
//!   [`Error::Poisoned`]. Only the next open finds out what is on the disk.
//! - DATAFILE-2 `blocks` never exceeds the length of the file, so that no write makes the file grow.
//! - DATAFILE-3 a length found at open counts as durable only as far as the superblock says. An earlier
//!   life may have made the file longer and failed to flush that: the file looks long, growing it to
//!   that length changes nothing, and no flush makes the length durable. So where the file is long
//!   already, growing writes the last page that it adds; a flush then makes the length durable too.
//! - DATAFILE-4 a new data file whose name could not be flushed is removed: no later flush would make
//!   the name durable.
//! - DATAFILE-5 after an end that was no close, the system's clean copies of the file are given up before
//!   anything is written: a flush of the former life may have failed, known to it or not, and then the
//!   system may take such a copy for written for ever. (Seen with ext4 of Linux 6.18: blocks that were
//!   allocated and never written read as zeros after a mount, although they had been written once more
//!   and flushed without an error.) Dirty copies stay: a kill loses nothing.

use std::sync::Arc;

use super::page::{PAGE_HEADER, PageAddr, PageId, header};
use super::{RESERVED_BLOCKS, map_page};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::StoreId;
use crate::engine::base::sync::Mutex;
use crate::engine::base::sync::atomic::{AtomicU64, Ordering};
use crate::engine::disk::DiskFile;
use crate::engine::mutants::mutant;

/// Bytes of neighbouring pages that a batch collects before it writes them.
const BATCH_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct DataFile {
    file: Arc<dyn DiskFile>,
    store: StoreId,
    page_size: usize,
    /// The length of the file when it was opened (DATAFILE-3).
    found_bytes: u64,
    /// Blocks of the file that this process may use (DATAFILE-2).
    blocks: AtomicU64,
    /// Bytes written since the file was opened.
    written: AtomicU64,
    /// The first flush that failed.
    failed: Mutex<Option<Arc<Error>>>,
}

impl DataFile {
    pub(crate) fn new(
        file: Arc<dyn DiskFile>,
        store: StoreId,
        page_size: usize,
        blocks: u64,
        found_bytes: u64,
    ) -> Self {
        DataFile {
            file,
            store,
            page_size,
            found_bytes,
            blocks: AtomicU64::new(blocks),
            written: AtomicU64::new(0),
            failed: Mutex::new(None),
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.file.path()
    }

    pub(crate) fn store(&self) -> StoreId {
        self.store
    }

    pub(crate) fn page_size(&self) -> usize {
        self.page_size
    }

    /// Words in a page of a map.
    pub(crate) fn fanout(&self) -> usize {
        map_page::fanout(self.page_size)
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Acquire)
    }

    pub(crate) fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Reads the page `id` at `addr` into `buf`, and checks that it is that page.
    pub(crate) fn read_page(&self, addr: PageAddr, id: PageId, buf: &mut [u8]) -> Result<()> {
        assert_eq!(buf.len(), self.page_size);
        assert!(!addr.is_none(), "page {id} has no address");
        let block = addr.block();
        if block < RESERVED_BLOCKS || block >= self.blocks() {
            let expected = format!("page {id} in a block from 2 to {}", self.blocks());
            return Err(self.corrupt(block, expected, format!("its address in block {block}")));
        }
        self.file.read_at(block * self.page_size as u64, buf)?;
        header::check(buf, self.store, id, addr)
            .map_err(|(expected, found)| self.corrupt(block, expected, found))
    }

    /// Reads from the reserved blocks.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, buf)
    }

    /// Writes sealed pages to neighbouring blocks.
    pub(crate) fn write_run(&self, block: u64, bytes: &[u8]) -> Result<()> {
        let count = (bytes.len() / self.page_size) as u64;
        assert!(count > 0 && bytes.len().is_multiple_of(self.page_size), "whole pages");
        assert!(block >= RESERVED_BLOCKS && block + count <= self.blocks(), "DATAFILE-2");
        self.write_at(block * self.page_size as u64, bytes)
    }

    /// Writes at any offset within the file.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)?;
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Whether `bytes` are at `offset`; also true if that cannot be read.
    pub(crate) fn holds(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut found = vec![0; bytes.len()];
        self.file.read_at(offset, &mut found).is_err() || found == bytes
    }

    /// Gives up the operating system's clean copies (DATAFILE-5).
    pub(crate) fn forget_cached(&self) {
        self.file.forget_cached();
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if this or an earlier flush failed (DATAFILE-1).
    pub(crate) fn sync(&self) -> Result<()> {
        self.check_poison()?;
        self.file
            .sync()
            .map_err(|error| mutant!(DataFailureForgotten: self.poison(error) => error))?;
        // The system reports an error once: a concurrent flush may have got the one meant for this.
        self.check_poison()
    }

    /// Fails if the file was removed or replaced.
    pub(crate) fn check_named(&self) -> Result<()> {
        self.file.check_named()
    }

    /// Fails if the file is poisoned.
    pub(crate) fn check_poison(&self) -> Result<()> {
        match &*self.failed.lock() {
            Some(source) => Err(Error::Poisoned { source: source.clone(), appended: None }),
            None => Ok(()),
        }
    }

    /// Poisons the file: what the disk holds is unknown from here on (DATAFILE-1).
    pub(crate) fn poison(&self, error: Error) -> Error {
        let source = self.failed.lock().get_or_insert_with(|| Arc::new(error)).clone();
        Error::Poisoned { source, appended: None }
    }

    /// Makes the file at least `blocks` blocks long. If it is that long already, the next flush makes
    /// that length durable (DATAFILE-3).
    pub(crate) fn grow(&self, blocks: u64) -> Result<()> {
        let bytes = blocks * self.page_size as u64;
        mutant!(GrowthFailureIgnored: self.file.allocate(bytes)? =>
            drop(self.file.allocate(bytes)));
        let is_found = bytes <= self.found_bytes && blocks > self.blocks();
        if mutant!(FoundLengthTrusted: is_found => false) {
            self.write_at(bytes - self.page_size as u64, &vec![0; self.page_size])?;
        }
        self.blocks.fetch_max(blocks, Ordering::AcqRel);
        Ok(())
    }

    pub(crate) fn corrupt(&self, block: u64, expected: String, found: String) -> Error {
        self.corrupt_at(block.saturating_mul(self.page_size as u64), expected, found)
    }

    pub(crate) fn corrupt_at(&self, offset: u64, expected: String, found: String) -> Error {
        Error::Corrupt { file: self.path().to_owned(), offset, expected, found }
    }
}

/// Collects pages, so that neighbours go to the disk in one write.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    file: &'a DataFile,
    block: u64,
    bytes: Vec<u8>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(file: &'a DataFile) -> Self {
        Batch { file, block: 0, bytes: Vec::new() }
    }

    /// Seals a page that goes to `block`, and returns its address.
    pub(crate) fn push(&mut self, block: u64, page: &mut [u8]) -> Result<PageAddr> {
        assert!(page.len() == self.file.page_size && page.len() > PAGE_HEADER);
        let addr = PageAddr::new(block, header::seal(page, self.file.store));
        let next = self.block + (self.bytes.len() / self.file.page_size) as u64;
        if block != next || self.bytes.len() >= BATCH_BYTES {
            self.flush()?;
            self.block = block;
        }
        self.bytes.extend_from_slice(page);
        Ok(addr)
    }

    /// Writes the collected pages.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if !self.bytes.is_empty() {
            self.file.write_run(self.block, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}
