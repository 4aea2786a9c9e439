//! A page of the page map or of the free map, and its place in the tree.
//!
//! Byte layout, little-endian, where F is the number of words, (page size - 32) / 8:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 24 | the header of every page, of kind 5 or 6, with F as the count |
//! | 24 | 8 | zero |
//! | 32 | 8 F | words |
//!
//! The page id has the level in its upper 16 bits and the index within the level in the lower 48. A page
//! is valid iff
//!
//! - it passes [`header::check`], and kind, level and page id are those of its place in the tree;
//! - its count is F, and bytes 24 to 31 are zero;
//! - above level 0, each word is an address or 0. The reader of a leaf checks the leaf's words.
//!
//! Example, the first 48 bytes of page 2 of level 1 of a page map in a store of 4 KiB pages:
//!
//! ```text
//!     68 e2 32 47 05 01 fc 01 00 10 00 00 00 00 00 00
//!     02 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00
//!     11 00 00 00 10 00 00 00 22 00 00 00 20 00 00 00
//! ```

use super::page::{PAGE_HEADER, PageAddr, PageId, header};
use crate::engine::base::codec::{get_u64, put_u64};
use crate::engine::base::lsn::Lsn;

/// The highest level of a root.
pub(crate) const MAX_HEIGHT: u8 = 6;

/// Words in a page of `page_size` bytes.
pub(crate) const fn fanout(page_size: usize) -> usize {
    (page_size - PAGE_HEADER) / 8
}

/// Leaves under a root of level `height`, at most 2^48.
pub(crate) fn capacity(fanout: usize, height: u8) -> u64 {
    (fanout as u64).saturating_pow(height.into()).min(1 << 48)
}

/// Where a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) addr: PageAddr,
    /// The level of the page at `addr`.
    pub(crate) height: u8,
    /// All leaves from this index on are zeros.
    pub(crate) leaves: u64,
}

impl Root {
    /// The tree in which every word is 0.
    pub(crate) const EMPTY: Root = Root { addr: PageAddr::NONE, height: 0, leaves: 0 };
}

/// The place of a page in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) level: u8,
    pub(crate) index: u64,
}

impl Node {
    pub(crate) fn leaf(index: u64) -> Self {
        Node { level: 0, index }
    }

    pub(crate) fn id(self) -> PageId {
        PageId(u64::from(self.level) << 48 | self.index)
    }

    pub(super) fn parent(self, fanout: usize) -> Node {
        Node { level: self.level + 1, index: self.index / fanout as u64 }
    }

    pub(super) fn slot(self, fanout: usize) -> usize {
        (self.index % fanout as u64) as usize
    }

    /// Saturates, since a damaged page can hold any address.
    pub(super) fn child(self, fanout: usize, slot: usize) -> Node {
        let first = self.index.saturating_mul(fanout as u64);
        Node { level: self.level - 1, index: first.saturating_add(slot as u64) }
    }
}

/// Encodes an unsealed page of a tree.
pub(crate) fn encode(page: &mut [u8], kind: u8, node: Node, lsn: Lsn, words: &[u64]) {
    assert_eq!(words.len(), fanout(page.len()));
    header::init(page, kind, node.level, lsn, node.id());
    header::set_count(page, words.len());
    for (i, &word) in words.iter().enumerate() {
        put_u64(page, PAGE_HEADER + 8 * i, word);
    }
}

