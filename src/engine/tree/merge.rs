//! Merging nodes that have become small.
//!
//! ```text
//!   delete         the node is small -> it is merged with a neighbour in memory, then its parent
//!                                    -> if the neighbours are on disk, it is noted
//!   housekeeping   load_for_tidy: without locks, loads the noted nodes and their neighbours
//!                  tidy:          in a commit group of its own, merges them
//! ```
//!
//! A delete holds the commit lock, so it never waits for a neighbour. A node is noted when it is empty, and
//! each time the number of its cells is a power of two. That is often enough for it to be merged soon,
//! and rare enough that a leaf is loaded for this only a few times.
//!
//! Either neighbour will do. If keys are deleted in order, leaves become empty one by one, and the next
//! leaf is not in memory yet: each emptied leaf is merged into the emptied one before it.

use super::edit::{Scratch, TreeMut};
use super::lookup::fetch;
use super::node::{Node, NodeMut, can_merge, merge};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::{Cache, PinnedPage};
use crate::engine::space::{PageId, header};

/// The result of an attempt to merge a small node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merged {
    Done,
    /// Its parent has no other child: the parent is to be merged.
    OnlyChild,
    /// The neighbours are too full.
    TooFull,
    /// A neighbour is not in memory.
    NotResident,
}

impl Scratch {
    #[inline]
    pub(crate) fn take_sparse(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sparse)
    }
}

impl TreeMut<'_, '_> {
    /// Merges the node `id`, at the end of `scratch.path`, with a neighbour if it has become
    /// small, and its parent in turn.
    pub(super) fn merge_up(&mut self, mut id: PageId) -> Result<()> {
        while let Some((parent, at)) = self.scratch.path.pop() {
            if !is_small(Node::new(self.group.page(id)?)) {
                return Ok(());
            }
            match self.merge_beside(parent, at)? {
                Merged::Done | Merged::OnlyChild => self.pull_root_up(parent)?,
                Merged::NotResident => return self.note_sparse(id),
                Merged::TooFull => return Ok(()),
            }
            id = parent;
        }
        Ok(())
    }

    /// Merges the small nodes on the path to `key` that are in memory.
    pub(crate) fn tidy(&mut self, key: &[u8]) -> Result<()> {
        self.scratch.path.clear();
        let mut id = self.root;
        loop {
            if !self.group.is_resident(id) {
                self.scratch.sparse.push(key.to_vec());
                return Ok(());
            }
            let node = Node::new(self.group.page(id)?);
            if node.is_leaf() {
                break;
            }
            let at = node.child_index(key);
            let child = node.child(at);
            self.scratch.path.push((id, at));
            id = child;
        }
        while let Some((parent, at)) = self.scratch.path.pop() {
            if is_small(Node::new(self.group.page(id)?)) {
                match self.merge_beside(parent, at)? {
                    Merged::Done | Merged::OnlyChild => self.pull_root_up(parent)?,
                    Merged::NotResident => self.note_sparse(id)?,
                    Merged::TooFull => {}
                }
            }
            id = parent;
        }
        Ok(())
    }

    /// Merges child `at` of `parent` with a neighbour that is in memory, if there is one with room.
    fn merge_beside(&mut self, parent: PageId, at: usize) -> Result<Merged> {
        let count = Node::new(self.group.page(parent)?).count();
        if count == 1 {
            return Ok(Merged::OnlyChild);
        }
        let mut merged = Merged::TooFull;
        // The right one of a pair of neighbours, one of which is the node.
        for right_at in [at + 1, at] {
            if right_at == 0 || right_at == count {
                continue;
            }
            let page = Node::new(self.group.page(parent)?);
            let (left_id, right_id) = (page.child(right_at - 1), page.child(right_at));
            if !self.group.is_resident(left_id) || !self.group.is_resident(right_id) {
                merged = Merged::NotResident;
            } else if self.merge_children(left_id, right_id)? {
                NodeMut::new(self.group.page_mut(parent)?).remove_child(right_at);
                return Ok(Merged::Done);
            }
        }
        Ok(merged)
    }

    /// Merges `right_id` into `left_id`, if they fit in one page.
    fn merge_children(&mut self, left_id: PageId, right_id: PageId) -> Result<bool> {
        let fits = {
            let (left, right) = self.group.two(left_id, right_id)?;
            can_merge(Node::new(left), Node::new(right))
        };
        if fits {
            let (left, right) = self.group.two_mut(left_id, right_id)?;
            merge(left, right, &mut self.scratch.page);
            self.group.free(right_id);
        }
        Ok(fits)
    }

    /// Replaces the root by its only child, as long as it has only one and that is in memory.
    fn pull_root_up(&mut self, parent: PageId) -> Result<()> {
        let root = self.root;
        if parent != root {
            return Ok(());
        }
        loop {
            let node = Node::new(self.group.page(root)?);
            if node.is_leaf() || node.count() > 1 {
                return Ok(());
            }
            let child = node.child(0);
            if !self.group.is_resident(child) {
                return Ok(());
            }
            let (page, below) = self.group.two_mut(root, child)?;
            page.copy_from_slice(below);
            header::set_page_id(page, root);
            self.group.free(child);
        }
    }

    /// Notes a small node whose neighbours are not in memory, by its lower fence.
    fn note_sparse(&mut self, id: PageId) -> Result<()> {
        let node = Node::new(self.group.page(id)?);
        if node.count() == 0 || node.count().is_power_of_two() {
            let key = node.lower().to_vec();
            self.scratch.sparse.push(key);
        }
        Ok(())
    }
}

/// Whether a node should be merged with a neighbour. A leaf without a row always should: its fences alone
/// may take a quarter of it.
fn is_small(node: Node<'_>) -> bool {
    node.used_bytes() < node.bytes().len() / 4 || node.is_leaf() && node.count() == 0
}

/// Brings into memory the pages that [`TreeMut::tidy`] needs for `key`, as of `at`, a registered snapshot:
/// the path to the key, and for each small node on it a neighbour with which it can be merged. `held`
/// pins them in memory.
pub(crate) fn load_for_tidy<'c>(
    cache: &'c Cache,
    root: PageId,
    key: &[u8],
    at: Lsn,
    held: &mut Vec<PinnedPage<'c>>,
) -> Result<()> {
    let mut page = fetch(cache, root, at)?;
    loop {
        let node = Node::new(page.bytes());
        if node.is_leaf() {
            held.push(page);
            return Ok(());
        }
        let slot = node.child_index(key);
        let child = fetch(cache, node.child(slot), at)?;
        let below = Node::new(child.bytes());
        for right_at in [slot + 1, slot] {
            if !is_small(below) || right_at == 0 || right_at == node.count() {
                continue;
            }
            let is_left = right_at > slot;
            let beside = fetch(cache, node.child(if is_left { right_at } else { slot - 1 }), at)?;
            let other = Node::new(beside.bytes());
            let fits = if is_left { can_merge(below, other) } else { can_merge(other, below) };
            held.push(beside);
            if fits {
                break;
            }
        }
        held.push(std::mem::replace(&mut page, child));
    }
}
