//! One file: its seen bytes, its durable bytes, and every version of the sectors between.
//!
//! ```text
//!   write, Mapping::write           sync                       crash
//!   ---------------------> seen ------------> durable ------------------------> the survivor
//!                            |                   ^                                   ^
//!                            v                   | in doubt: never                   |
//!                          dirty sectors: the versions since the last sync ----------'
//! ```
//!
//! Invariants:
//!
//! - SIMFILE-1 A sector that is not dirty has the same bytes in `seen` and in `durable`, unless it was
//!   never written and lies above `settled_bytes`: SIMFILE-3 says what `durable` has there.
//! - SIMFILE-2 `settled_bytes <= durable_bytes <= seen_bytes`. Files never shrink, except for a length
//!   that a failed sync left in doubt.
//! - SIMFILE-3 Below `settled_bytes`, space that was never written reads as zeros after a crash too.
//!   Above, a page that is not in `durable` may show any bytes that the device had there before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::crash::Chooser;
use super::pages::{PAGE_BYTES, Pages, SECTOR_BYTES, SECTORS_PER_PAGE, Sector, pieces, zero_page};

/// A sector that was written since it was last synced.
#[derive(Clone, Default)]
struct Dirty {
    /// The versions since then, oldest first, without the newest, which is in `seen`.
    older: Vec<Arc<Sector>>,
    /// Whether a sync of this sector failed: the cache takes it for clean, and no sync makes it durable
    /// until it is written again. The device may have it, or an older version.
    in_doubt: bool,
    /// Whether it is in doubt even if it is written again: until it leaves the cache.
    is_stuck: bool,
}

/// One file. Cloning it is cheap.
#[derive(Clone, Default)]
pub(super) struct Inode {
    seen: Pages,
    seen_bytes: u64,
    durable: Pages,
    durable_bytes: u64,
    /// Whether a sync of the length failed.
    length_in_doubt: bool,
    settled_bytes: u64,
    dirty: BTreeMap<u64, Dirty>,
    /// Pages without blocks.
    holes: BTreeSet<u64>,
    /// How many files and mappings are open; the bytes live as long as these.
    pub(super) handles: u32,
    /// How many of them are mappings, which may be longer than the file.
    pub(super) mappings: u32,
}

