//! The parts that all pages have in common: id, address in the data file, and header.
//!
//! Byte layout of a page's header, little-endian; the rest depends on the page's kind:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC-32 over the store id (16 bytes) and bytes 4 to the end of the page |
//! | 4 | 1 | kind |
//! | 5 | 1 | level: 0 in leaves, and 1 more in each parent |
//! | 6 | 2 | count of slots or words |
//! | 8 | 8 | LSN of the commit group that made this version |
//! | 16 | 8 | page id (of a page map or free map page: its position in the map) |
//! | 24 | 8 | depends on the kind |
//!
//! A page is valid iff its checksum is right, its page id is the expected one, and the checksum's 26 low
//! bits are those in the [`PageAddr`] that led to it. So a torn, lost, repeated or misdirected write is
//! detected.
//!
//! In memory the cache uses the checksum's four bytes; a page gets its checksum when it is written.

use std::fmt;

use crate::engine::base::codec::{crc32, get_u32, get_u64, put_u32};
use crate::engine::base::lsn::{Lsn, StoreId};
use crate::engine::mutants::mutant;

/// Bytes of the header of every page.
pub(crate) const PAGE_HEADER: usize = 32;

/// Kind of a tree's leaf.
pub(crate) const LEAF: u8 = 1;
/// Kind of a tree's inner node.
pub(crate) const INNER: u8 = 2;
/// Kind of a page with a part of an out-of-line value.
pub(crate) const BLOB: u8 = 3;
/// Kind of a page that lists the pages of an out-of-line value.
pub(crate) const BLOB_INDEX: u8 = 4;
/// Kind of a page of the page map.
pub(crate) const PAGE_MAP: u8 = 5;
/// Kind of a page of the free-space map.
pub(crate) const FREE_MAP: u8 = 6;

/// The id of a page, which stays the same when the page moves. 0 is the id of no page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageId(pub(crate) u64);

impl PageId {
    /// The id of no page.
    pub(crate) const NONE: PageId = PageId(0);
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a version of a page lies in the data file, and part of its checksum, in one word:
///
/// - bits 0 to 35: the block, in pages from the start of the data file. Block 0 holds a superblock, so
///   0 means that there is no address;
/// - bits 36 to 61: the low 26 bits of the page's checksum;
/// - bits 62 and 63: zero. The page table uses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageAddr(u64);

impl PageAddr {
    /// Not in the data file.
    pub(crate) const NONE: PageAddr = PageAddr(0);
    /// Every block is below this: with pages of 8 KiB, half a pebibyte.
    pub(crate) const BLOCKS: u64 = 1 << 36;
    const CHECK_MASK: u32 = (1 << 26) - 1;

    /// The address of a page in `block` with checksum `crc`.
    pub(crate) fn new(block: u64, crc: u32) -> Self {
        assert!(block != 0 && block < Self::BLOCKS, "block {block} cannot hold a page");
        PageAddr(block | u64::from(crc & Self::CHECK_MASK) << 36)
    }

    /// The address in this word, or `None` if the word is not an address.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        let addr = PageAddr(word);
        (word == 0 || (word >> 62 == 0 && addr.block() != 0)).then_some(addr)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Position in the data file, in pages.
    pub(crate) fn block(self) -> u64 {
        self.0 & (Self::BLOCKS - 1)
    }

    fn check(self) -> u32 {
        (self.0 >> 36) as u32 & Self::CHECK_MASK
    }
}

/// Readers and writers of the common header.
pub(crate) mod header {
    use super::*;
    use crate::engine::base::codec::{get_u16, put_u16, put_u64};

    pub(crate) fn kind(page: &[u8]) -> u8 {
        page[4]
    }

    pub(crate) fn level(page: &[u8]) -> u8 {
        page[5]
    }

    pub(crate) fn count(page: &[u8]) -> usize {
        usize::from(get_u16(page, 6))
    }

    pub(crate) fn lsn(page: &[u8]) -> Lsn {
        Lsn::new(get_u64(page, 8))
    }

    pub(crate) fn page_id(page: &[u8]) -> PageId {
        PageId(get_u64(page, 16))
    }

    pub(crate) fn set_count(page: &mut [u8], count: usize) {
        put_u16(page, 6, u16::try_from(count).expect("fewer than 2^16 slots in a page"));
    }

    pub(crate) fn set_page_id(page: &mut [u8], id: PageId) {
        put_u64(page, 16, id.0);
    }

    pub(crate) fn set_lsn(page: &mut [u8], lsn: Lsn) {
        put_u64(page, 8, lsn.get());
    }

    /// Writes a header; bytes 24 to 31 become zero.
    pub(crate) fn init(page: &mut [u8], kind: u8, level: u8, lsn: Lsn, id: PageId) {
        page[..PAGE_HEADER].fill(0);
        page[4] = kind;
        page[5] = level;
        set_lsn(page, lsn);
        put_u64(page, 16, id.0);
    }

