//! Walking a tree in key order, forward or backward, as of one LSN.
//!
//! ```text
//!   path:  [root, slot 3] [inner, slot 17] [leaf, slot 5]
//! ```
//!
//! The cursor holds its current leaf, and the ids of the pages on the path to it. At its LSN they never
//! change, so the next leaf is found under the deepest page on the path that has a next child. A step
//! within a leaf touches only the leaf.

use std::ops::Bound;

use super::lookup::{ReadAt, load_absent};
use super::node::Node;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::{Absent, Cache, Hold};
use crate::engine::space::PageId;

/// A position between two keys of a tree. All calls must get the cache for which it was made.
#[derive(Debug)]
pub(crate) struct Cursor {
    root: PageId,
    /// A registered snapshot, which outlives the cursor.
    at: Lsn,
    /// The inner pages on the path to the leaf.
    path: Vec<Step>,
    leaf: Hold,
    /// The slot of the key after the cursor's position; `None` before the first seek.
    slot: Option<usize>,
    went_forward: bool,
}

/// A child of an inner page.
#[derive(Clone, Copy, Debug)]
struct Step {
    page: PageId,
    /// Which child.
    at: usize,
    /// How many children there are.
    of: usize,
}

/// A leaf, and the slot of a key in it.
pub(crate) type Position<'a> = (&'a Hold, usize);

impl Cursor {
    /// A cursor over the tree under `root` as of `at`, a registered snapshot. It has no position yet.
    pub(crate) fn new(cache: &Cache, root: PageId, at: Lsn) -> Self {
        let (path, leaf) = (Vec::with_capacity(4), Hold::new(cache));
        Cursor { root, at, path, leaf, slot: None, went_forward: true }
    }

    /// Moves to just before the first key in the range that begins with `bound`.
    pub(crate) fn seek_first(&mut self, cache: &Cache, bound: Bound<&[u8]>) -> Result<()> {
        match bound {
            Bound::Unbounded => self.descend(cache, |_| 0, |_| 0),
            Bound::Included(key) => self.seek(cache, key, |found| match found {
                Ok(at) | Err(at) => at,
            }),
            Bound::Excluded(key) => self.seek(cache, key, |found| match found {
                Ok(at) => at + 1,
                Err(at) => at,
            }),
        }
    }

    /// Moves to just behind the last key in the range that ends with `bound`.
    pub(crate) fn seek_last(&mut self, cache: &Cache, bound: Bound<&[u8]>) -> Result<()> {
        match bound {
            Bound::Unbounded => self.descend(cache, |node| node.count() - 1, |leaf| leaf.count()),
            Bound::Included(key) => self.seek_first(cache, Bound::Excluded(key)),
            Bound::Excluded(key) => self.seek_first(cache, Bound::Included(key)),
        }
    }

