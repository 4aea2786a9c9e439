//! A persistent array of words: the page map and the free map.
//!
//! ```text
//!   level 1            [ addr of leaf 0 | addr of leaf 1 | 0 | ... ]
//!                         /                  \
//!   level 0   [ word 0 .. word F-1 ]   [ word F .. word 2F-1 ]       F = (page size - 32) / 8
//! ```
//!
//! It is a radix tree of pages of F words each ([`super::map_page`]). The leaves (level 0) hold the
//! array's words: a [`PageAddr`] each in the page map, the used bits of 64 blocks each in the free map.
//! The pages above hold the addresses of the pages one level below. A subtree of zeros need not be
//! stored; its address is 0. The tree grows a level when a leaf is beyond the reach of its root.
//!
//! Pages are never changed in place: a checkpoint writes the changed leaves, and all pages on the
//! paths to them, to fresh blocks ([`super::tree_update`]). The new root is valid once the superblock
//! holds it ([`WordTree::adopt`]).
//!
//! Leaves are read on demand and not kept. Inner pages are few (one per F leaves) and are kept.
//!
//! - MAPS-1 a checkpoint may free the pages of the former tree while a reader walks it. A page that was
//!   overwritten then fails the reader's check; the reader starts again if the root has changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::data_file::DataFile;
use super::map_page::{Node, Root, decode};
use super::page::PageAddr;
use super::tree_update::Built;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::sync::Mutex;

/// A leaf as it was read.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) addr: PageAddr,
    pub(crate) words: Box<[u64]>,
}

/// [`WordTree::visit`] calls this for each page, with its place, its address, and its words or an
/// error. It returns whether to visit the pages below.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(Node, PageAddr, Result<&[u64]>) -> bool;

/// One of the two trees.
#[derive(Debug)]
pub(crate) struct WordTree {
    pub(super) kind: u8,
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

    /// The words and address of a leaf, or `None` if its words are all zero and not stored.
    pub(crate) fn leaf(&self, file: &DataFile, index: u64) -> Result<Option<Leaf>> {
        loop {
            let (root, version) = self.current();
            let result = self.walk(file, root, version, index);
            match result {
                // MAPS-1
                Err(Error::Corrupt { .. }) if self.current().1 != version => continue,
                result => return result,
            }
        }
    }

    /// Switches to the tree that `built` describes, which a durable superblock refers to.
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

    /// Reads every page of the tree, top down and from left to right.
    pub(crate) fn visit(&self, file: &DataFile, visit: Visitor<'_>) -> Result<()> {
        let root = self.root();
        let mut todo = vec![(Node { level: root.height, index: 0 }, root.addr)];
        while let Some((node, addr)) = todo.pop() {
            if addr.is_none() {
                continue;
            }
            match self.read(file, node, addr) {
                Ok(words) if visit(node, addr, Ok(&words)) && node.level > 0 => {
                    let child = |slot| node.child(file.fanout(), slot);
                    todo.extend((0..words.len()).rev().map(|i| (child(i), addr_in(&words, i))));
                }
                Ok(_) => {}
                Err(error @ Error::Corrupt { .. }) => drop(visit(node, addr, Err(error))),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The root and the number of its version.
    pub(super) fn current(&self) -> (Root, u64) {
        let state = self.state.lock();
        (state.root, state.version)
    }

    fn walk(&self, file: &DataFile, root: Root, version: u64, index: u64) -> Result<Option<Leaf>> {
        let node = Node::leaf(index);
        match self.addr(file, root, version, node)? {
            PageAddr::NONE => Ok(None),
            addr => self.read(file, node, addr).map(|words| Some(Leaf { addr, words })),
        }
    }

    /// The address of a page, in the version of the tree with this root.
    pub(super) fn addr(
        &self,
        file: &DataFile,
        root: Root,
        version: u64,
        node: Node,
    ) -> Result<PageAddr> {
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
    pub(super) fn inner(
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

fn addr_in(words: &[u64], slot: usize) -> PageAddr {
    PageAddr::from_word(words[slot]).expect("inner pages hold addresses")
}
