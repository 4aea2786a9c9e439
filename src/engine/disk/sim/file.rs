//! The files and mappings of a simulated disk.

use std::fmt;

use super::SimDisk;
use super::fault::Op;
use super::inode::sector_pieces;
use super::names::FileId;
use super::pages::{PAGE_BYTES, SECTOR_BYTES, pieces};
use super::state::{MAX_BYTES, NextWrite, State};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::sync::MutexGuard;
use crate::engine::disk::{DiskFile, Mapping};

/// Keeps a file's bytes while it is open.
struct Handle {
    disk: SimDisk,
    id: FileId,
    path: String,
}

impl Handle {
    fn error(&self, action: String, needed_bytes: u64, error: std::io::Error) -> Error {
        Error::io(action, &self.path, needed_bytes, error)
    }

    /// The disk's state, for an operation on this file.
    fn enter(&self, op: Op, part: usize) -> MutexGuard<'_, State> {
        self.disk.enter(op, &self.path, part)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        let inode = state.inode(self.id);
        inode.handles -= 1;
        if inode.handles == 0 {
            state.collect();
        }
    }
}

/// A file of a simulated disk.
pub(super) struct SimFile(Handle);

impl SimFile {
    /// The existing file `id`. `state` is that of `disk`.
    pub(super) fn open(disk: &SimDisk, state: &mut State, id: FileId, path: String) -> SimFile {
        state.inode(id).handles += 1;
        SimFile(Handle { disk: disk.clone(), id, path })
    }