    /// Steps over the next key, and returns where it is.
    pub(crate) fn forward(&mut self, cache: &Cache) -> Result<Option<Position<'_>>> {
        self.went_forward = true;
        loop {
            let Some(slot) = &mut self.slot else { return Ok(None) };
            if *slot < Node::new(self.leaf.bytes()).count() {
                *slot += 1;
                break;
            }
            if !self.next_leaf(cache)? {
                return Ok(None);
            }
        }
        Ok(Some(self.here()))
    }

    /// Steps over the next key and returns its slot, if that is below `limit` and not the leaf's first:
    /// the fast path for all keys of a leaf except the first.
    #[inline]
    pub(crate) fn forward_within(&mut self, limit: usize) -> Option<(Node<'_>, usize)> {
        self.went_forward = true;
        let slot = self.slot.as_mut()?;
        if *slot == 0 || *slot >= limit {
            return None;
        }
        *slot += 1;
        let slot = *slot - 1;
        Some((Node::new(self.leaf.bytes()), slot))
    }

    /// Steps back over the previous key, and returns where it is.
    pub(crate) fn backward(&mut self, cache: &Cache) -> Result<Option<Position<'_>>> {
        self.went_forward = false;
        loop {
            let Some(slot) = &mut self.slot else { return Ok(None) };
            if *slot > 0 {
                *slot -= 1;
                break;
            }
            if !self.previous_leaf(cache)? {
                return Ok(None);
            }
        }
        Ok(Some(self.here()))
    }

    /// Where the key of the last step is. Valid only right after a step that found one.
    #[inline]
    pub(crate) fn here(&self) -> Position<'_> {
        let slot = self.slot.expect("a step was made");
        (&self.leaf, if self.went_forward { slot - 1 } else { slot })
    }

    fn seek(
        &mut self,
        cache: &Cache,
        key: &[u8],
        slot: impl FnOnce(Result<usize, usize>) -> usize,
    ) -> Result<()> {
        self.descend(cache, |node| node.child_index(key), |leaf| slot(leaf.search(key)))
    }

    fn descend(
        &mut self,
        cache: &Cache,
        child: impl FnMut(Node<'_>) -> usize,
        slot: impl FnOnce(Node<'_>) -> usize,
    ) -> Result<()> {
        self.path.clear();
        self.go_down(cache, self.root, Towards::Seek, child, slot)
    }

    /// Moves to the start of the next leaf; stays where it is if there is none.
    fn next_leaf(&mut self, cache: &Cache) -> Result<bool> {
        let Some(up) = self.path.iter().rposition(|step| step.at + 1 < step.of) else {
            return Ok(false);
        };
        let Step { page, at, .. } = self.path[up];
        self.path.truncate(up);
        let mut first = Some(at + 1);
        let child = |_: Node<'_>| first.take().unwrap_or(0);
        self.go_down(cache, page, Towards::Next, child, |_| 0)?;
        Ok(true)
    }

    /// Moves to the end of the previous leaf; stays where it is if there is none.
    fn previous_leaf(&mut self, cache: &Cache) -> Result<bool> {
        let Some(up) = self.path.iter().rposition(|step| step.at > 0) else { return Ok(false) };
        let Step { page, at, .. } = self.path[up];
        self.path.truncate(up);
        let mut first = Some(at - 1);
        let child = |node: Node<'_>| first.take().unwrap_or_else(|| node.count() - 1);
        self.go_down(cache, page, Towards::Previous, child, |leaf| leaf.count())?;
        Ok(true)
    }

    /// Descends from `id`, a child of the last page of the path, to a leaf.
    fn go_down(
        &mut self,
        cache: &Cache,
        mut id: PageId,
        towards: Towards,
        mut child: impl FnMut(Node<'_>) -> usize,
        slot: impl FnOnce(Node<'_>) -> usize,
    ) -> Result<()> {
        self.slot = None;
        while let Err(absent) = self.go_down_in_memory(cache, &mut id, towards, &mut child) {
            load_absent(cache, absent, ReadAt::Snapshot(self.at))?;
        }
        self.slot = Some(slot(Node::new(self.leaf.bytes())));
        Ok(())
    }

    /// Descends from `id` to a leaf, or to a page that is not in memory, which `id` then names.
    fn go_down_in_memory(
        &mut self,
        cache: &Cache,
        id: &mut PageId,
        towards: Towards,
        child: &mut impl FnMut(Node<'_>) -> usize,
    ) -> Result<(), Absent> {
        let guard = cache.pin();
        let mut pages = 1;
        loop {
            let page = cache.page(*id, self.at, &guard)?;
            let node = Node::new(page.bytes());
            if node.is_leaf() {
                self.leaf.take(page);
                cache.count_hits(pages);
                return Ok(());
            }
            let at = child(node);
            if node.level() == 1 {
                fetch_ahead(cache, node, at, towards);
            }
            self.path.push(Step { page: *id, at, of: node.count() });
            *id = node.child(at);
            pages += 1;
        }
    }
}

/// Why a cursor goes to a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Towards {
    /// A seek. As a rule many steps follow.
    Seek,
    Next,
    Previous,
}

/// Prefetches child `at` of `node`, a leaf, unless that was done before, and the leaf behind it.
fn fetch_ahead(cache: &Cache, node: Node<'_>, at: usize, towards: Towards) {
    if towards == Towards::Seek {
        cache.prefetch(node.child(at));
    }
    if towards != Towards::Previous && at + 1 < node.count() {
        cache.prefetch(node.child(at + 1));
    }
}
