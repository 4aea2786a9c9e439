//! The superblock: the root of everything else in the data file.
//!
//! Two slots of 4096 bytes, at offsets 0 and 4096 of the data file, hold superblocks of growing
//! sequence numbers. The one with the highest sequence is the store. [`super::slots`] writes them so
//! that one of them is always valid.
//!
//! Byte layout of a slot, little-endian. All fields lie in the first 512-byte sector.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic, `SYNCDATA` |
//! | 8 | 4 | CRC-32 over bytes 0 to 7 and 12 to 4095 |
//! | 12 | 4 | format version, 2; every version keeps these first 16 bytes |
//! | 16 | 4 | page size: 4096, 8192, 16384 or 32768 |
//! | 20 | 4 | next keyspace id |
//! | 24 | 8 | bytes of a log segment |
//! | 32 | 16 | store id |
//! | 48 | 8 | sequence |
//! | 56 | 8 | checkpoint LSN |
//! | 64 | 8 | durable LSN, as known at the write |
//! | 72 | 8 | LSN at which the incarnation's records begin |
//! | 80 | 8 | LSN at which the former incarnation ended |
//! | 88 | 4 | incarnation |
//! | 92 | 4 | former incarnation, 0 if there is none |
//! | 96 | 8 | length of the data file, in blocks of one page |
//! | 104 | 8 | next page id |
//! | 112 | 8 | page id of the catalog's root |
//! | 120 | 8 | page map: address of its root, 0 if it is empty |
//! | 128 | 8 | page map: number of leaves |
//! | 136 | 8 | free map: address of its root, 0 if it is empty |
//! | 144 | 8 | free map: number of leaves |
//! | 152 | 1 | page map: level of its root |
//! | 153 | 1 | free map: level of its root |
//! | 154 | 1 | 1 if the store was closed cleanly: the log holds nothing above the checkpoint |
//! | 155 | 5 | zero |
//! | 160 | 8 | mark of the incarnation, 0 if it began under version 1 |
//! | 168 | 8 | mark of the former incarnation, 0 if it began under version 1 |
//! | 176 | 16 | salt of the incarnation's records, secret; zero if it has no mark |
//! | 192 | 8 | number of the newest log segment that is known to exist, 0 if none is |
//! | 200 | 3896 | zero |
//!
//! Version 1 is the same with zeros from byte 160 on, and is read so.
//!
//! A slot is valid iff the magic, checksum and version are right; the page size is one of the four;
//! the segment size is a multiple of 4096 from 16 KiB to 2 GiB; the sequence is not 0;
//! `checkpoint <= durable`; `former incarnation <= incarnation`; `2 <= length <= 2^36`; the next page
//! id is not 0; the clean flag is 0 or 1; the salt is zero if there is no mark; and each zero field is
//! zero. Each root is either 0, with level and leaves 0, or the address of a block from 2 to the
//! length, with a level of at most 6 and 1 to as many leaves as fit under it.
//!
//! Example, the first 208 bytes of the one in the tests:
//!
//! ```text
//!     53 59 4e 43 44 41 54 41 1b e9 83 97 02 00 00 00
//!     00 20 00 00 04 00 00 00 00 00 00 04 00 00 00 00
//!     61 20 73 74 6f 72 65 27 73 20 6f 77 6e 20 69 64
//!     03 00 00 00 00 00 00 00 00 10 00 00 00 00 00 00
//!     00 12 00 00 00 00 00 00 00 00 00 04 00 00 00 00
//!     00 11 00 00 00 00 00 00 02 00 00 00 01 00 00 00
//!     20 00 00 00 00 00 00 00 09 00 00 00 00 00 00 00
//!     01 00 00 00 00 00 00 00 05 00 00 00 30 12 00 00
//!     01 00 00 00 00 00 00 00 07 00 00 00 60 45 00 00
//!     02 00 00 00 00 00 00 00 00 01 01 00 00 00 00 00
//!     ef cd ab 89 67 45 23 01 88 77 66 55 44 33 22 11
//!     6e 65 76 65 72 20 74 6f 20 62 65 20 74 6f 6c 64
//!     02 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
//! ```

use std::ops::RangeInclusive;

use super::RESERVED_BLOCKS;
use super::map_page::{MAX_HEIGHT, Root, capacity, fanout};
use super::page::{PageAddr, PageId};
use crate::engine::base::codec::{crc32, get_u32, get_u64, put_u32, put_u64};
use crate::engine::base::lsn::{Incarnation, Life, LifeMark, Lsn, Secret, StoreId};