    fn error(&self, action: String, needed_bytes: u64, error: std::io::Error) -> Error {
        self.0.error(action, needed_bytes, error)
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl DiskFile for SimFile {
    fn path(&self) -> &str {
        &self.0.path
    }

    fn bytes(&self) -> Result<u64> {
        let mut state = self.0.enter(Op::Length, 0);
        state
            .step(Op::Length, self.0.id, 0, &[])
            .map_err(|error| self.error("read the length".to_owned(), 0, error))?;
        Ok(state.inode(self.0.id).bytes())
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        let mut state = self.0.enter(Op::Allocate, 0);
        let more = bytes.saturating_sub(state.inode(self.0.id).bytes());
        state
            .step(Op::Allocate, self.0.id, bytes, &[])
            .and_then(|()| state.grow(self.0.id, bytes))
            .map_err(|error| self.error(format!("allocate {more} bytes"), more, error))
    }

    fn deallocate(&self, offset: u64, len: u64) -> Result<bool> {
        let mut state = self.0.enter(Op::Deallocate, 0);
        state.step(Op::Deallocate, self.0.id, offset, &len.to_le_bytes()).map_err(|error| {
            self.error(format!("give back {len} bytes at offset {offset}"), 0, error)
        })?;
        state.inode(self.0.id).deallocate(offset, len);
        Ok(true)
    }

    fn forget_cached(&self) {
        self.0.disk.state().inode(self.0.id).evict();
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut state = self.0.enter(Op::Read, 0);
        state.step(Op::Read, self.0.id, offset, &[]).map_err(|error| {
            self.error(format!("read {} bytes at offset {offset}", buf.len()), 0, error)
        })?;
        if let Some(reads) = &mut state.reads {
            let end = offset + buf.len() as u64;
            let pages = offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
            reads.extend(pages.map(|page| (self.0.id, page)));
        }
        let inode = state.inode(self.0.id);
        let there = inode.bytes().saturating_sub(offset);
        if there < buf.len() as u64 {
            return Err(Error::Corrupt {
                file: self.0.path.clone(),
                offset,
                expected: format!("{} bytes", buf.len()),
                found: format!("the end of the file after {there}"),
            });
        }
        inode.seen().read(offset, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let id = self.0.id;
        let len = bytes.len() as u64;
        let failed =
            |error| self.error(format!("write {len} bytes at offset {offset}"), len, error);
        let mut state = self.0.enter(Op::Write, 0);
        let fault = state.begin(Op::Write, id, offset, bytes).map_err(failed)?;
        let (mut offset, mut sectors) = (offset, u64::MAX);
        match std::mem::take(&mut state.next_write) {
            NextWrite::Arrives => {}
            NextWrite::Lost => return Ok(()),
            NextWrite::Misdirected(by) => offset = offset.saturating_add_signed(by),
            NextWrite::Torn(arrive) => sectors = arrive,
            NextWrite::Remembered => state.remember(id, offset, bytes.len()),
        }
        if offset.saturating_add(len) > MAX_BYTES {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        if len == 0 {
            return fault.map_err(failed);
        }
        // A write that fails may have written a part.
        let done = if fault.is_ok() { bytes.len() } else { bytes.len() / 2 };
        for (index, page) in pieces(offset, done, PAGE_BYTES).enumerate() {
            // The first page was counted as the operation. Any other may be the last one that a killed
            // process writes, and the length grows with the pages.
            if index > 0 {
                drop(state);
                state = self.0.enter(Op::Write, index);
                state.tick(Op::Write, id, offset, &[]).map_err(failed)?;
            }
            let start = offset + page.source.start as u64;
            let bytes = &bytes[page.source];
            state.grow(id, start + bytes.len() as u64).map_err(failed)?;
            for piece in sector_pieces(start, bytes.len()) {
                let nth = piece.block - offset / SECTOR_BYTES;
                if sectors >> (nth % 64) & 1 == 1 {
                    state.inode(id).write_sector(piece.block, piece.within, &bytes[piece.source]);
                }
            }
        }
        fault.map_err(failed)
    }

    fn sync(&self) -> Result<()> {
        let failed = |error| self.error("sync".to_owned(), 0, error);
        let mut state = self.0.enter(Op::Sync, 0);
        match state.begin(Op::Sync, self.0.id, 0, &[]).map_err(failed)? {
            Ok(()) => state.inode(self.0.id).sync(),
            Err(error) => {
                let inode = state.inode(self.0.id);
                inode.fail_sync(0, inode.bytes());
                return Err(failed(error));
            }
        }
        Ok(())
    }

    fn map(&self, bytes: u64) -> Result<Box<dyn Mapping>> {
        let mut state = self.0.enter(Op::Map, 0);
        state
            .step(Op::Map, self.0.id, 0, &[])
            .map_err(|error| self.error(format!("map {bytes} bytes"), 0, error))?;
        let inode = state.inode(self.0.id);
        inode.handles += 1;
        inode.mappings += 1;
        let handle = Handle { disk: self.0.disk.clone(), id: self.0.id, path: self.0.path.clone() };
        Ok(Box::new(SimMapping { handle, bytes: bytes as usize }))
    }
}

/// A file of a simulated disk, mapped into memory.
struct SimMapping {
    handle: Handle,
    /// The length of the mapping. The file may be shorter.
    bytes: usize,
}

impl SimMapping {
    /// Panics where a real mapping raises a bus error: in a hole.
    fn check_blocks(&self, offset: usize, len: usize) {
        self.check(offset, len);
        let mut state = self.handle.disk.state();
        let lacks = state.inode(self.handle.id).lacks_blocks(offset as u64, len);
        assert!(!lacks, "{}: the blocks of {len} bytes at {offset} are gone", self.handle.path);
    }

    /// Panics outside the mapping or the file.
    fn check(&self, offset: usize, len: usize) {
        let file = self.handle.disk.state().inode(self.handle.id).bytes();
        let exists = self.bytes.min(file as usize);
        assert!(
            offset <= exists && len <= exists - offset,
            "{}: {len} bytes at {offset} lie outside the {exists} that exist of a mapping of {}",
            self.handle.path,
            self.bytes
        );
    }
}

impl fmt::Debug for SimMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimMapping").field("path", &self.handle.path).finish_non_exhaustive()
    }
}

impl Drop for SimMapping {
    fn drop(&mut self) {
        self.handle.disk.state().inode(self.handle.id).mappings -= 1;
    }
}

impl Mapping for SimMapping {
    /// Nothing to do: `check` looks at the file's length.
    fn grown(&self, _bytes: usize) {}

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.check_blocks(offset, bytes.len());
        let id = self.handle.id;
        for (index, piece) in sector_pieces(offset as u64, bytes.len()).enumerate() {
            let at = (offset + piece.source.start) as u64;
            let bytes = &bytes[piece.source];
            let mut state = self.handle.enter(Op::MapWrite, index);
            if state.tick(Op::MapWrite, id, at, bytes).is_err() {
                return; // the next sync reports it
            }
            state.inode(id).write_sector(piece.block, piece.within, bytes);
        }
    }

    fn sync(&self, offset: usize, len: usize) -> Result<()> {
        self.check(offset, len);
        let failed =
            |error| self.handle.error(format!("sync {len} mapped bytes at {offset}"), 0, error);
        let (id, offset, len) = (self.handle.id, offset as u64, len as u64);
        let mut state = self.handle.enter(Op::MapSync, 0);
        match state.begin(Op::MapSync, id, offset, &len.to_le_bytes()).map_err(failed)? {
            _ if len == 0 => {}
            Ok(()) => state.inode(id).sync_range(offset, len),
            Err(error) => {
                state.inode(id).fail_sync(offset, len);
                return Err(failed(error));
            }
        }
        Ok(())
    }

    fn prefault(&self, offset: usize, len: usize) -> Result<()> {
        self.check(offset, len);
        let step = self.handle.enter(Op::Prefault, 0).step(
            Op::Prefault,
            self.handle.id,
            offset as u64,
            &len.to_le_bytes(),
        );
        step.map_err(|error| {
            let action = format!("prepare {len} mapped bytes at {offset}");
            self.handle.error(action, len as u64, error)
        })
    }
}
