//! Writing a new version of a map: its changed leaves, and the pages above them, to fresh blocks.
//!
//! ```text
//!   touch(leaf) ...        adds the leaf and the pages above it; collects the blocks they leave
//!   build(words, places)   writes the pages from the leaves upward, with their children's addresses
//!   WordTree::adopt        once the superblock holds the new root
//! ```
//!
//! All other pages are shared with the former version, which stays unchanged: an update that fails is
//! just dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::data_file::{Batch, DataFile};
use super::map_page::{MAX_HEIGHT, Node, Root, capacity, encode};
use super::page::PageAddr;
use super::word_tree::WordTree;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;

/// A new version of a tree, while it is made. A tree has one update at a time.
#[derive(Debug)]
pub(crate) struct Update<'a> {
    tree: &'a WordTree,
    file: &'a DataFile,
    old: Root,
    version: u64,
    /// The level of the new root, which covers `leaves`.
    height: u8,
    leaves: u64,
    /// The pages to rewrite: the touched leaves and all pages above them.
    nodes: BTreeSet<Node>,
    /// Blocks of the former versions of `nodes`.
    replaced: Vec<u64>,
}

/// The new version of the tree, which becomes valid with the superblock that refers to it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) root: Root,
    /// The changed inner pages; `None` for one that is not stored any more.
    pub(super) inner: BTreeMap<Node, Option<Arc<[u64]>>>,
}

/// Returns the block for a page with these words, or `None` if the page is not stored.
pub(crate) type Placer<'a> = &'a mut dyn FnMut(Node, &[u64]) -> Result<Option<u64>>;

impl<'a> Update<'a> {
    pub(crate) fn new(tree: &'a WordTree, file: &'a DataFile) -> Self {
        let (old, version) = tree.current();
        let (height, leaves) = (old.height, old.leaves);
        let (nodes, replaced) = (BTreeSet::new(), Vec::new());
        Update { tree, file, old, version, height, leaves, nodes, replaced }
    }

    /// Adds leaf `index` to the update. Returns the pages that this adds.
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

    /// The blocks of the former tree that the new one does not use.
    pub(crate) fn replaced(&self) -> &[u64] {
        &self.replaced
    }

    /// Writes the pages from the leaves upward. `leaf` returns the words of each touched leaf.
    /// `place` may leave out only pages of zeros.
    pub(crate) fn build<'w>(
        self,
        lsn: Lsn,
        leaf: &dyn Fn(u64) -> &'w [u64],
        place: Placer<'_>,
    ) -> Result<Built> {
        let mut batch = Batch::new(self.file);
        let mut page = vec![0; self.file.page_size()];
        let mut changed: BTreeMap<Node, PageAddr> = BTreeMap::new();
        let mut inner = BTreeMap::new();
        // In the order of the levels: children come before their parents.
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