pub(crate) const SLOT_BYTES: usize = 4096;
/// The format version that is written, and the newest one that is read.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// The version before, which is read too.
const FORMAT_VERSION_1: u32 = 1;
/// The page sizes that a store may have.
pub(crate) const PAGE_SIZES: [u32; 4] = [4096, 8192, 16384, 32768];

/// The sizes that a log segment may have, in steps of 4096.
const SEGMENT_BYTES: RangeInclusive<u64> = 16 << 10..=2 << 30;

const MAGIC: [u8; 8] = *b"SYNCDATA";

/// The part of a superblock that the layers above fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Everything up to here is in the pages.
    pub(crate) checkpoint: Lsn,
    /// The sync line, as known at the write. At least `checkpoint`.
    pub(crate) durable: Lsn,
    /// The life of the store that wrote this, 0 before the first.
    pub(crate) incarnation: Incarnation,
    /// Tells that life from those of copies of the store. None if it began under version 1.
    pub(crate) mark: LifeMark,
    /// The salt of its records. Never shown.
    pub(crate) secret: Secret,
    /// Where that incarnation's records begin.
    pub(crate) log_start: Lsn,
    /// The incarnation before, 0 if there is none.
    pub(crate) former: Incarnation,
    pub(crate) former_mark: LifeMark,
    /// Where the former incarnation ended.
    pub(crate) former_end: Lsn,
    /// The newest segment of the incarnation that is known to exist, 0 if none is. Unless the store was
    /// closed, all segments from the checkpoint's to this one exist.
    pub(crate) newest_segment: u64,
    /// No page has this id or a higher one.
    pub(crate) next_page_id: PageId,
    /// The root of the tree of keyspaces.
    pub(crate) catalog_root: PageId,
    /// No keyspace has this id or a higher one.
    pub(crate) next_keyspace: u32,
    /// The log holds nothing above the checkpoint.
    pub(crate) clean: bool,
}

impl Head {
    /// The head of a new store.
    pub(crate) const EMPTY: Head = Head {
        checkpoint: Lsn::ZERO,
        durable: Lsn::ZERO,
        incarnation: Incarnation::new(0),
        mark: LifeMark::NONE,
        secret: Secret::NONE,
        log_start: Lsn::ZERO,
        former: Incarnation::new(0),
        former_mark: LifeMark::NONE,
        former_end: Lsn::ZERO,
        newest_segment: 0,
        next_page_id: PageId(1),
        catalog_root: PageId::NONE,
        next_keyspace: 1,
        clean: true,
    };
}

/// One version of the store's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) page_size: u32,
    pub(crate) segment_bytes: u64,
    pub(crate) store: StoreId,
    pub(crate) sequence: u64,
    /// Length of the data file, in blocks.
    pub(crate) blocks: u64,
    pub(crate) page_map: Root,
    pub(crate) free_map: Root,
    pub(crate) head: Head,
}

/// Why a slot's bytes are not a superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// Whole and with a right checksum, but of a format version that is not read here.
    Version(u32),
    /// Not the bytes that were written.
    Damaged {
        /// Offset in the slot.
        at: usize,
        expected: String,
        found: String,
    },
}

impl Superblock {
    pub(crate) fn encode(&self) -> Box<[u8; SLOT_BYTES]> {
        let mut slot = Box::new([0; SLOT_BYTES]);
        let bytes = &mut slot[..];
        let head = &self.head;
        bytes[..8].copy_from_slice(&MAGIC);
        put_u32(bytes, 12, FORMAT_VERSION);
        put_u32(bytes, 16, self.page_size);
        put_u32(bytes, 20, head.next_keyspace);
        put_u64(bytes, 24, self.segment_bytes);
        bytes[32..48].copy_from_slice(&self.store.0);
        put_u64(bytes, 48, self.sequence);
        put_u64(bytes, 56, head.checkpoint.get());
        put_u64(bytes, 64, head.durable.get());
        put_u64(bytes, 72, head.log_start.get());
        put_u64(bytes, 80, head.former_end.get());
        put_u32(bytes, 88, head.incarnation.get());
        put_u32(bytes, 92, head.former.get());
        put_u64(bytes, 96, self.blocks);
        put_u64(bytes, 104, head.next_page_id.0);
        put_u64(bytes, 112, head.catalog_root.0);
        put_u64(bytes, 120, self.page_map.addr.word());
        put_u64(bytes, 128, self.page_map.leaves);
        put_u64(bytes, 136, self.free_map.addr.word());
        put_u64(bytes, 144, self.free_map.leaves);
        bytes[152] = self.page_map.height;
        bytes[153] = self.free_map.height;
        bytes[154] = u8::from(head.clean);
        put_u64(bytes, 160, head.mark.0);
        put_u64(bytes, 168, head.former_mark.0);
        bytes[176..192].copy_from_slice(&head.secret.0);
        put_u64(bytes, 192, head.newest_segment);
        let crc = checksum(bytes);
        put_u32(bytes, 8, crc);
        debug_assert_eq!(Self::decode(bytes), Ok(*self), "decoding returns what was encoded");
        slot
    }