/// The words of a page that has passed [`header::check`].
///
/// # Errors
/// What was expected, and what was found instead.
pub(crate) fn decode(page: &[u8], kind: u8, node: Node) -> Result<Box<[u64]>, (String, String)> {
    let of = || format!("level {} index {} of map {kind}", node.level, node.index);
    if page.len() < PAGE_HEADER {
        return Err((of(), format!("{} bytes", page.len())));
    }
    let count = fanout(page.len());
    let found = (header::kind(page), header::level(page), header::page_id(page));
    if found != (kind, node.level, node.id()) {
        let (kind, level, id) = found;
        return Err((of(), format!("level {level} of map {kind} with id {id}")));
    }
    if header::count(page) != count {
        return Err((format!("{} with {count} words", of()), header::count(page).to_string()));
    }
    if get_u64(page, 24) != 0 {
        return Err((format!("{} with zeros at byte 24", of()), get_u64(page, 24).to_string()));
    }
    let words: Box<[u64]> = (0..count).map(|i| get_u64(page, PAGE_HEADER + 8 * i)).collect();
    if node.level > 0
        && let Some(word) = words.iter().find(|&&word| PageAddr::from_word(word).is_none())
    {
        return Err((format!("{} with addresses", of()), format!("{word:#018x}")));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::super::page::{FREE_MAP, PAGE_MAP};
    use super::*;
    use crate::engine::base::codec::put_u16;
    use crate::engine::base::lsn::StoreId;

    const NODE: Node = Node { level: 1, index: 2 };

    fn example() -> Vec<u8> {
        let mut page = vec![0; 4096];
        let mut words = vec![0; 508];
        (words[0], words[1]) = (PageAddr::new(0x11, 1).word(), PageAddr::new(0x22, 2).word());
        encode(&mut page, PAGE_MAP, NODE, Lsn::new(0x1000), &words);
        header::seal(&mut page, StoreId([7; 16]));
        page
    }

    #[test]
    fn the_example_in_the_header_is_the_encoded_page() {
        let header = include_str!("map_page.rs").split("Example").nth(1).unwrap();
        let lines = header.lines().filter_map(|line| line.strip_prefix("//!     "));
        let hex: String = lines.flat_map(|line| line.split(' ')).collect();
        let page = example();
        let written: String = page[..48].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex);
        assert!(page[48..].iter().all(|&byte| byte == 0));
        let words = decode(&page, PAGE_MAP, NODE).unwrap();
        assert_eq!((words.len(), words[1]), (508, PageAddr::new(0x22, 2).word()));
    }

    #[test]
    fn a_page_of_another_place_or_with_a_wrong_field_is_refused() {
        let changes: [fn(&mut [u8]); 7] = [
            |page| page[4] = FREE_MAP,
            |page| page[5] = 0,
            |page| put_u16(page, 6, 507),
            |page| put_u64(page, 16, Node { level: 1, index: 3 }.id().0),
            |page| page[31] = 1,
            |page| put_u64(page, 40, 1 << 62),
            |page| put_u64(page, 4088, 1 << 40),
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut page = example();
            change(&mut page);
            assert!(decode(&page, PAGE_MAP, NODE).is_err(), "change {i}");
        }
        assert!(decode(&example(), PAGE_MAP, Node { level: 1, index: 0 }).is_err());
    }

    #[test]
    fn every_leaf_has_a_place_under_the_highest_root() {
        assert_eq!((fanout(4096), fanout(8192), fanout(32768)), (508, 1020, 4092));
        assert_eq!((capacity(508, 0), capacity(508, 1)), (1, 508));
        assert_eq!(capacity(508, MAX_HEIGHT), 1 << 48);
    }

    /// With 1020 words in a page, page 1025 of level 1 is under slot 5 of page 1 of level 2.
    #[test]
    fn parents_and_children_find_each_other() {
        let node = Node { level: 1, index: 1025 };
        assert_eq!(node.parent(1020), Node { level: 2, index: 1 });
        assert_eq!(node.slot(1020), 5);
        assert_eq!(node.parent(1020).child(1020, 5), node);
        assert_eq!(node.id(), PageId(1 << 48 | 1025));
        assert_eq!(Node::leaf(1025), Node { level: 0, index: 1025 });
        assert_eq!(Node { level: 3, index: u64::MAX }.child(1020, 7).index, u64::MAX);
    }

    #[test]
    fn a_leaf_may_hold_any_words() {
        let mut page = vec![0; 4096];
        let words: Vec<u64> = (0..508).map(|i| u64::MAX - i).collect();
        encode(&mut page, FREE_MAP, Node::leaf(3), Lsn::new(9), &words);
        assert_eq!(decode(&page, FREE_MAP, Node::leaf(3)).unwrap()[..], words);
        assert_eq!(header::lsn(&page), Lsn::new(9));
    }

    #[test]
    fn decoding_any_bytes_does_not_panic() {
        assert_eq!(decode(&[0; 31], 0, Node::leaf(0)).unwrap_err().1, "31 bytes");
        assert!(decode(&[0; 32], 0, Node::leaf(0)).unwrap().is_empty());
        for len in [0, 31, 32, 33, 4096] {
            let _ = decode(&vec![0xFF; len], 0xFF, Node { level: 0xFF, index: 0 });
        }
    }
}