    /// Puts the checksum into a page that is about to be written, and returns it.
    pub(crate) fn seal(page: &mut [u8], store: StoreId) -> u32 {
        let crc = checksum(page, store);
        put_u32(page, 0, crc);
        crc
    }

    fn checksum(page: &[u8], store: StoreId) -> u32 {
        mutant!(PageTailUncovered => return crc32(&[&store.0, &page[4..page.len() - 512]]));
        crc32(&[&store.0, &page[4..]])
    }

    /// Checks that `page`, read from `addr`, is the page `id` as it was written there.
    ///
    /// # Errors
    /// What was expected, and what was found instead.
    pub(crate) fn check(
        page: &[u8],
        store: StoreId,
        id: PageId,
        addr: PageAddr,
    ) -> Result<(), (String, String)> {
        let stored = get_u32(page, 0);
        let crc = mutant!(PageUnverified: checksum(page, store) => stored);
        if stored != crc {
            return Err((format!("page {id} with checksum {crc:08x}"), format!("{stored:08x}")));
        }
        if page_id(page) != id {
            return Err((format!("page {id}"), format!("page {}", page_id(page))));
        }
        mutant!(PageAddressUnchecked => return Ok(()));
        if crc & PageAddr::CHECK_MASK != addr.check() {
            return Err((
                format!("the version of page {id} with checksum ..{:07x}", addr.check()),
                format!("one with ..{:07x}", crc & PageAddr::CHECK_MASK),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([7; 16]);

    #[test]
    fn an_address_is_a_block_and_a_part_of_a_checksum() {
        let addr = PageAddr::new(0x9_8765_4321, 0xfedc_ba98);
        assert_eq!(addr.word(), 0x2dcb_a989_8765_4321);
        assert_eq!((addr.block(), addr.check()), (0x9_8765_4321, 0x2dc_ba98));
        assert_eq!(PageAddr::from_word(addr.word()), Some(addr));
        assert!(!addr.is_none());
        let highest = PageAddr::new(PageAddr::BLOCKS - 1, u32::MAX);
        assert_eq!(highest.word(), u64::MAX >> 2);
        assert_eq!((highest.block(), highest.check()), ((1 << 36) - 1, (1 << 26) - 1));
        assert_eq!(PageAddr::from_word(highest.word()), Some(highest));
        assert_eq!(PageAddr::from_word(0), Some(PageAddr::NONE));
        assert!(PageAddr::NONE.is_none());
        // A checksum without a block, and bits that belong to the page table.
        for word in [1 << 36, 1 << 61, 1 << 62 | 1, 1 << 63 | 1, u64::MAX] {
            assert_eq!(PageAddr::from_word(word), None, "{word:#x}");
        }
        for block in [0, PageAddr::BLOCKS] {
            assert!(std::panic::catch_unwind(|| PageAddr::new(block, 0)).is_err());
        }
    }

    #[test]
    fn a_header_in_hex() {
        let mut page = [0xee; 40];
        header::init(&mut page, INNER, 3, Lsn::new(0x1122), PageId(0x3344));
        header::set_count(&mut page, 0x5566);
        let crc = header::seal(&mut page, STORE);
        assert_eq!(crc, crc32(&[&STORE.0, &page[4..]]));
        assert_eq!(get_u32(&page, 0), crc);
        assert_eq!(
            page[4..],
            [
                2, 3, 0x66, 0x55, 0x22, 0x11, 0, 0, 0, 0, 0, 0, 0x44, 0x33, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0, 0, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee
            ]
        );
        assert_eq!((header::kind(&page), header::level(&page)), (INNER, 3));
        assert_eq!((header::count(&page), header::lsn(&page)), (0x5566, Lsn::new(0x1122)));
        header::set_lsn(&mut page, Lsn::new(5));
        header::set_page_id(&mut page, PageId(6));
        assert_eq!((header::lsn(&page), header::page_id(&page)), (Lsn::new(5), PageId(6)));
        assert_eq!(PageId(6).to_string(), "6");
    }

    #[test]
    fn a_page_is_valid_where_it_was_written() {
        let mut page = [0; 64];
        header::init(&mut page, LEAF, 0, Lsn::new(9), PageId(4));
        let crc = header::seal(&mut page, STORE);
        let addr = PageAddr::new(2, crc);
        let refused = |page: &[u8], store, id, addr| {
            header::check(page, store, PageId(id), addr).unwrap_err().0
        };
        assert_eq!(header::check(&page, STORE, PageId(4), addr), Ok(()));
        // A bit of the checksum that is not in the address.
        let same = PageAddr::new(2, crc ^ 1 << 26);
        assert_eq!(header::check(&page, STORE, PageId(4), same), Ok(()));
        assert_eq!(refused(&page, STORE, 5, addr), "page 5");
        let other = PageAddr::new(2, crc ^ 1 << 25);
        assert!(refused(&page, STORE, 4, other).starts_with("the version of page 4"));
        assert!(refused(&page, StoreId([8; 16]), 4, addr).starts_with("page 4 with checksum"));
        page[63] = 1;
        assert!(refused(&page, STORE, 4, addr).starts_with("page 4 with checksum"));
    }
}