    /// The superblock in these bytes, which may be any bytes at all.
    ///
    /// # Errors
    /// The first rule that the bytes break.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        check_frame(bytes)?;
        let superblock = Superblock {
            page_size: get_u32(bytes, 16),
            segment_bytes: get_u64(bytes, 24),
            store: StoreId(bytes[32..48].try_into().expect("16 bytes")),
            sequence: get_u64(bytes, 48),
            blocks: get_u64(bytes, 96),
            page_map: decode_root(bytes, 120, 152)?,
            free_map: decode_root(bytes, 136, 153)?,
            head: Head {
                checkpoint: Lsn::new(get_u64(bytes, 56)),
                durable: Lsn::new(get_u64(bytes, 64)),
                incarnation: Incarnation::new(get_u32(bytes, 88)),
                mark: LifeMark(get_u64(bytes, 160)),
                secret: Secret(bytes[176..192].try_into().expect("16 bytes")),
                log_start: Lsn::new(get_u64(bytes, 72)),
                former: Incarnation::new(get_u32(bytes, 92)),
                former_mark: LifeMark(get_u64(bytes, 168)),
                former_end: Lsn::new(get_u64(bytes, 80)),
                newest_segment: get_u64(bytes, 192),
                next_page_id: PageId(get_u64(bytes, 104)),
                catalog_root: PageId(get_u64(bytes, 112)),
                next_keyspace: get_u32(bytes, 20),
                clean: match bytes[154] {
                    0 => false,
                    1 => true,
                    other => return Err(damaged(154, "a clean flag of 0 or 1", other)),
                },
            },
        };
        superblock.check()?;
        Ok(superblock)
    }

    /// The life that wrote this superblock.
    pub(crate) fn life(&self) -> Life {
        let Head { incarnation, mark, secret, .. } = self.head;
        Life { store: self.store, incarnation, mark, secret }
    }

    fn check(&self) -> Result<(), Invalid> {
        let head = &self.head;
        if !PAGE_SIZES.contains(&self.page_size) {
            return Err(damaged(16, "a page size of 4096, 8192, 16384 or 32768", self.page_size));
        }
        if !SEGMENT_BYTES.contains(&self.segment_bytes) || !self.segment_bytes.is_multiple_of(4096)
        {
            let expected = "a segment size from 16 KiB to 2 GiB in steps of 4096";
            return Err(damaged(24, expected, self.segment_bytes));
        }
        if self.sequence == 0 {
            return Err(damaged(48, "a sequence above 0", 0));
        }
        if head.checkpoint > head.durable {
            let expected = format!("a durable LSN of at least {}", head.checkpoint);
            return Err(damaged(64, expected, head.durable));
        }
        if head.former > head.incarnation {
            let expected = format!("a former incarnation of at most {}", head.incarnation);
            return Err(damaged(92, expected, head.former));
        }
        if !(RESERVED_BLOCKS..=PageAddr::BLOCKS).contains(&self.blocks) {
            return Err(damaged(96, "a length from 2 to 2^36 blocks", self.blocks));
        }
        if head.next_page_id == PageId::NONE {
            return Err(damaged(104, "a next page id above 0", 0));
        }
        if head.mark.is_none() && head.secret != Secret::NONE {
            return Err(damaged(176, "no salt without a mark", "one"));
        }
        self.check_root(&self.page_map, 120)?;
        self.check_root(&self.free_map, 136)
    }

    fn check_root(&self, root: &Root, at: usize) -> Result<(), Invalid> {
        if root.addr.is_none() {
            return match *root == Root::EMPTY {
                true => Ok(()),
                false => {
                    let found = format!("height {} and {} leaves", root.height, root.leaves);
                    Err(damaged(at, "an empty root without leaves", found))
                }
            };
        }
        if !(RESERVED_BLOCKS..self.blocks).contains(&root.addr.block()) {
            let expected = format!("a root in a block from 2 to {}", self.blocks);
            return Err(damaged(at, expected, root.addr.block()));
        }
        let most = match root.height <= MAX_HEIGHT {
            true => capacity(fanout(self.page_size as usize), root.height),
            false => 0,
        };
        if root.leaves == 0 || root.leaves > most {
            let expected = format!("1 to {most} leaves under a root of level {}", root.height);
            return Err(damaged(at + 8, expected, root.leaves));
        }
        Ok(())
    }
}

