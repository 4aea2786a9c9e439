//! The bytes of a file: sparse, and shared between copies until one of them is written.
//!
//! ```text
//!   Pages: Vec --> chunk (64 pages, 256 KiB) --> page (4 KiB)
//!          one     shared by copies              shared by copies
//! ```
//!
//! Copying the bytes of a file costs one counter per 256 KiB; the first write into a chunk of a copy
//! costs 64 counters and one page. An absent page reads as zeros, so preallocating costs nothing.

use std::ops::Range;
use std::sync::Arc;

/// The unit of the operating system's cache and of its flushes.
pub(super) const PAGE_BYTES: u64 = 4096;
/// The unit that the device writes whole or not at all.
pub(super) const SECTOR_BYTES: u64 = 512;
pub(super) const SECTORS_PER_PAGE: u64 = PAGE_BYTES / SECTOR_BYTES;

const CHUNK_PAGES: usize = 64;

pub(super) type Page = [u8; PAGE_BYTES as usize];
pub(super) type Sector = [u8; SECTOR_BYTES as usize];

static ZEROS: Page = [0; PAGE_BYTES as usize];

#[derive(Clone)]
struct Chunk([Option<Arc<Page>>; CHUNK_PAGES]);

/// The bytes of a file, without its length.
#[derive(Clone, Default)]
pub(super) struct Pages {
    chunks: Vec<Option<Arc<Chunk>>>,
}

impl Pages {
    /// The page. An absent one reads as zeros.
    pub(super) fn page(&self, index: u64) -> Option<&Arc<Page>> {
        let (chunk, slot) = place(index);
        self.chunks.get(chunk)?.as_ref()?.0[slot].as_ref()
    }

    /// Sets a page; `None` is zeros.
    pub(super) fn set_page(&mut self, index: u64, page: Option<Arc<Page>>) {
        if page.is_some() || self.page(index).is_some() {
            *self.slot(index) = page;
        }
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) {
        let mut done = 0;
        for piece in pieces(offset, buf.len(), PAGE_BYTES) {
            let page = self.page(piece.block).map_or(&ZEROS, |page| page);
            let len = piece.within.len();
            buf[done..done + len].copy_from_slice(&page[piece.within]);
            done += len;
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for piece in pieces(offset, bytes.len(), PAGE_BYTES) {
            let page = self.slot(piece.block).get_or_insert_with(|| Arc::new(ZEROS));
            Arc::make_mut(page)[piece.within].copy_from_slice(&bytes[piece.source]);
        }
    }

    pub(super) fn sector(&self, index: u64) -> &Sector {
        let page = self.page(index / SECTORS_PER_PAGE).map_or(&ZEROS, |page| page);
        let (sectors, _) = page.as_chunks();
        &sectors[(index % SECTORS_PER_PAGE) as usize]
    }

    /// Makes everything from `bytes` on read as zeros.
    pub(super) fn clear_from(&mut self, bytes: u64) {
        let first = bytes.div_ceil(PAGE_BYTES);
        let (chunk, slot) = place(first);
        self.chunks.truncate(chunk + 1);
        if let Some(Some(last)) = self.chunks.get_mut(chunk)
            && last.0[slot..].iter().any(Option::is_some)
        {
            Arc::make_mut(last).0[slot..].fill(None);
        }
        let within = (bytes % PAGE_BYTES) as usize;
        if within > 0
            && self.page(first - 1).is_some_and(|page| page[within..].iter().any(|&byte| byte != 0))
        {
            self.write(bytes, &ZEROS[within..]);
        }
    }

    fn slot(&mut self, index: u64) -> &mut Option<Arc<Page>> {
        let (chunk, slot) = place(index);
        if self.chunks.len() <= chunk {
            self.chunks.resize(chunk + 1, None);
        }
        let chunk = self.chunks[chunk]
            .get_or_insert_with(|| Arc::new(Chunk([const { None }; CHUNK_PAGES])));
        &mut Arc::make_mut(chunk).0[slot]
    }
}

/// A present page of zeros.
pub(super) fn zero_page() -> Arc<Page> {
    Arc::new(ZEROS)
}

/// The part of a range that lies in one block of the file.
pub(super) struct Piece {
    /// The number of the block.
    pub(super) block: u64,
    /// Where in the block.
    pub(super) within: Range<usize>,
    /// Where in the range.
    pub(super) source: Range<usize>,
}

/// Cuts `offset..offset + len` where blocks of `block_bytes` begin.
pub(super) fn pieces(offset: u64, len: usize, block_bytes: u64) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % block_bytes) as usize;
        let take = (len - done).min(block_bytes as usize - start);
        let source = done..done + take;
        done += take;
        Some(Piece { block: at / block_bytes, within: start..start + take, source })
    })
}

fn place(page: u64) -> (usize, usize) {
    ((page / CHUNK_PAGES as u64) as usize, (page % CHUNK_PAGES as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_part_ways_when_one_is_written() {
        let mut one = Pages::default();
        one.write(4000, &[1; 200]);
        let mut two = one.clone();
        two.write(4096, &[2; 10]);
        let read = |pages: &Pages| {
            let mut buf = [9; 300];
            pages.read(3950, &mut buf);
            buf
        };
        assert_eq!(read(&one)[..], [vec![0; 50], vec![1; 200], vec![0; 50]].concat());
        assert_eq!(
            read(&two)[..],
            [vec![0; 50], vec![1; 96], vec![2; 10], vec![1; 94], vec![0; 50]].concat()
        );
        assert_eq!(one.sector(7)[511], 1);
        assert_eq!(one.sector(1 << 30), &[0; 512]);
    }

    /// Makes crashing a large disk at many points affordable.
    #[test]
    fn copies_share_unwritten_pages() {
        let mut one = Pages::default();
        one.write(0, &[1; 1 << 20]);
        let mut two = one.clone();
        let shared = |one: &Pages, two: &Pages, page| {
            Arc::ptr_eq(one.page(page).unwrap(), two.page(page).unwrap())
        };
        assert!((0..256).all(|page| shared(&one, &two, page)));
        two.write(5000, &[2]);
        assert!((0..256).all(|page| shared(&one, &two, page) == (page != 1)));
        assert!(Arc::ptr_eq(one.chunks[1].as_ref().unwrap(), two.chunks[1].as_ref().unwrap()));
        let mut far = Pages::default();
        far.clear_from(1 << 30); // as a preallocated file
        assert!(far.chunks.is_empty());
    }

    #[test]
    fn clearing_leaves_the_bytes_before_it() {
        for end in [0, 1, 4095, 4096, 4097, 300_000, 600_000, 10_000_000] {
            let mut pages = Pages::default();
            pages.write(0, &[7; 700_000]);
            pages.clear_from(end);
            let mut buf = vec![9; 700_000];
            pages.read(0, &mut buf);
            let left = buf.iter().take_while(|&&byte| byte == 7).count();
            assert_eq!(left as u64, end.min(700_000));
            assert!(buf[left..].iter().all(|&byte| byte == 0), "cleared from {end}");
        }
    }
}
