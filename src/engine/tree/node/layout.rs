//! A node's layout: offsets, limits of sizes, and the proof that one split is enough.

use crate::engine::base::codec::get_u32;

/// Bytes of a node's header.
pub(super) const HEADER: usize = 40;
/// Bytes of a slot.
pub(super) const SLOT: usize = 8;

pub(super) const HEAP_START: usize = 24;
pub(super) const GARBAGE: usize = 26;
pub(super) const PREFIX_LEN: usize = 28;
pub(super) const LOWER_LEN: usize = 30;
pub(super) const UPPER_LEN: usize = 32;
pub(super) const SHARED: usize = 34;
pub(super) const RESERVED: usize = 36;

/// The upper fence's length where there is no upper fence.
pub(super) const INFINITE: u16 = u16::MAX;

/// Bytes in front of the suffix in a leaf's cell: the value word.
pub(super) const LEAF_FRONT: usize = 2;
/// Bytes in front of the suffix in an inner cell: the child.
pub(super) const INNER_FRONT: usize = 8;
/// The value word of an out-of-line value.
pub(super) const OUT_OF_LINE: u16 = 0x8000;
/// Bytes of the reference to an out-of-line value.
pub(super) const BLOB_REF: usize = 16;

pub(super) const MIN_PAGE: usize = 4096;
pub(super) const MAX_PAGE: usize = 32768;

/// Heads skip shared bytes from this many on. With fewer, heads still distinguish keys, and a comparison
/// of the shared bytes would make each lookup read one more cell.
const MIN_SHARED: usize = 4;

/// The longest key, in bytes.
pub(crate) const fn max_key(page_size: usize) -> usize {
    page_size / 8
}

/// The longest value that is stored in a leaf, in bytes.
pub(crate) const fn max_inline(page_size: usize) -> usize {
    page_size / 4 - 64
}

/// One split is enough: a node with any cells and fences, and one more cell, can be divided into two
/// nodes that are no larger than a page, whatever the separator is.
///
/// Let C be the bytes of the cells with their slots, F and G those of the fences, M the largest
/// cell, K the longest key and P the page, less the header. Then `C + F + G <= P`. Let the left
/// node take cells of the `C + M` bytes while `left + F + K <= P`. It ends with
/// `left > P - F - K - M`, so that the right one has
/// `right + K + G < C + M - P + F + K + M + K + G <= 2 * M + 2 * K`, which must not be above P.
///
/// In an inner node the split must not be right before the new cell, so it may have to move by one
/// more cell.
const fn prove_split(page_size: usize) {
    let room = page_size - HEADER;
    let key = max_key(page_size);
    let value = if max_inline(page_size) > BLOB_REF { max_inline(page_size) } else { BLOB_REF };
    let leaf = SLOT + LEAF_FRONT + key + value;
    let inner = SLOT + INNER_FRONT + key;
    assert!(2 * leaf + 2 * key <= room);
    assert!(3 * inner + 2 * key <= room);
    // A leaf that cannot take a cell has another one. Such an inner node has at least four, so that it can
    // be split on either side of the new cell.
    assert!(2 * key + leaf <= room);
    assert!(2 * key + 4 * inner <= room);
    // Offsets and lengths fit their fields.
    assert!(page_size < INFINITE as usize && value < OUT_OF_LINE as usize);
}

const _: () = {
    prove_split(4096);
    prove_split(8192);
    prove_split(16384);
    prove_split(32768);
};

/// The first four bytes of `rest` as a number that sorts as they do. A shorter rest is padded with
/// zeros, so it may have the same head as a longer one.
#[inline]
pub(super) fn head(rest: &[u8]) -> u32 {
    match rest.first_chunk::<4>() {
        Some(first) => u32::from_be_bytes(*first),
        None => (0..4).fold(0, |head, i| head << 8 | u32::from(rest.get(i).copied().unwrap_or(0))),
    }
}

/// The length of the common prefix of `a` and `b`.
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// How many of the `common` first bytes of all suffixes heads should skip.
pub(super) fn worth_sharing(common: usize) -> usize {
    if common >= MIN_SHARED { common } else { 0 }
}

/// A slot, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) head: u32,
    pub(super) offset: usize,
    pub(super) suffix_len: usize,
}

impl Slot {
    #[inline]
    pub(super) fn decode(bytes: &[u8; SLOT]) -> Self {
        // One load, not three.
        let word = u64::from_le_bytes(*bytes);
        Slot {
            head: word as u32,
            offset: usize::from((word >> 32) as u16),
            suffix_len: usize::from((word >> 48) as u16),
        }
    }

    pub(super) fn encode(self) -> [u8; SLOT] {
        let word = u64::from(self.head)
            | u64::from(as_u16(self.offset)) << 32
            | u64::from(as_u16(self.suffix_len)) << 48;
        word.to_le_bytes()
    }
}

/// The head in a slot.
#[inline]
pub(super) fn slot_head(bytes: &[u8; SLOT]) -> u32 {
    get_u32(bytes, 0)
}

/// An offset or length within a page, as it is stored.
#[inline]
pub(super) fn as_u16(n: usize) -> u16 {
    u16::try_from(n).expect("offsets within a page are below 2^16")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_sort_as_the_suffixes_they_begin() {
        assert_eq!(head(b""), 0);
        assert_eq!(head(b"a"), 0x6100_0000);
        assert_eq!(head(b"abc"), 0x6162_6300);
        assert_eq!(head(b"abcd"), 0x6162_6364);
        assert_eq!(head(b"abcde"), 0x6162_6364);
        assert_eq!(head(b"a\0"), head(b"a"));
    }

    #[test]
    fn a_slot_decodes_to_what_was_encoded() {
        let slot = Slot { head: 0x6162_6364, offset: 0x1122, suffix_len: 0x3344 };
        let bytes = slot.encode();
        assert_eq!(bytes, [0x64, 0x63, 0x62, 0x61, 0x22, 0x11, 0x44, 0x33]);
        assert_eq!(Slot::decode(&bytes), slot);
        assert_eq!(slot_head(&bytes), slot.head);
    }
}
