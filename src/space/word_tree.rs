//! A persistent array of words: the page map and the free map.
//!
//! ```text
//!   level 1            [ addr of leaf 0 | addr of leaf 1 | 0 | ... ]
//!                         /                  \
//!   level 0   [ word 0 .. word F-1 ]   [ word F .. word 2F-1 ]       F = (page size - 32) / 8
//! ```
//!
//! A radix tree of pages of F words each. In a leaf (level 0) the words are the array's: of the
//! page map the [`PageAddr`] of each page, of the free map the used bits of 64 blocks each. Above
//! that they are the addresses of the pages of the level below. A subtree of zeros is not stored;
//! its address is 0. The tree grows a level when a leaf lies beyond what its root covers.
//!
//! Pages are never changed in place: a checkpoint writes the changed leaves and everything on the
//! paths to them to fresh blocks ([`Update`]), and the new root counts once the superblock holds
//! it ([`WordTree::adopt`]).
//!
//! A page is the common header, with F as the count, and F words. It is valid iff besides what
//! [`header::check`] asks its kind is the tree's, its level and its page id (level in the upper
//! 16 bits, index within the level in the lower 48) are those of its place, its count is F, bytes
//! 24 to 31 are zero, and above level 0 each word is an address or 0.
//!
//! Example, the first 48 bytes of page 2 of level 1 of a page map in a store of 4 KiB pages:
//!
//! ```text
//!     68 e2 32 47 05 01 fc 01 00 10 00 00 00 00 00 00
//!     02 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00
//!     11 00 00 00 10 00 00 00 22 00 00 00 20 00 00 00
//! ```
//!
//! Leaves are read when they are asked for and not kept. Inner pages are few (one for F leaves)
//! and are kept once read.
//!
//! W1: a reader may be on its way through the former tree when a checkpoint frees that tree's
//! pages. What it then reads fails its check; it starts again if the root has changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::data_file::{Batch, DataFile};
use super::page::{PAGE_HEADER, PageAddr, PageId, header};
use crate::codec::{get_u64, put_u64};
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::sync::Mutex;

/// The highest level of a root.
pub(crate) const MAX_HEIGHT: u8 = 6;

/// Words of a page.
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
    /// All leaves from this one on are zeros.
    pub(crate) leaves: u64,
}

impl Root {
    /// The tree of zeros.
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

    fn parent(self, fanout: usize) -> Node {
        Node { level: self.level + 1, index: self.index / fanout as u64 }
    }

    fn slot(self, fanout: usize) -> usize {
        (self.index % fanout as u64) as usize
    }

    /// Saturates, since damaged pages can lead anywhere.
    fn child(self, fanout: usize, slot: usize) -> Node {
        let first = self.index.saturating_mul(fanout as u64);
        Node { level: self.level - 1, index: first.saturating_add(slot as u64) }
    }
}

/// Makes the unsealed page of a tree.
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

/// One of the two trees.
#[derive(Debug)]
pub(crate) struct WordTree {
    kind: u8,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    root: Root,
    /// Grows with each new root.
    version: u64,
    /// Inner pages of this version that have been read or written.
    inner: BTreeMap<Node, Arc<[u64]>>,
}

impl WordTree {
    pub(crate) fn new(kind: u8, root: Root) -> Self {
        WordTree { kind, state: Mutex::new(State { root, version: 0, inner: BTreeMap::new() }) }
    }

    pub(crate) fn root(&self) -> Root {
        self.state.lock().root
    }

    /// The words of a leaf, or `None` if they are all zero and not stored.
    pub(crate) fn leaf(&self, file: &DataFile, index: u64) -> Result<Option<Box<[u64]>>> {
        loop {
            let (root, version) = self.current();
            let result = self.walk(file, root, version, index);
            match result {
                // W1
                Err(Error::Corrupt { .. }) if self.current().1 != version => continue,
                result => return result,
            }
        }
    }

    /// The durable superblock refers to the tree that `built` describes.
    pub(crate) fn adopt(&self, built: Built) {
        let mut state = self.state.lock();
        state.root = built.root;
        state.version += 1;
        if built.root == Root::EMPTY {
            state.inner.clear();
        }
        for (node, words) in built.inner {
            match words {
                Some(words) => state.inner.insert(node, words),
                None => state.inner.remove(&node),
            };
        }
    }