impl Inode {
    /// A file that is durable as a whole.
    pub(super) fn settled(pages: Pages, bytes: u64) -> Inode {
        Inode {
            seen: pages.clone(),
            seen_bytes: bytes,
            durable: pages,
            durable_bytes: bytes,
            settled_bytes: bytes,
            ..Inode::default()
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.seen_bytes
    }

    /// The bytes that it occupies on the disk.
    pub(super) fn used_bytes(&self) -> u64 {
        self.seen_bytes - self.holes.len() as u64 * PAGE_BYTES
    }

    /// Punches a hole of whole pages, which read as zeros from now on.
    pub(super) fn deallocate(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        assert!(
            offset.is_multiple_of(PAGE_BYTES)
                && len.is_multiple_of(PAGE_BYTES)
                && end <= self.seen_bytes
        );
        for sector in offset / SECTOR_BYTES..end / SECTOR_BYTES {
            self.write_sector(sector, 0..SECTOR_BYTES as usize, &[0; SECTOR_BYTES as usize]);
        }
        self.holes.extend(offset / PAGE_BYTES..end / PAGE_BYTES);
    }

    /// Whether `offset..offset + len` touches a hole.
    pub(super) fn lacks_blocks(&self, offset: u64, len: usize) -> bool {
        let pages = offset / PAGE_BYTES..(offset + len as u64).div_ceil(PAGE_BYTES);
        self.holes.range(pages).next().is_some()
    }

    pub(super) fn seen(&self) -> &Pages {
        &self.seen
    }

    /// Makes the file longer. The new bytes read as zeros.
    pub(super) fn grow(&mut self, bytes: u64) {
        assert!(bytes >= self.seen_bytes, "files never shrink");
        self.seen_bytes = bytes;
        self.length_in_doubt = false;
    }

    /// Writes within one sector.
    pub(super) fn write_sector(&mut self, sector: u64, within: Range<usize>, bytes: &[u8]) {
        let old = self.seen.sector(sector);
        let same = old[within.clone()] == *bytes;
        let is_nothing_new = same && !self.is_only_seen(sector);
        match self.dirty.get_mut(&sector) {
            Some(dirty) => {
                if !same {
                    dirty.older.push(Arc::new(*old));
                }
                dirty.in_doubt = dirty.is_stuck;
            }
            None if is_nothing_new => {}
            None => {
                self.dirty.insert(sector, Dirty::default());
            }
        }
        if !same {
            self.seen.write(sector * SECTOR_BYTES + within.start as u64, bytes);
        }
    }

    /// Makes all bytes and the length durable, except those in doubt.
    pub(super) fn sync(&mut self) {
        let end = self.sync_sectors(0..u64::MAX);
        if self.length_in_doubt {
            // Bytes written since must be within the length.
            self.durable_bytes = self.durable_bytes.max(end.min(self.seen_bytes));
        } else {
            self.durable_bytes = self.seen_bytes;
            self.settled_bytes = self.seen_bytes;
        }
    }

    /// Makes the pages that hold `offset..offset + len` durable, and the length so far.
    pub(super) fn sync_range(&mut self, offset: u64, len: u64) {
        let pages = offset / PAGE_BYTES..(offset + len).div_ceil(PAGE_BYTES);
        let synced_end =
            self.sync_sectors(pages.start * SECTORS_PER_PAGE..pages.end * SECTORS_PER_PAGE);
        // Zeros that were never written become durable zeros.
        for page in pages.start.max(self.settled_bytes / PAGE_BYTES)..pages.end {
            if self.durable.page(page).is_none() && self.seen.page(page).is_none() {
                self.durable.set_page(page, Some(zero_page()));
            }
        }
        let end = if self.length_in_doubt { synced_end } else { pages.end * PAGE_BYTES };
        self.durable_bytes = self.durable_bytes.max(end.min(self.seen_bytes));
    }

    /// A sync of the pages that hold `offset..offset + len` fails: the cache takes them for clean, and
    /// it is unknown what the device has.
    pub(super) fn fail_sync(&mut self, offset: u64, len: u64) {
        let first = offset / PAGE_BYTES * SECTORS_PER_PAGE;
        let end = (offset + len).div_ceil(PAGE_BYTES) * SECTORS_PER_PAGE;
        for (sector, dirty) in self.dirty.range_mut(first..end) {
            dirty.in_doubt = true;
            dirty.is_stuck |= self.durable.page(sector / SECTORS_PER_PAGE).is_none();
        }
        self.length_in_doubt = self.seen_bytes > self.durable_bytes;
    }

    /// Drops the clean pages from the cache: sectors and a length in doubt read as the device has them.
    pub(super) fn evict(&mut self) {
        for (sector, _) in self.dirty.extract_if(.., |_, dirty| dirty.in_doubt) {
            self.seen.write(sector * SECTOR_BYTES, self.durable.sector(sector));
        }
        if self.length_in_doubt && self.handles == 0 && self.dirty.is_empty() {
            // The file is not open, so its length is read from the device as well.
            self.seen_bytes = self.durable_bytes;
            self.length_in_doubt = false;
            for pages in [&mut self.seen, &mut self.durable] {
                pages.clear_from(self.durable_bytes);
            }
        }
    }

    /// Replaces the whole content, durably. Open files and mappings stay open.
    pub(super) fn replace(&mut self, other: Inode) {
        *self = Inode { handles: self.handles, mappings: self.mappings, ..other };
    }

    /// Flips a bit without trace, as rot does: seen and durable alike.
    pub(super) fn flip(&mut self, offset: u64, bit: u8) {
        assert!(offset < self.seen_bytes && bit < 8, "no bit {bit} at {offset}");
        for pages in [&mut self.seen, &mut self.durable] {
            let mut byte = [0];
            pages.read(offset, &mut byte);
            pages.write(offset, &[byte[0] ^ 1 << bit]);
        }
    }

    /// Overwrites bytes without trace: seen and durable alike.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        for pages in [&mut self.seen, &mut self.durable] {
            pages.write(offset, bytes);
        }
    }

    /// The choices of a crash, in the order in which [`Inode::survivor`] asks.
    pub(super) fn choices(&self) -> impl Iterator<Item = InodeChoice> {
        let length = self.seen_bytes > self.durable_bytes;
        let stale = self.may_show_stale();
        length
            .then_some(InodeChoice::Length)
            .into_iter()
            .chain(stale.then_some(InodeChoice::Stale))
            .chain(
                self.dirty
                    .iter()
                    .map(|(&sector, dirty)| InodeChoice::Sector(sector, dirty.older.len() + 1)),
            )
    }

    /// The file after a crash. Space that was never written may show `removed`, the bytes of a file whose
    /// blocks were used again.
    pub(super) fn survivor(&self, chooser: &mut Chooser<'_>, removed: &Pages) -> Inode {
        let mut bytes = self.durable_bytes;
        if self.seen_bytes > self.durable_bytes {
            bytes = chooser.length(self.durable_bytes, self.seen_bytes);
        }
        let mut pages = self.durable.clone();
        if self.may_show_stale()
            && let Some(mut filler) = chooser.filler()
        {
            for page in self.settled_bytes.div_ceil(PAGE_BYTES)..bytes.div_ceil(PAGE_BYTES) {
                if pages.page(page).is_none() {
                    pages.set_page(page, filler.page(page, removed));
                }
            }
        }
        for (&sector, dirty) in &self.dirty {
            if let Some(version) = chooser.version(dirty.older.len()) {
                let shown = dirty.older.get(version).map_or(self.seen.sector(sector), |old| old);
                pages.write(sector * SECTOR_BYTES, shown);
            }
        }
        pages.clear_from(bytes);
        Inode::settled(pages, bytes)
    }

    /// Whether a sector that is not dirty becomes durable only by a write, even of the seen bytes: it lies
    /// in added space whose sync failed.
    fn is_only_seen(&self, sector: u64) -> bool {
        let end = ((sector + 1) * SECTOR_BYTES).min(self.seen_bytes);
        let is_there = self.durable.page(sector / SECTORS_PER_PAGE).is_some();
        self.length_in_doubt && end > self.settled_bytes && (end > self.durable_bytes || !is_there)
    }

    fn may_show_stale(&self) -> bool {
        self.settled_bytes.div_ceil(PAGE_BYTES) < self.seen_bytes.div_ceil(PAGE_BYTES)
    }

    /// Makes the dirty sectors durable that are not in doubt. Returns the end of the last one.
    fn sync_sectors(&mut self, sectors: Range<u64>) -> u64 {
        let synced = self.dirty.extract_if(sectors, |_, dirty| !dirty.in_doubt);
        let mut runs: Vec<(u64, u8)> = Vec::new(); // page, which of its sectors
        for (sector, _) in synced {
            let (page, bit) = (sector / SECTORS_PER_PAGE, 1 << (sector % SECTORS_PER_PAGE));
            match runs.last_mut() {
                Some((last, bits)) if *last == page => *bits |= bit,
                _ => runs.push((page, bit)),
            }
        }
        let mut end = 0;
        for (page, bits) in runs {
            let first = page * SECTORS_PER_PAGE;
            if self.dirty.range(first..first + SECTORS_PER_PAGE).next().is_none() {
                // By SIMFILE-1. A written page of zeros is on the device too (SIMFILE-3).
                let bytes = self.seen.page(page).cloned().unwrap_or_else(zero_page);
                self.durable.set_page(page, Some(bytes));
            } else {
                for sector in (0..SECTORS_PER_PAGE).filter(|bit| bits >> bit & 1 == 1) {
                    let bytes = self.seen.sector(first + sector);
                    self.durable.write((first + sector) * SECTOR_BYTES, bytes);
                }
            }
            end = (first + u64::from(bits.ilog2()) + 1) * SECTOR_BYTES;
        }
        end
    }
}

