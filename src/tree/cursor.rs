//! Walking a tree in key order, forward or backward, as of one LSN.
//!
//! ```text
//!   path:  [root, slot 3] [inner, slot 17] [leaf, slot 5]
//! ```
//!
//! The cursor pins the pages on the way to its leaf. At its LSN they never change, so the next
//! leaf is the next child of the deepest page on the way that has one. A step within a leaf
//! touches nothing but the leaf.

use std::ops::Bound;

use super::lookup::fetch;
use super::node::Node;
use crate::cache::{Cache, PinnedPage};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::space::PageId;

/// A place between two keys of a tree.
#[derive(Debug)]
pub(crate) struct Cursor<'c> {
    cache: &'c Cache,
    root: PageId,
    /// A registered snapshot, which outlives the cursor.
    at: Lsn,
    /// In the leaf, the slot is that of the key behind the cursor's place.
    path: Vec<(PinnedPage<'c>, usize)>,
    went_forward: bool,
}

/// A leaf and the slot in it of a key.
pub(crate) type Position<'a, 'c> = (&'a PinnedPage<'c>, usize);

impl<'c> Cursor<'c> {
    /// A cursor over the tree under `root` as of `at`, a registered snapshot. It has no place yet.
    pub(crate) fn new(cache: &'c Cache, root: PageId, at: Lsn) -> Self {
        Cursor { cache, root, at, path: Vec::with_capacity(4), went_forward: true }
    }

    /// Goes to just before the first key in the range that begins with `bound`.
    pub(crate) fn seek_first(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        match bound {
            Bound::Unbounded => self.descend(|_| 0, |_| 0),
            Bound::Included(key) => self.seek(key, |found| match found {
                Ok(at) | Err(at) => at,
            }),
            Bound::Excluded(key) => self.seek(key, |found| match found {
                Ok(at) => at + 1,
                Err(at) => at,
            }),
        }
    }

    /// Goes to just behind the last key in the range that ends with `bound`.
    pub(crate) fn seek_last(&mut self, bound: Bound<&[u8]>) -> Result<()> {
        match bound {
            Bound::Unbounded => self.descend(|node| node.count() - 1, |leaf| leaf.count()),
            Bound::Included(key) => self.seek_first(Bound::Excluded(key)),
            Bound::Excluded(key) => self.seek_first(Bound::Included(key)),
        }
    }

    /// Steps over the next key, and returns where it is.
    pub(crate) fn forward(&mut self) -> Result<Option<Position<'_, 'c>>> {
        self.went_forward = true;
        loop {
            let Some((leaf, slot)) = self.path.last_mut() else { return Ok(None) };
            if *slot < Node::new(leaf.bytes()).count() {
                *slot += 1;
                break;
            }
            if !self.next_leaf()? {
                return Ok(None);
            }
        }
        Ok(Some(self.here()))
    }

    /// Steps over the next key and returns its slot, if that is below `limit` and the leaf that the
    /// cursor is in has another one before it: the short way for all but the first key of a leaf.
    #[inline]
    pub(crate) fn forward_within(&mut self, limit: usize) -> Option<(Node<'_>, usize)> {
        self.went_forward = true;
        let (leaf, slot) = self.path.last_mut()?;
        if *slot == 0 || *slot >= limit {
            return None;
        }
        *slot += 1;
        Some((Node::new(leaf.bytes()), *slot - 1))
    }

    /// Steps back over the key before, and returns where it is.
    pub(crate) fn backward(&mut self) -> Result<Option<Position<'_, 'c>>> {
        self.went_forward = false;
        loop {
            let Some((_, slot)) = self.path.last_mut() else { return Ok(None) };
            if *slot > 0 {
                *slot -= 1;
                break;
            }
            if !self.previous_leaf()? {
                return Ok(None);
            }
        }
        Ok(Some(self.here()))
    }

    /// Where the key is that the last step went over. Only right after a step that found one.
    #[inline]
    pub(crate) fn here(&self) -> Position<'_, 'c> {
        let (leaf, slot) = self.path.last().expect("a step was made");
        (leaf, if self.went_forward { slot - 1 } else { *slot })
    }

    fn seek(&mut self, key: &[u8], slot: impl FnOnce(Result<usize, usize>) -> usize) -> Result<()> {
        self.descend(|node| node.child_index(key), |leaf| slot(leaf.search(key)))
    }

    fn descend(
        &mut self,
        child: impl Fn(Node<'_>) -> usize,
        slot: impl FnOnce(Node<'_>) -> usize,
    ) -> Result<()> {
        self.path.clear();
        self.go_down(self.root, child, slot)
    }

    /// Goes on down from `id`, which is below the end of the path.
    fn go_down(
        &mut self,
        mut id: PageId,
        child: impl Fn(Node<'_>) -> usize,
        slot: impl FnOnce(Node<'_>) -> usize,
    ) -> Result<()> {
        loop {
            let page = fetch(self.cache, id, self.at)?;
            let node = Node::new(page.bytes());
            if node.is_leaf() {
                let slot = slot(node);
                self.path.push((page, slot));
                return Ok(());
            }
            let at = child(node);
            id = node.child(at);
            if node.level() == 1 {
                self.fetch_ahead(node, at);
            }
            self.path.push((page, at));
        }
    }

    /// Asks the processor to fetch child `at` of `node`, a leaf, and the one behind it: whoever
    /// seeks goes on from there, as a rule over more than a few keys.
    fn fetch_ahead(&self, node: Node<'_>, at: usize) {
        self.cache.prefetch(node.child(at));
        if at + 1 < node.count() {
            self.cache.prefetch(node.child(at + 1));
        }
    }

    /// Goes to the start of the next leaf; stays where it is if there is none.
    fn next_leaf(&mut self) -> Result<bool> {
        let inner = self.path.len() - 1;
        let up = self.path[..inner]
            .iter()
            .rposition(|(page, at)| at + 1 < Node::new(page.bytes()).count());
        let Some(up) = up else { return Ok(false) };
        self.path.truncate(up + 1);
        self.path[up].1 += 1;
        let (page, at) = &self.path[up];
        let node = Node::new(page.bytes());
        if node.level() == 1 && at + 1 < node.count() {
            self.cache.prefetch(node.child(at + 1));
        }
        self.go_down(node.child(*at), |_| 0, |_| 0)?;
        Ok(true)
    }

    /// Goes to the end of the leaf before; stays where it is if there is none.
    fn previous_leaf(&mut self) -> Result<bool> {
        let inner = self.path.len() - 1;
        let Some(up) = self.path[..inner].iter().rposition(|(_, at)| *at > 0) else {
            return Ok(false);
        };
        self.path.truncate(up + 1);
        self.path[up].1 -= 1;
        let (page, at) = &self.path[up];
        let id = Node::new(page.bytes()).child(*at);
        self.go_down(id, |node| node.count() - 1, |leaf| leaf.count())?;
        Ok(true)
    }
}