/// Checks the fields that every version has, then the version, then the zeros.
fn check_frame(bytes: &[u8]) -> Result<(), Invalid> {
    if bytes.len() != SLOT_BYTES {
        return Err(damaged(0, "4096 bytes", bytes.len()));
    }
    if bytes[..8] != MAGIC {
        let found = format!("{:02x?}", &bytes[..8]);
        return Err(damaged(0, "a Syncline data file (magic SYNCDATA)", found));
    }
    let (stored, crc) = (get_u32(bytes, 8), checksum(bytes));
    if stored != crc {
        let expected = format!("a superblock with checksum {crc:08x}");
        return Err(damaged(8, expected, format!("{stored:08x}")));
    }
    let zeros = match get_u32(bytes, 12) {
        FORMAT_VERSION_1 => [155..SLOT_BYTES, SLOT_BYTES..SLOT_BYTES],
        FORMAT_VERSION => [155..160, 200..SLOT_BYTES],
        other => return Err(Invalid::Version(other)),
    };
    match zeros.into_iter().flatten().find(|&at| bytes[at] != 0) {
        Some(at) => Err(damaged(at, "zero", bytes[at])),
        None => Ok(()),
    }
}

fn decode_root(bytes: &[u8], at: usize, height: usize) -> Result<Root, Invalid> {
    let word = get_u64(bytes, at);
    let addr = PageAddr::from_word(word)
        .ok_or_else(|| damaged(at, "the address of a page", format!("{word:#018x}")))?;
    Ok(Root { addr, height: bytes[height], leaves: get_u64(bytes, at + 8) })
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32(&[&bytes[..8], &bytes[12..]])
}

