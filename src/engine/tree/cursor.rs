//! Walking a tree in key order, forward or backward, as of one LSN.
//!
//! ```text
//!   path:  [root, slot 3] [inner, slot 17] [leaf, slot 5]
//! ```
//!
//! The cursor keeps the leaf that it is in, and of the pages on the way there their names. At its
//! LSN they never change, so the next leaf is the next child of the deepest page on the way that
//! has one. A step within a leaf touches nothing but the leaf.

use std::ops::Bound;

use super::lookup::{ReadAt, load_absent};
use super::node::Node;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::{Absent, Cache, Hold};
use crate::engine::space::PageId;

/// A place between two keys of a tree. All calls must be given the cache that it was made for.
#[derive(Debug)]
pub(crate) struct Cursor {
    root: PageId,
    /// A registered snapshot, which outlives the cursor.
    at: Lsn,
    /// The inner pages on the way to the leaf.
    path: Vec<Step>,
    leaf: Hold,
    /// The slot of the key behind the cursor's place; none before the cursor has one.
    slot: Option<usize>,
    went_forward: bool,
}

/// A child of an inner page.
#[derive(Clone, Copy, Debug)]
struct Step {
    page: PageId,
    /// Which child.
    at: usize,
    /// How many there are.
    of: usize,
}

/// A leaf and the slot in it of a key.
pub(crate) type Position<'a> = (&'a Hold, usize);

impl Cursor {
    /// A cursor over the tree under `root` as of `at`, a registered snapshot. It has no place yet.
    pub(crate) fn new(cache: &Cache, root: PageId, at: Lsn) -> Self {
        let (path, leaf) = (Vec::with_capacity(4), Hold::new(cache));
        Cursor { root, at, path, leaf, slot: None, went_forward: true }
    }

    /// Goes to just before the first key in the range that begins with `bound`.
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

    /// Goes to just behind the last key in the range that ends with `bound`.
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

    /// Steps over the next key and returns its slot, if that is below `limit` and the leaf that the
    /// cursor is in has another one before it: the short way for all but the first key of a leaf.
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

    /// Steps back over the key before, and returns where it is.
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

    /// Where the key is that the last step went over. Only right after a step that found one.
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

    /// Goes to the start of the next leaf; stays where it is if there is none.
    fn next_leaf(&mut self, cache: &Cache) -> Result<bool> {
        let Some(up) = self.path.iter().rposition(|step| step.at + 1 < step.of) else {
            return Ok(false);
        };
        let Step { page, at, .. } = self.path[up];
        self.path.truncate(up);
        let mut turn = Some(at + 1);
        let child = |_: Node<'_>| turn.take().unwrap_or(0);
        self.go_down(cache, page, Towards::Next, child, |_| 0)?;
        Ok(true)
    }

    /// Goes to the end of the leaf before; stays where it is if there is none.
    fn previous_leaf(&mut self, cache: &Cache) -> Result<bool> {
        let Some(up) = self.path.iter().rposition(|step| step.at > 0) else { return Ok(false) };
        let Step { page, at, .. } = self.path[up];
        self.path.truncate(up);
        let mut turn = Some(at - 1);
        let child = |node: Node<'_>| turn.take().unwrap_or_else(|| node.count() - 1);
        self.go_down(cache, page, Towards::Previous, child, |leaf| leaf.count())?;
        Ok(true)
    }

    /// Goes on down from `id`, which is below the end of the path.
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

    /// Goes on down from `id` to a leaf, or to a page that is not in memory: then `id` is that.
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
    /// Somebody seeks, and goes on from there, as a rule over more than a few keys.
    Seek,
    Next,
    Previous,
}

/// Asks the processor to fetch child `at` of `node`, a leaf, unless that was done before, and the
/// one behind it.
fn fetch_ahead(cache: &Cache, node: Node<'_>, at: usize, towards: Towards) {
    if towards == Towards::Seek {
        cache.prefetch(node.child(at));
    }
    if towards != Towards::Previous && at + 1 < node.count() {
        cache.prefetch(node.child(at + 1));
    }
}