    /// Reads every page of the tree in order: `visit` gets the place, the address and the words
    /// of each, or what is wrong with it; then what is below it is left out.
    pub(crate) fn visit(
        &self,
        file: &DataFile,
        visit: &mut dyn FnMut(Node, PageAddr, Result<&[u64], Error>),
    ) -> Result<()> {
        let root = self.root();
        let mut todo = vec![(Node { level: root.height, index: 0 }, root.addr)];
        while let Some((node, addr)) = todo.pop() {
            if addr.is_none() {
                continue;
            }
            match self.read(file, node, addr) {
                Ok(words) => {
                    visit(node, addr, Ok(&words));
                    if node.level > 0 {
                        let child = |slot| node.child(file.fanout(), slot);
                        todo.extend((0..words.len()).rev().map(|i| (child(i), addr_in(&words, i))));
                    }
                }
                Err(error @ Error::Corrupt { .. }) => visit(node, addr, Err(error)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn current(&self) -> (Root, u64) {
        let state = self.state.lock();
        (state.root, state.version)
    }

    fn walk(
        &self,
        file: &DataFile,
        root: Root,
        version: u64,
        index: u64,
    ) -> Result<Option<Box<[u64]>>> {
        let node = Node::leaf(index);
        match self.addr(file, root, version, node)? {
            PageAddr::NONE => Ok(None),
            addr => self.read(file, node, addr).map(Some),
        }
    }

    /// Where a page of the version of the tree with this root is.
    fn addr(&self, file: &DataFile, root: Root, version: u64, node: Node) -> Result<PageAddr> {
        if root.addr.is_none() || node.level > root.height {
            return Ok(PageAddr::NONE);
        }
        if node.level == root.height {
            return Ok(if node.index == 0 { root.addr } else { PageAddr::NONE });
        }
        let parent = node.parent(file.fanout());
        let words = self.inner(file, root, version, parent)?;
        Ok(words.map_or(PageAddr::NONE, |words| addr_in(&words, node.slot(file.fanout()))))
    }

    /// The words of an inner page, from memory if it has been read before.
    fn inner(
        &self,
        file: &DataFile,
        root: Root,
        version: u64,
        node: Node,
    ) -> Result<Option<Arc<[u64]>>> {
        {
            let state = self.state.lock();
            if state.version == version
                && let Some(words) = state.inner.get(&node)
            {
                return Ok(Some(words.clone()));
            }
        }
        let addr = self.addr(file, root, version, node)?;
        if addr.is_none() {
            return Ok(None);
        }
        let words: Arc<[u64]> = self.read(file, node, addr)?.into();
        let mut state = self.state.lock();
        if state.version == version {
            state.inner.insert(node, words.clone());
        }
        Ok(Some(words))
    }

    fn read(&self, file: &DataFile, node: Node, addr: PageAddr) -> Result<Box<[u64]>> {
        let mut page = vec![0; file.page_size()];
        file.read_page(addr, node.id(), &mut page)?;
        decode(&page, self.kind, node)
            .map_err(|(expected, found)| file.corrupt(addr.block(), expected, found))
    }
}

/// A new version of a tree in the making. One at a time for each tree.
#[derive(Debug)]
pub(crate) struct Update<'a> {
    tree: &'a WordTree,
    file: &'a DataFile,
    old: Root,
    version: u64,
    /// The level of the new root, which covers `leaves`.
    height: u8,
    leaves: u64,
    /// What is to be written anew: the touched leaves and all that is above them.
    nodes: BTreeSet<Node>,
    /// Blocks of the former versions of `nodes`.
    replaced: Vec<u64>,
}

/// What the tree will be once the superblock says so.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) root: Root,
    /// The inner pages that changed, or `None` where there is none any more.
    inner: BTreeMap<Node, Option<Arc<[u64]>>>,
}

impl<'a> Update<'a> {
    pub(crate) fn new(tree: &'a WordTree, file: &'a DataFile) -> Self {
        let (old, version) = tree.current();
        let (height, leaves) = (old.height, old.leaves);
        let (nodes, replaced) = (BTreeSet::new(), Vec::new());
        Update { tree, file, old, version, height, leaves, nodes, replaced }
    }

    /// Leaf `index` will be written anew. Returns which pages that adds.
    pub(crate) fn touch(&mut self, index: u64) -> Result<Vec<Node>> {
        let fanout = self.file.fanout();
        let mut added = Vec::new();
        while index >= capacity(fanout, self.height) {
            self.height += 1;
            assert!(self.height <= MAX_HEIGHT, "leaf {index} is beyond the tree");
            // The former root hangs below the first page of each new level.
            self.add(Node { level: self.height, index: 0 }, &mut added)?;
        }
        self.leaves = self.leaves.max(index + 1);
        let mut node = Node::leaf(index);
        self.add(node, &mut added)?;
        while node.level < self.height {
            node = node.parent(fanout);
            self.add(node, &mut added)?;
        }
        Ok(added)
    }

    /// The blocks of the former tree that the new one does not have.
    pub(crate) fn replaced(&self) -> &[u64] {
        &self.replaced
    }

    /// Writes the pages from the leaves upward. `leaf` gives the words of each touched leaf,
    /// `place` the block for a page, or `None` if it shall not be stored, as it may if it is all
    /// zeros.
    pub(crate) fn build<'w>(
        self,
        lsn: Lsn,
        leaf: &dyn Fn(u64) -> &'w [u64],
        place: &mut dyn FnMut(Node, &[u64]) -> Result<Option<u64>>,
    ) -> Result<Built> {
        let mut batch = Batch::new(self.file);
        let mut page = vec![0; self.file.page_size()];
        let mut changed: BTreeMap<Node, PageAddr> = BTreeMap::new();
        let mut inner = BTreeMap::new();
        // Ordered by level: children come before their parents.
        for &node in &self.nodes {
            let words: Arc<[u64]> = match node.level {
                0 => leaf(node.index).into(),
                _ => self.words_above(node, &changed)?,
            };
            let block = place(node, &words)?;
            let addr = match block {
                Some(block) => {
                    encode(&mut page, self.tree.kind, node, lsn, &words);
                    batch.push(block, &mut page)?
                }
                None => PageAddr::NONE,
            };
            changed.insert(node, addr);
            if node.level > 0 {
                inner.insert(node, block.map(|_| words));
            }
        }
        batch.flush()?;
        let top = Node { level: self.height, index: 0 };
        let root = match changed.get(&top) {
            None => self.old,
            Some(&PageAddr::NONE) => Root::EMPTY,
            Some(&addr) => Root { addr, height: self.height, leaves: self.leaves },
        };
        Ok(Built { root, inner })
    }

    /// The words of an inner page with the new addresses of its changed children.
    fn words_above(&self, node: Node, changed: &BTreeMap<Node, PageAddr>) -> Result<Arc<[u64]>> {
        let fanout = self.file.fanout();
        let mut words = vec![0; fanout];
        if node.level <= self.old.height {
            if let Some(old) = self.tree.inner(self.file, self.old, self.version, node)? {
                words.copy_from_slice(&old);
            }
        } else if node.level == self.old.height + 1 && node.index == 0 {
            words[0] = self.old.addr.word();
        }
        let children = node.child(fanout, 0)..=node.child(fanout, fanout - 1);
        for (&child, addr) in changed.range(children) {
            words[child.slot(fanout)] = addr.word();
        }
        Ok(words.into())
    }

    fn add(&mut self, node: Node, added: &mut Vec<Node>) -> Result<()> {
        if self.nodes.contains(&node) {
            return Ok(());
        }
        let addr = self.tree.addr(self.file, self.old, self.version, node)?;
        if !addr.is_none() {
            self.replaced.push(addr.block());
        }
        self.nodes.insert(node);
        added.push(node);
        Ok(())
    }
}

fn addr_in(words: &[u64], slot: usize) -> PageAddr {
    PageAddr::from_word(words[slot]).expect("inner pages hold addresses")
}

#[cfg(test)]
mod tests {
    use super::super::page::{FREE_MAP, PAGE_MAP};
    use super::*;
    use crate::codec::put_u16;
    use crate::lsn::StoreId;

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
    fn the_example_in_the_header_is_what_is_written() {
        let header = include_str!("word_tree.rs").split("Example").nth(1).unwrap();
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
    fn what_is_no_page_of_its_place_is_refused() {
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

    #[test]
    fn any_bytes_decode_or_not() {
        for len in [0, 31, 32, 33, 4096] {
            let _ = decode(&vec![0xFF; len], 0xFF, Node { level: 0xFF, index: 0 });
        }
    }
}