fn damaged(at: usize, expected: impl ToString, found: impl ToString) -> Invalid {
    Invalid::Damaged { at, expected: expected.to_string(), found: found.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Superblock {
        Superblock {
            page_size: 8192,
            segment_bytes: 64 << 20,
            store: StoreId(*b"a store's own id"),
            sequence: 3,
            blocks: 32,
            page_map: Root { addr: PageAddr::new(5, 0x123), height: 0, leaves: 1 },
            free_map: Root { addr: PageAddr::new(7, 0x456), height: 1, leaves: 2 },
            head: Head {
                checkpoint: Lsn::new(0x1000),
                durable: Lsn::new(0x1200),
                incarnation: Incarnation::new(2),
                mark: LifeMark(0x0123_4567_89ab_cdef),
                secret: Secret(*b"never to be told"),
                log_start: Lsn::new(0x0400_0000),
                former: Incarnation::new(1),
                former_mark: LifeMark(0x1122_3344_5566_7788),
                former_end: Lsn::new(0x1100),
                newest_segment: 2,
                next_page_id: PageId(9),
                catalog_root: PageId(1),
                next_keyspace: 4,
                clean: true,
            },
        }
    }

    #[test]
    fn the_example_in_the_header_is_the_encoded_superblock() {
        let header = include_str!("superblock.rs").split("Example").nth(1).unwrap();
        let lines = header.lines().filter_map(|line| line.strip_prefix("//!     "));
        let hex: String = lines.flat_map(|line| line.split(' ')).collect();
        let slot = example().encode();
        let written: String = slot[..208].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex);
        assert!(slot[208..].iter().all(|&byte| byte == 0));
        assert_eq!(Superblock::decode(&slot[..]), Ok(example()));
    }

    #[test]
    fn a_superblock_of_version_1_is_read_without_marks() {
        let mut slot = example().encode();
        put_u32(&mut slot[..], 12, 1);
        slot[160..200].fill(0);
        let crc = checksum(&slot[..]);
        put_u32(&mut slot[..], 8, crc);
        let found = Superblock::decode(&slot[..]).unwrap();
        let (mark, secret) = (LifeMark::NONE, Secret::NONE);
        let head = Head { mark, secret, former_mark: mark, newest_segment: 0, ..example().head };
        assert_eq!(found, Superblock { head, ..example() });
        assert_eq!(found.life(), Life::of_version_1(found.store, Incarnation::new(2)));
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let mut slot = example().encode();
        for at in 0..SLOT_BYTES {
            slot[at] ^= 1 << (at % 8);
            assert!(matches!(Superblock::decode(&slot[..]), Err(Invalid::Damaged { .. })), "{at}");
            slot[at] ^= 1 << (at % 8);
        }
        for len in [0, 1, 15, 16, 160, 4095] {
            assert!(Superblock::decode(&slot[..len]).is_err());
        }
    }

    /// Each case breaks one rule of the "valid iff" list under a right checksum.
    #[test]
    fn a_broken_rule_is_refused_with_the_offset_of_its_field() {
        type Break = fn(&mut [u8]);
        let cases: [(usize, Break); 29] = [
            (16, |b| put_u32(b, 16, 8191)),
            (16, |b| put_u32(b, 16, 0)),
            (24, |b| put_u64(b, 24, 0)),
            (24, |b| put_u64(b, 24, 12 << 10)),
            (24, |b| put_u64(b, 24, 65 << 10)),
            (24, |b| put_u64(b, 24, (2 << 30) + 4096)),
            (48, |b| put_u64(b, 48, 0)),
            (64, |b| put_u64(b, 64, 0xfff)),
            (92, |b| put_u32(b, 92, 3)),
            (96, |b| put_u64(b, 96, 1)),
            (96, |b| put_u64(b, 96, (1 << 36) + 1)),
            (96, |b| put_u64(b, 96, u64::MAX)),
            (104, |b| put_u64(b, 104, 0)),
            (120, |b| put_u64(b, 120, 1 << 63)),
            (120, |b| put_u64(b, 120, 0)),
            (120, |b| put_u64(b, 120, 32)),
            (120, |b| put_u64(b, 120, 1)),
            (136, |b| put_u64(b, 136, 1)),
            (128, |b| put_u64(b, 128, 0)),
            (128, |b| put_u64(b, 128, 2)),
            (144, |b| put_u64(b, 144, 1021)),
            (144, |b| b[153] = 7),
            (144, |b| b[153] = 255),
            (155, |b| b[155] = 1),
            (159, |b| b[159] = 1),
            (176, |b| put_u64(b, 160, 0)),
            (200, |b| b[200] = 1),
            (154, |b| b[154] = 2),
            (4095, |b| b[4095] = 1),
        ];
        for (i, (at, break_it)) in cases.iter().enumerate() {
            let mut slot = example().encode();
            break_it(&mut slot[..]);
            let crc = checksum(&slot[..]);
            put_u32(&mut slot[..], 8, crc);
            match Superblock::decode(&slot[..]) {
                Err(Invalid::Damaged { at: found, .. }) => assert_eq!(found, *at, "case {i}"),
                other => panic!("case {i}: {other:?}"),
            }
        }
    }

    #[test]
    fn values_at_the_limits_are_encoded_and_decoded() {
        type Change = fn(&mut Superblock);
        let cases: [Change; 15] = [
            |s| s.page_size = 4096,
            |s| s.page_size = 32768,
            |s| s.segment_bytes = 16 << 10,
            |s| s.segment_bytes = 2 << 30,
            |s| s.head.durable = s.head.checkpoint,
            |s| s.head.former = s.head.incarnation,
            |s| s.blocks = 1 << 36,
            |s| s.page_map.addr = PageAddr::new(2, 0),
            |s| s.page_map.addr = PageAddr::new(31, 0),
            |s| (s.page_map, s.free_map, s.blocks) = (Root::EMPTY, Root::EMPTY, 2),
            |s| s.free_map.leaves = 1020,
            |s| (s.free_map.height, s.free_map.leaves) = (MAX_HEIGHT, 1 << 48),
            |s| s.head.clean = false,
            |s| (s.head.mark, s.head.secret) = (LifeMark::NONE, Secret::NONE),
            |s| s.head.former_mark = LifeMark::NONE,
        ];
        for (i, change) in cases.iter().enumerate() {
            let mut superblock = example();
            change(&mut superblock);
            assert_eq!(Superblock::decode(&superblock.encode()[..]), Ok(superblock), "case {i}");
        }
    }
}