/// A choice of a crash about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InodeChoice {
    Length,
    Stale,
    /// With the number of versions besides the durable one.
    Sector(u64, usize),
}

/// Cuts a write into the pieces that are one sector each.
pub(super) fn sector_pieces(offset: u64, len: usize) -> impl Iterator<Item = super::pages::Piece> {
    pieces(offset, len, SECTOR_BYTES)
}

#[cfg(test)]
mod tests {
    use super::super::tests::disk_with;
    use super::*;
    use crate::engine::disk::{Disk, Keep, SimDisk};

    const PAGE: usize = PAGE_BYTES as usize;

    #[test]
    fn rewriting_seen_bytes_makes_space_in_doubt_durable() {
        let (disk, file) = disk_with("a", PAGE_BYTES);
        file.allocate(3 * PAGE_BYTES).unwrap();
        disk.fail_sync(0);
        file.sync().unwrap_err();
        file.write_at(2 * PAGE_BYTES, &[0; PAGE]).unwrap();
        file.sync().unwrap();
        // The length, and the written zeros. Between them the device may have any bytes.
        assert_eq!(disk.fork(Keep::Nothing).read_file("a"), [0; 3 * PAGE]);
        let noise = disk.fork(Keep::bits(u128::MAX)).read_file("a");
        assert_eq!((&noise[..PAGE], &noise[2 * PAGE..]), (&[0; PAGE][..], &[0; PAGE][..]));
        assert_ne!(noise[PAGE..2 * PAGE], [0; PAGE]);
    }

    #[test]
    fn a_length_in_doubt_is_reread_once_the_file_is_closed() {
        let (disk, file) = disk_with("a", PAGE_BYTES);
        file.write_at(0, &[1; 2 * PAGE]).unwrap();
        disk.fail_sync(0);
        file.sync().unwrap_err();
        disk.evict();
        assert_eq!(file.bytes().unwrap(), 2 * PAGE_BYTES, "the file is open");
        drop(file);
        disk.evict();
        let file = disk.open("a").unwrap();
        assert_eq!(file.bytes().unwrap(), PAGE_BYTES);
        file.allocate(2 * PAGE_BYTES).unwrap();
        assert_eq!(disk.read_file("a"), [0; 2 * PAGE]);
    }

    #[test]
    fn a_hole_reads_as_zeros_and_leaves_space_for_others() {
        let (disk, file) = disk_with("a", 4 * PAGE_BYTES);
        let page = |disk: &SimDisk| disk.read_file("a")[PAGE];
        file.write_at(PAGE_BYTES, &[1; 2 * PAGE]).unwrap();
        file.sync().unwrap();
        disk.set_capacity(Some(disk.used_bytes()));
        assert!(disk.create("b", PAGE_BYTES).is_err());
        assert!(file.deallocate(PAGE_BYTES, PAGE_BYTES).unwrap());
        assert_eq!((page(&disk), file.bytes().unwrap()), (0, 4 * PAGE_BYTES));
        disk.create("b", PAGE_BYTES).unwrap();
        // A power loss keeps what was there, or does not.
        assert_eq!(page(&disk.fork(Keep::Nothing)), 1);
        file.sync().unwrap();
        assert_eq!(page(&disk.fork(Keep::Nothing)), 0);
        let written =
            std::panic::AssertUnwindSafe(|| file.map(2 * PAGE_BYTES).unwrap().write(5000, &[1]));
        assert!(std::panic::catch_unwind(written).is_err(), "a real mapping raises a bus error");
    }
}
